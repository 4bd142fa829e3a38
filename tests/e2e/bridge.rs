//! A `keyferry run` between two private servers, and what tests ask of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testkit::{
    Client, Dataset, Deadline, Difference, Kind, Process, Server, Tolerance, compare, eventually,
};

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How far the stream of a source that expires keys by relative times may lag behind it.
const LAG_MS: u64 = 500;

/// How long a source may take to remove what has expired: its cycle runs ten times a second, over samples.
pub(crate) const SETTLING: Duration = Duration::from_secs(15);

/// Where the sentinel of [`Bridge::caught_up`] is written: a database that workloads leave alone.
const SENTINEL_DB: u32 = 15;
const SENTINEL: &str = "test:sentinel";

/// Two servers and the directory of the bridge between them.
pub(crate) struct Pair {
    pub(crate) source: Server,
    pub(crate) destination: Server,
    dir: TempDir,
    sentinel: u64,
}

impl Pair {
    pub(crate) fn start(source: Kind, destination: Kind) -> Result<Self> {
        Self::start_with(source, &[], destination, &[])
    }

    pub(crate) fn start_with(
        source: Kind,
        source_config: &[&str],
        destination: Kind,
        destination_config: &[&str],
    ) -> Result<Self> {
        Ok(Self {
            source: Server::start(source, source_config)?,
            destination: Server::start(destination, destination_config)?,
            dir: TempDir::new()?,
            sentinel: 0,
        })
    }

    pub(crate) fn data_dir(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    /// Starts the bridge.
    pub(crate) fn run(&self, more: &[&str]) -> Result<Process> {
        let (source, destination, dir) =
            (self.source.uri(), self.destination.uri(), self.data_dir());
        let mut args = vec!["run", &source, &destination, "--data-dir", &dir];
        args.extend(more);
        Process::start(&args)
    }

    /// Waits until everything written at the source so far is at the destination.
    pub(crate) fn caught_up(&mut self, bridge: &mut Process) -> Result<()> {
        self.sentinel += 1;
        let value = self.sentinel.to_string();
        let mut source = self.source.client()?;
        source.select(SENTINEL_DB)?;
        source.cmd(&["SET", SENTINEL, &value])?;
        let mut destination = self.destination.client()?;
        destination.select(SENTINEL_DB)?;
        eventually(PATIENCE, "the sentinel is at the destination", || {
            ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
            let found = destination.cmd(&["GET", SENTINEL])?;
            Ok((found.text().ok().as_deref() == Some(value.as_str())).then_some(()))
        })
    }

    /// Fails with the differences unless both servers come to hold the same: keys that are just expiring may go at
    /// one side a moment before the other.
    pub(crate) fn assert_same(&self) -> Result<()> {
        let deadline = Deadline::after(SETTLING);
        loop {
            let differences = self.differences()?;
            if differences.is_empty() {
                return Ok(());
            }
            let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
            ensure!(
                !deadline.has_passed(),
                "{} differences:\n{}",
                differences.len(),
                shown.join("\n")
            );
        }
    }

    fn differences(&self) -> Result<Vec<Difference>> {
        let source = self.source.kind();
        let tolerance = Tolerance::native(source, self.destination.kind()).with_lag(source, LAG_MS);
        let source = Dataset::read(&mut self.source.client()?)?;
        let destination = Dataset::read(&mut self.destination.client()?)?;
        Ok(compare(&source, &destination, &tolerance))
    }

    pub(crate) fn source_client(&self) -> Result<Client> {
        self.source.client()
    }

    pub(crate) fn destination_client(&self) -> Result<Client> {
        self.destination.client()
    }
}

/// Stops the bridge as a person does, and checks that it drained.
pub(crate) fn stop(bridge: &mut Process) -> Result<()> {
    let status = bridge.stop(PATIENCE)?;
    ensure!(status.success(), "the bridge ended with {status}:\n{}", bridge.stderr());
    Ok(())
}
