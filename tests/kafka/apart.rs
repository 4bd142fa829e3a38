//! Two servers, a stream on the shared broker, and keyferry's processes between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testkit::kafka::Broker;
use testkit::{Client, Dataset, Deadline, Kind, Process, Server, Tolerance, compare, eventually};

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Keys that are just expiring may go at one side a moment before the other.
const SETTLING: Duration = Duration::from_secs(15);

/// How far the times at both sides may be apart.
const LAG_MS: u64 = 500;

/// Where the sentinels of [`Stage::caught_up`] are written: a database that workloads leave alone.
const SENTINEL_DB: u32 = 15;
/// One in each of four partitions, each of which may lag by itself.
const SENTINELS: [&str; 4] =
    ["test:sentinel:0", "test:sentinel:1", "test:sentinel:2", "test:sentinel:3"];
/// Of every stream here.
pub(crate) const PARTITIONS: &str = "4";

/// Two servers, and the words that all processes between them are given.
pub(crate) struct Stage {
    pub(crate) source: Server,
    pub(crate) destination: Server,
    pub(crate) stream: String,
    /// `host:port` of the broker.
    pub(crate) brokers: String,
    dir: TempDir,
    sentinel: u64,
}

impl Stage {
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        Self::on(kind, Broker::shared()?.bootstrap())
    }

    /// With a stream on a broker of its own.
    pub(crate) fn on(kind: Kind, brokers: String) -> Result<Self> {
        static STREAMS: AtomicU64 = AtomicU64::new(0);
        let number = STREAMS.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            source: Server::start(kind, &[])?,
            destination: Server::start(kind, &[])?,
            stream: format!("apart-{}-{number}", std::process::id()),
            brokers,
            dir: TempDir::new()?,
            sentinel: 0,
        })
    }

    /// A process with a data directory of this name.
    pub(crate) fn process(&self, words: &[&str], dir: &str, more: &[&str]) -> Result<Process> {
        self.process_with((words, more), dir, &[])
    }

    /// The same with variables of the environment; `more` are words behind the usual ones.
    pub(crate) fn process_with(
        &self,
        (words, more): (&[&str], &[&str]),
        dir: &str,
        variables: &[(&str, &str)],
    ) -> Result<Process> {
        let dir = self.dir.path().join(dir).display().to_string();
        let journal = format!("kafka://{}", self.brokers);
        let mut args = words.to_vec();
        args.extend(["--data-dir", &dir, "--journal", &journal, "--stream", &self.stream]);
        args.extend(["--partitions", PARTITIONS]);
        args.extend(more);
        Process::start_with(&args, variables)
    }

    pub(crate) fn data_dir(&self, dir: &str) -> String {
        self.dir.path().join(dir).display().to_string()
    }

    pub(crate) fn capture(&self, dir: &str) -> Result<Process> {
        self.process(&["capture", &self.source.uri()], dir, &[])
    }

    pub(crate) fn apply(&self) -> Result<Process> {
        self.process(&["apply", &self.destination.uri()], "apply", &[])
    }

    /// Waits until everything written at the source so far is at the destination.
    pub(crate) fn caught_up(&mut self, processes: &mut [&mut Process]) -> Result<()> {
        self.caught_up_at(&[], processes)
    }

    /// The same at other destinations, too.
    pub(crate) fn caught_up_at(
        &mut self,
        others: &[&Server],
        processes: &mut [&mut Process],
    ) -> Result<()> {
        self.sentinel += 1;
        let value = self.sentinel.to_string();
        let mut source = self.source.client()?;
        source.select(SENTINEL_DB)?;
        for sentinel in SENTINELS {
            source.cmd(&["SET", sentinel, &value])?;
        }
        let mut destinations = Vec::new();
        for server in [&self.destination].into_iter().chain(others.iter().copied()) {
            let mut client = server.client()?;
            client.select(SENTINEL_DB)?;
            destinations.push(client);
        }
        let waited = eventually(PATIENCE, "the sentinels are at the destination", || {
            for process in processes.iter_mut() {
                ensure!(process.is_running()?, "one has ended:\n{}", process.stderr());
            }
            for destination in &mut destinations {
                for sentinel in SENTINELS {
                    let found = destination.cmd(&["GET", sentinel])?.text().ok();
                    if found.as_deref() != Some(value.as_str()) {
                        return Ok(None);
                    }
                }
            }
            Ok(Some(()))
        });
        waited.map_err(|error| {
            let said: Vec<_> = processes.iter().map(|process| process.stderr()).collect();
            error.context(said.join("\n---\n"))
        })
    }

    /// Fails with the differences unless both servers come to hold the same.
    pub(crate) fn assert_same(&self) -> Result<()> {
        self.assert_same_in(&self.destination)
    }

    /// Fails with the differences unless that server comes to hold what the source does.
    pub(crate) fn assert_same_in(&self, other: &Server) -> Result<()> {
        let kind = self.source.kind();
        let tolerance = Tolerance::native(kind, other.kind()).with_lag(kind, LAG_MS);
        let deadline = Deadline::after(SETTLING);
        loop {
            let source = Dataset::read(&mut self.source.client()?)?;
            let destination = Dataset::read(&mut other.client()?)?;
            let differences = compare(&source, &destination, &tolerance);
            if differences.is_empty() {
                return Ok(());
            }
            let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
            let (count, shown) = (differences.len(), shown.join("\n"));
            ensure!(!deadline.has_passed(), "{count} differences:\n{shown}");
        }
    }

    pub(crate) fn source_client(&self) -> Result<Client> {
        self.source.client()
    }
}

/// What the process with this data directory says of itself; nothing where it has said nothing yet.
pub(crate) fn status_of(stage: &Stage, dir: &str) -> Result<Value> {
    let dir = stage.data_dir(dir);
    let args = ["status", "--data-dir", &dir, "--stream", &stage.stream, "--json"];
    let mut asked = Process::start(&args)?;
    asked.wait(PATIENCE)?;
    Ok(serde_json::from_str(&asked.stdout()).unwrap_or_default())
}

/// Stops a process as a person does, and checks that it finished. One that has hardly begun would not hear it.
pub(crate) fn stop(process: &mut Process) -> Result<()> {
    process.until(PATIENCE, "it hears", |_, said| said.contains("starting").then_some(()))?;
    let status = process.stop(PATIENCE)?;
    ensure!(status.success(), "it ended with {status}:\n{}", process.stderr());
    Ok(())
}
