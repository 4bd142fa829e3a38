//! What carries the changes: keyferry; or the servers' own replication, to check the demo itself.

use std::fmt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::{Client, Process, Server, Signal};

/// How long the bridge may take to bring everything home when it is asked to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// Lines of the bridge's log that are shown when it failed.
const LOG_LINES: usize = 40;

/// Which bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Carrier {
    /// keyferry run.
    Keyferry,
    /// REPLICAOF at the destination: the demo must find no difference here either.
    Replicaof,
}

/// A bridge that runs.
pub(crate) enum Bridge {
    /// A child process, with the arguments to start it again.
    Keyferry { process: Process, arguments: Vec<String> },
    /// A connection to the destination.
    Replicaof(Client),
}

// === impl Bridge ===

impl Bridge {
    /// Starts one from `source` to `destination`. What it keeps on disk goes to `data_dir`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        carrier: Carrier,
        source: &Server,
        destination: &Server,
        data_dir: &Path,
    ) -> Result<Self> {
        match carrier {
            Carrier::Keyferry => {
                if std::env::var_os("KEYFERRY_BIN").is_none() {
                    bail!(
                        "KEYFERRY_BIN does not name the keyferry binary: start the demo by ./demo"
                    );
                }
                let data_dir = data_dir.to_str().context("a temporary directory that is text")?;
                let (from, to) = (source.uri(), destination.uri());
                let arguments: Vec<String> =
                    ["run", &from, &to, "--data-dir", data_dir].map(str::to_owned).into();
                Ok(Self::Keyferry { process: spawn(&arguments)?, arguments })
            }
            Carrier::Replicaof => {
                let mut client = destination.client()?;
                let port = source.port().to_string();
                client.cmd(&["REPLICAOF", "127.0.0.1", &port])?;
                Ok(Self::Replicaof(client))
            }
        }
    }

    /// How a person would start it.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::Keyferry { arguments, .. } => format!("keyferry {}", arguments.join(" ")),
            Self::Replicaof(_) => "REPLICAOF at the destination".to_owned(),
        }
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// If it has; with the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self {
            Self::Keyferry { process, .. } => {
                if !process.is_running()? {
                    bail!("keyferry ended by itself; its log ends with\n{}", log_end(process));
                }
                Ok(())
            }
            Self::Replicaof(_) => Ok(()),
        }
    }

    /// Kills it with SIGKILL and returns true; false where there is no process to kill.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn kill(&mut self) -> Result<bool> {
        match self {
            Self::Keyferry { process, .. } => process.kill().map(|()| true),
            Self::Replicaof(_) => Ok(false),
        }
    }

    /// Starts it again, as it was started first.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        match self {
            Self::Keyferry { process, arguments } => {
                *process = spawn(arguments)?;
                Ok(())
            }
            Self::Replicaof(_) => Ok(()),
        }
    }

    /// Ends it in an orderly way. Then the destination is nobody's replica.
    ///
    /// # Errors
    /// If it does not end, or says by its exit code that something is wrong.
    pub(crate) fn stop(mut self) -> Result<()> {
        match &mut self {
            Self::Keyferry { process, .. } => {
                process.signal(Signal::TERM)?;
                let status: ExitStatus = process.wait(DRAIN_LIMIT)?;
                if !status.success() {
                    bail!("keyferry ended with {status}; its log ends with\n{}", log_end(process));
                }
                Ok(())
            }
            Self::Replicaof(client) => client.cmd(&["REPLICAOF", "NO", "ONE"]).map(drop),
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyferry => "keyferry",
            Self::Replicaof => "REPLICAOF (the servers' own replication)",
        })
    }
}

fn spawn(arguments: &[String]) -> Result<Process> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Process::start(&arguments)
}

fn log_end(process: &Process) -> String {
    let log = process.stderr();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}
