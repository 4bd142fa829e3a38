//! The machine that was measured on, without which no figure means anything.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

/// What it is and how busy it was.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    load_before: String,
    load_after: String,
}

// === impl Machine ===

impl Machine {
    /// Reads it all; the load after is filled in by [`Machine::finish`].
    ///
    /// # Errors
    /// If this is no Linux.
    pub(crate) fn read() -> Result<Self> {
        let cpus = read("/proc/cpuinfo")?;
        let memory = read("/proc/meminfo")?;
        let kib: f64 = value(&memory, "MemTotal")
            .and_then(|text| text.strip_suffix(" kB")?.trim().parse().ok())
            .context("no MemTotal in /proc/meminfo")?;
        Ok(Self {
            // Not every architecture has a name for its processors.
            cpu: value(&cpus, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: std::thread::available_parallelism().context("count the cores")?.get(),
            memory_gib: kib / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_before: load()?,
            load_after: String::new(),
        })
    }

    /// Notes how busy it is now.
    ///
    /// # Errors
    /// If this is no Linux.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.load_after = load()?;
        Ok(())
    }

    /// It in two lines.
    pub(crate) fn lines(&self) -> [String; 2] {
        let Self { cpu, cores, memory_gib, kernel, load_before, load_after } = self;
        [
            format!("{cpu}, {cores} cores, {memory_gib:.1} GiB, Linux {kernel}"),
            format!("load average (1, 5, 15 minutes): {load_before} before, {load_after} after"),
        ]
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

fn load() -> Result<String> {
    let text = read("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The value of the first line `name : value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (before, after) = line.split_once(':')?;
        (before.trim() == name).then(|| after.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_name_counts() {
        let text = "processor\t: 0\nmodel name\t: One\nmodel name\t: Two\n";
        assert_eq!(value(text, "model name"), Some("One"));
        assert_eq!(value(text, "model"), None);
    }
}
