//! What carries the changes: keyferry, or the servers' own replication, which it is measured by.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{Client, Process, Server};

use crate::kafka::Apart;
use crate::usage::{self, Memory};

/// How long keyferry may take to bring everything home when it is asked to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Carrier {
    /// `REPLICAOF` at the destination.
    Native,
    /// `keyferry run`; with the journal on Kafka `keyferry capture` and `keyferry apply`.
    Keyferry,
}

/// A carrier at work.
pub(crate) enum Bridge {
    /// A connection to the destination.
    Native(Client),
    /// A child process.
    Keyferry(Process),
    /// Several of them.
    Apart(Apart),
}

// === impl Carrier ===

impl Carrier {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Native, Self::Keyferry];
}

// === impl Bridge ===

impl Bridge {
    /// Starts one. What keyferry keeps on disk goes under the destination's directory; all its
    /// options are at their defaults.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        carrier: Carrier,
        keyferry: &Path,
        source: &Server,
        destination: &Server,
    ) -> Result<Self> {
        match carrier {
            Carrier::Native => {
                let mut client = destination.client()?;
                client.cmd(&["REPLICAOF", "127.0.0.1", &source.port().to_string()])?;
                Ok(Self::Native(client))
            }
            Carrier::Keyferry => {
                ensure!(keyferry.exists(), "there is no {}: use ./bench", keyferry.display());
                let data_dir = destination.dir().join("keyferry-data").display().to_string();
                let (from, to) = (source.uri(), destination.uri());
                let arguments = ["run", &from, &to, "--data-dir", &data_dir];
                Ok(Self::Keyferry(Process::program(keyferry, &arguments, &[])?))
            }
        }
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// If it has; with what it said.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self {
            Self::Native(_) => Ok(()),
            Self::Keyferry(process) => {
                ensure!(process.is_running()?, "keyferry ended by itself:\n{}", process.stderr());
                Ok(())
            }
            Self::Apart(apart) => apart.check(),
        }
    }

    /// Seconds of CPU so far; none where the servers do the work themselves.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn cpu_seconds(&self) -> Result<Option<f64>> {
        match self {
            Self::Native(_) => Ok(None),
            Self::Keyferry(process) => usage::cpu_seconds(process.pid()).map(Some),
            Self::Apart(apart) => apart.cpu_seconds().map(Some),
        }
    }

    /// The memory of its one process; none where there is no one process.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn memory(&self) -> Result<Option<Memory>> {
        match self {
            Self::Native(_) | Self::Apart(_) => Ok(None),
            Self::Keyferry(process) => usage::memory(process.pid()).map(Some),
        }
    }

    /// Ends it in an orderly way.
    ///
    /// # Errors
    /// If it does not end, or says by its exit code that something is wrong.
    pub(crate) fn stop(self) -> Result<()> {
        match self {
            Self::Native(mut client) => client.cmd(&["REPLICAOF", "NO", "ONE"]).map(drop),
            Self::Apart(apart) => apart.stop(),
            Self::Keyferry(mut process) => {
                let status = process.stop(STOP_LIMIT)?;
                ensure!(status.success(), "keyferry ended with {status}:\n{}", process.stderr());
                Ok(())
            }
        }
    }
}
