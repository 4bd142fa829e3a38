//! keyferry with its journal on Kafka: one capture and one or more applies, beside a broker.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::http::{Http, TOKEN};
use testkit::kafka::{Broker, Setup};
use testkit::{Process, eventually};

use crate::stage::Stage;
use crate::usage::{self, Memory};

/// How long a process may take to bring everything home when it is asked to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long applies may take to divide the partitions among themselves.
const SHARING_LIMIT: Duration = Duration::from_secs(60);

/// A broker for one run, and how keyferry's processes use it.
pub(crate) struct Kafka {
    broker: Broker,
    streams: Cell<u32>,
    /// For the processes that are started next.
    pub(crate) setting: Setting,
    /// Whether the broker has carried enough to be measured.
    pub(crate) is_warm: bool,
}

/// What is not at its default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Processes that apply.
    pub(crate) applies: usize,
    /// Options of all processes.
    pub(crate) options: &'static [&'static str],
}

/// The processes.
pub(crate) struct Apart {
    capture: Process,
    applies: Vec<Process>,
}

/// Orders to processes that take them.
pub(crate) struct Steering {
    capture: Http,
    applies: Vec<Http>,
}

/// CPU seconds by who spent them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shares {
    pub(crate) capture: f64,
    /// All that apply.
    pub(crate) apply: f64,
    pub(crate) broker: f64,
}

// === impl Setting ===

impl Setting {
    /// One capture and one apply with their defaults.
    pub(crate) const DEFAULT: Self = Self { applies: 1, options: &[] };
    /// The shortest way of a single change: what is written within a millisecond travels in one request, where it does
    /// not need one for each of several partitions.
    pub(crate) const LOW_LATENCY: Self =
        Self { applies: 1, options: &["--kafka-linger", "1ms", "--partitions", "1"] };

    /// Four partitions that so many processes share, which take orders.
    pub(crate) const fn shared(applies: usize) -> Self {
        Self { applies, options: &["--partitions", "4", "--admin-listen", "127.0.0.1:0"] }
    }
}

// === impl Kafka ===

impl Kafka {
    /// Starts a broker.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start() -> Result<Self> {
        let broker = Broker::with(&Setup::default().long_lived())?;
        Ok(Self { broker, streams: Cell::new(0), setting: Setting::DEFAULT, is_warm: false })
    }

    /// Starts keyferry's processes for a stream of their own.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(crate) fn bridge(&self, keyferry: &Path, stage: &Stage) -> Result<Apart> {
        let number = self.streams.get() + 1;
        self.streams.set(number);
        let stream = format!("bench{number}");
        let journal = format!("kafka://{}", self.broker.bootstrap());
        let start = |words: [&str; 2], name: &str| {
            let dir = stage.destination.dir().join(name).display().to_string();
            let mut arguments = words.to_vec();
            arguments.extend(["--journal", &journal, "--stream", &stream, "--data-dir", &dir]);
            arguments.extend(self.setting.options);
            Process::program(keyferry, &arguments, &[TOKEN])
        };
        let (from, to) = (stage.source.uri(), stage.destination.uri());
        let capture = start(["capture", &from], "capture")?;
        let applies =
            (0..self.setting.applies).map(|n| start(["apply", &to], &format!("apply{n}")));
        Ok(Apart { capture, applies: applies.collect::<Result<_>>()? })
    }

    /// Who of a bridge's has spent how much so far.
    ///
    /// # Errors
    /// If a process has ended.
    pub(crate) fn shares(&self, bridge: &Apart) -> Result<Shares> {
        let broker = self.broker.pid().context("the broker does not run")?;
        let capture = usage::cpu_seconds(bridge.capture.pid())?;
        let apply = sum(&bridge.applies, usage::cpu_seconds)?;
        Ok(Shares { capture, apply, broker: usage::cpu_seconds(broker)? })
    }
}

// === impl Shares ===

impl Shares {
    /// What has been spent since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            capture: self.capture - before.capture,
            apply: self.apply - before.apply,
            broker: self.broker - before.broker,
        }
    }
}

// === impl Apart ===

impl Apart {
    /// Fails if a process has ended by itself.
    ///
    /// # Errors
    /// If one has; with what it said.
    pub(crate) fn check(&mut self) -> Result<()> {
        for process in self.applies.iter_mut().chain([&mut self.capture]) {
            ensure!(process.is_running()?, "keyferry ended by itself:\n{}", process.stderr());
        }
        Ok(())
    }

    /// Waits until every process that applies has a share of the partitions.
    ///
    /// # Errors
    /// If one ends, or it takes too long.
    pub(crate) fn until_shared(&mut self, stage: &Stage) -> Result<()> {
        let mut client = stage.destination.client()?;
        eventually(SHARING_LIMIT, "every apply has partitions", || {
            self.check()?;
            let list = client.cmd(&["CLIENT", "LIST"])?.text()?;
            let workers = list.split_whitespace().filter(|field| is_worker(field)).count();
            Ok((workers == self.applies.len()).then_some(()))
        })
    }

    /// Ways to give orders.
    ///
    /// # Errors
    /// If a process does not say where it takes them.
    pub(crate) fn steering(&mut self) -> Result<Steering> {
        let applies = self.applies.iter_mut().map(Http::of).collect::<Result<_>>()?;
        Ok(Steering { capture: Http::of(&mut self.capture)?, applies })
    }

    /// CPU seconds of all processes so far.
    ///
    /// # Errors
    /// If one has ended.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        Ok(usage::cpu_seconds(self.capture.pid())? + sum(&self.applies, usage::cpu_seconds)?)
    }

    /// Memory of capture, and of the applies together.
    ///
    /// # Errors
    /// If one has ended.
    pub(crate) fn memory(&self) -> Result<[Memory; 2]> {
        let resident_mib = sum(&self.applies, |pid| Ok(usage::memory(pid)?.resident_mib))?;
        let peak_mib = sum(&self.applies, |pid| Ok(usage::memory(pid)?.peak_mib))?;
        Ok([usage::memory(self.capture.pid())?, Memory { resident_mib, peak_mib }])
    }

    /// Ends them in an orderly way, the capture first.
    ///
    /// # Errors
    /// If one does not end, or says by its exit code that something is wrong.
    pub(crate) fn stop(mut self) -> Result<()> {
        for process in [&mut self.capture].into_iter().chain(&mut self.applies) {
            let status = process.stop(STOP_LIMIT)?;
            ensure!(status.success(), "keyferry ended with {status}:\n{}", process.stderr());
        }
        Ok(())
    }
}

// === impl Steering ===

impl Steering {
    /// Nothing is applied from now on.
    ///
    /// # Errors
    /// If an order is not obeyed.
    pub(crate) fn pause(&self) -> Result<()> {
        self.applies.iter().try_for_each(|apply| apply.order("/pause", ""))
    }

    /// All that is recorded is applied.
    ///
    /// # Errors
    /// If an order is not obeyed.
    pub(crate) fn resume(&self) -> Result<()> {
        self.applies.iter().try_for_each(|apply| apply.order("/resume", ""))
    }

    /// How many records capture has written.
    ///
    /// # Errors
    /// If it does not tell.
    pub(crate) fn recorded(&self) -> Result<u64> {
        records(&self.capture.status()?).context("capture does not tell what it has recorded")
    }

    /// Waits until it has written so many.
    ///
    /// # Errors
    /// If that takes too long.
    pub(crate) fn until_recorded(&self, wanted: u64) -> Result<()> {
        let what = "everything is recorded";
        self.capture.until(what, |status| records(status) >= Some(wanted)).map(drop)
    }
}

fn records(status: &Value) -> Option<u64> {
    status.pointer("/capture/records").and_then(Value::as_u64)
}

/// Whether a word of `CLIENT LIST` names the connection over which a process applies: `keyferry:STREAM:PARTITIONS:NUMBER`.
fn is_worker(word: &str) -> bool {
    let parts = word.strip_prefix("name=keyferry:").map(|name| name.split(':'));
    parts.is_some_and(|parts| parts.count() == 3)
}

fn sum(processes: &[Process], of: impl Fn(u32) -> Result<f64>) -> Result<f64> {
    processes.iter().map(|process| of(process.pid())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_told_by_their_names() {
        assert!(is_worker("name=keyferry:bench1:0-1,3:1048577"));
        for other in ["name=", "name=keyferry", "name=keyferry:bench1:", "addr=127.0.0.1:1:2:3"] {
            assert!(!is_worker(other), "{other}");
        }
    }

    #[test]
    fn shares_are_counted_from_before() {
        let before = Shares { capture: 1.0, apply: 2.0, broker: 3.0 };
        let after = Shares { capture: 2.5, apply: 2.25, broker: 3.0 };
        let Shares { capture, apply, broker } = after.since(before);
        assert_eq!((capture, apply, broker), (1.5, 0.25, 0.0));
    }
}
