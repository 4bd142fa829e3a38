//! Which process it is that said something, and whether it still runs.
//!
//! Guarantees: a pid that has been given to another process since is not believed, where the system tells when
//! processes began (Linux); a process of another container or machine is not taken for one of this.

use runtime::StatusNode;
use runtime::status::Value;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process, as it is told from every other one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pid: u32,
    /// When it began, in the system's ticks since its own start.
    ticks: Option<u64>,
    /// Of the start of the system.
    boot: Option<String>,
    /// Of the container.
    namespace: Option<String>,
}

/// Whether a process still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Runs,
    Gone,
    /// It is of another container or machine, or of before a restart of this one.
    OutOfSight,
}

/// Which word of `/proc/PID/stat`, counted from behind the name, says when the process began.
const TICKS_WORD: usize = 19;

// === impl Process ===

impl Process {
    /// This process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        let ticks = stat(pid).and_then(|stat| stat.ticks);
        let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok();
        Self {
            pid,
            ticks,
            boot: read.map(|text| text.trim().to_owned()),
            namespace: namespace.map(|path| path.display().to_string()),
        }
    }

    /// Writes down what [`Process::read`] reads.
    pub(crate) fn show(&self, node: &StatusNode) {
        node.set("pid", Value::Integer(self.pid.into()));
        if let Some(ticks) = self.ticks {
            node.set("started_ticks", Value::Integer(i64::try_from(ticks).unwrap_or(i64::MAX)));
        }
        for (name, value) in [("boot", &self.boot), ("namespace", &self.namespace)] {
            if let Some(value) = value {
                node.set(name, value.as_str());
            }
        }
    }

    /// The process that wrote this down.
    pub(crate) fn read(shown: &serde_json::Value) -> Option<Self> {
        let text = |name: &str| shown.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Some(Self {
            pid: u32::try_from(shown.get("pid")?.as_u64()?).ok()?,
            ticks: shown.get("started_ticks").and_then(serde_json::Value::as_u64),
            boot: text("boot"),
            namespace: text("namespace"),
        })
    }

    /// Whether it still runs, as far as it can be seen from here.
    pub(crate) fn life(&self) -> Life {
        let here = Self::own();
        if (&self.boot, &self.namespace) != (&here.boot, &here.namespace) {
            return Life::OutOfSight;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Life::Gone };
        match (test_kill_process(pid), stat(self.pid)) {
            (Err(Errno::SRCH), _) => Life::Gone,
            (_, Some(stat)) if stat.dead || stat.ticks != self.ticks => Life::Gone,
            _ => Life::Runs,
        }
    }
}

/// What the system says of a process.
struct Stat {
    /// It has ended, and nobody has asked how.
    dead: bool,
    ticks: Option<u64>,
}

/// Nothing where the system has no such files, or does not show those of others.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let (_, behind_the_name) = text.rsplit_once(") ")?;
    let mut words = behind_the_name.split(' ');
    let dead = matches!(words.next(), Some("Z" | "X"));
    Some(Stat { dead, ticks: words.nth(TICKS_WORD - 1).and_then(|word| word.parse().ok()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_is_read_back_as_it_was_written() {
        let own = Process::own();
        assert_eq!(own.life(), Life::Runs);
        let node = StatusNode::root();
        own.show(&node);
        assert_eq!(Process::read(&node.snapshot()), Some(own));
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_believed() {
        let own = Process::own();
        let other = Process { ticks: own.ticks.map(|ticks| ticks + 1), ..own.clone() };
        // Where nothing tells when a process began, its pid is all there is.
        let expected = if own.ticks.is_some() { Life::Gone } else { Life::Runs };
        assert_eq!(other.life(), expected);
        let elsewhere = Process { namespace: Some("pid:[1]".to_owned()), ..own };
        assert_eq!(elsewhere.life(), Life::OutOfSight);
    }

    #[test]
    fn a_process_that_has_ended_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let ended = Process { pid: child.id(), ticks: Some(1), ..Process::own() };
        assert!(child.wait().unwrap().success());
        assert_eq!(ended.life(), Life::Gone);
    }
}
