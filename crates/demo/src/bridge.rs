//! What carries the changes: keyferry; or the servers' own replication, to check the demo itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
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

/// A program and its arguments.
pub(crate) struct Command {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A bridge that runs.
pub(crate) enum Bridge {
    /// A child process, with the command to start it again.
    Keyferry { process: Process, command: Command },
    /// A connection to the destination.
    Replicaof(Client),
}

// === impl Bridge ===

impl Bridge {
    /// Starts one from `source` to `destination`: the program at `keyferry`, unless it is the
    /// servers' own replication. What it keeps on disk goes under the destination's directory.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(
        carrier: Carrier,
        keyferry: &Path,
        [source, destination]: &[Server; 2],
    ) -> Result<Self> {
        match carrier {
            Carrier::Keyferry => {
                if !keyferry.exists() {
                    bail!("there is no {}: start the demo by ./demo", keyferry.display());
                }
                let data_dir = destination.dir().join("keyferry-data").display().to_string();
                let (from, to) = (source.uri(), destination.uri());
                let arguments = ["run", &from, &to, "--data-dir", &data_dir].map(str::to_owned);
                let command = Command { program: keyferry.to_owned(), arguments: arguments.into() };
                Ok(Self::Keyferry { process: command.start()?, command })
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
            Self::Keyferry { command, .. } => format!("keyferry {}", command.arguments.join(" ")),
            Self::Replicaof(_) => "REPLICAOF at the destination".to_owned(),
        }
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// If it has.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self {
            Self::Keyferry { process, .. } => {
                if !process.is_running()? {
                    bail!("keyferry ended by itself");
                }
                Ok(())
            }
            Self::Replicaof(_) => Ok(()),
        }
    }

    /// An error with the end of the bridge's log, which may say why.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        match self {
            Self::Keyferry { process, .. } => {
                anyhow!("{error:#}; keyferry's log ends with\n{}", log_end(process))
            }
            Self::Replicaof(_) => anyhow!("{error:#}"),
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
            Self::Keyferry { process, command } => {
                *process = command.start()?;
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

// === impl Command ===

impl Command {
    fn start(&self) -> Result<Process> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Process::program(&self.program, &arguments, &[])
    }
}

fn log_end(process: &Process) -> String {
    let log = process.stderr();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n")
}
