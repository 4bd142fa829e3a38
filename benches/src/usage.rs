//! What a process has used of the machine, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// Linux tells programs times in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// The line of times in `/proc/PID/stat` is counted from behind the name, which may hold spaces:
/// there the state is the first field, and user time the twelfth.
const USER_TIME_FIELD: usize = 11;
/// User and system time of the process, then of the children that it has waited for.
const TIME_FIELDS: usize = 4;

/// Memory of a process in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident_mib: f64,
    /// The most that was ever resident.
    pub(crate) peak_mib: f64,
}

/// Seconds of CPU that a process has used so far, with the children that have ended: the fork that
/// writes a snapshot belongs to its server.
///
/// # Errors
/// If there is no such process.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    ticks(&text)
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .with_context(|| format!("no times in {path}"))
}

/// The memory of a process.
///
/// # Errors
/// If there is no such process.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let field = |name| mib(&text, name).with_context(|| format!("no {name} in {path}"));
    Ok(Memory { resident_mib: field("VmRSS:")?, peak_mib: field("VmHWM:")? })
}

fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<f64> = fields
        .split_whitespace()
        .skip(USER_TIME_FIELD)
        .take(TIME_FIELDS)
        .map_while(|field| field.parse().ok())
        .collect();
    (times.len() == TIME_FIELDS).then(|| times.iter().sum())
}

fn mib(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_process_and_its_children_are_added_whatever_its_name() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 200 0 0 30 12 5 3 20 0 4 0 99 1 2";
        assert_eq!(ticks(stat), Some(50.0));
        assert_eq!(ticks("7 (a) S 1 7"), None);
    }

    #[test]
    fn memory_is_read_in_mebibytes() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1536 kB\n";
        assert_eq!((mib(status, "VmHWM:"), mib(status, "VmRSS:")), (Some(2.0), Some(1.5)));
        assert_eq!(mib(status, "VmSwap:"), None);
    }

    #[test]
    fn this_very_process_is_measured() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap().peak_mib > 0.0);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(cpu_seconds(0).is_err());
    }
}
