//! Real Kafka brokers for tests: nodes of their own ports and directories, gone with the test.
//!
//! The jars come from `scripts/kafka`; with `KEYFERRY_TEST_BROKER=container` each broker is a container instead. A broker
//! is ready when `start` returns, keeps its data and ports over a restart, and is killed when dropped; nothing of it
//! stays on the disk. A start takes some seconds, so tests that do no harm to it share one by [`Broker::shared`], with
//! topics of their own.

mod acl;
mod cluster;
mod container;
mod janitor;
mod node;
mod settings;
mod silent;

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rustix::process::Signal;

use self::janitor::Janitor;
use self::node::Node;

use acl::Names;
pub use acl::{Operation, Resource};
pub use cluster::Cluster;
pub use settings::Setup;
pub use silent::SilentRelay;

/// How often taken ports are answered with others.
const PORT_TRIES: u32 = 5;

/// A broker that is its own controller.
#[derive(Debug)]
pub struct Broker {
    node: Node,
}

// === impl Broker ===

impl Broker {
    /// Starts one that lets everybody do everything.
    ///
    /// # Errors
    /// If the jars are not cached, or it ends or does not answer; with its log.
    pub fn start() -> Result<Self> {
        Self::with(&Setup::default())
    }

    /// Starts one as described.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn with(setup: &Setup) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut node = Node::new(1, setup)?;
            let alone = [node.voter()];
            node.format(&alone, setup)?;
            node.launch()?;
            match node.wait() {
                Ok(()) => return Ok(Self { node }),
                // Somebody was quicker with the port.
                Err(error) if tries < PORT_TRIES && node.port_was_taken() => drop(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// The one broker that all tests of this process share; it lives until the process ends.
    ///
    /// # Errors
    /// As [`Broker::start`], each time.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: LazyLock<Result<(Broker, Janitor), String>> = LazyLock::new(|| {
            let start = || {
                let broker = Broker::start()?;
                let janitor = Janitor::of(broker.node.dir(), broker.node.pid())?;
                Ok((broker, janitor))
            };
            start().map_err(|error: anyhow::Error| format!("{error:#}"))
        });
        SHARED.as_ref().map(|(broker, _)| broker).map_err(|error| anyhow!("{error}"))
    }

    /// `host:port`, as clients are told.
    pub fn bootstrap(&self) -> String {
        self.node.bootstrap()
    }

    /// `host:port` of a listener without security; the same as [`Broker::bootstrap`] where there is none. Whoever
    /// comes in here may do everything.
    pub fn admin(&self) -> String {
        self.node.admin()
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.node.pid()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.node.log()
    }

    /// Its directory: settings, log, data.
    pub fn dir(&self) -> &Path {
        self.node.dir()
    }

    /// Lets a user do something, on every resource whose name begins with `prefix`.
    ///
    /// # Errors
    /// If the broker refuses, which it does without users (see [`Setup::user`]).
    pub fn allow(
        &self,
        user: &str,
        operation: Operation,
        resource: Resource,
        prefix: &str,
    ) -> Result<()> {
        acl::allow(self.node.admin_addr(), user, operation, (resource, prefix, Names::BeginWithIt))
    }

    /// Lets a user do something, on the resource of this name alone.
    ///
    /// # Errors
    /// As [`Broker::allow`].
    pub fn allow_exactly(
        &self,
        user: &str,
        operation: Operation,
        resource: Resource,
        name: &str,
    ) -> Result<()> {
        acl::allow(self.node.admin_addr(), user, operation, (resource, name, Names::AreIt))
    }

    /// Kills it (SIGKILL), as a power cut would.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.node.kill()
    }

    /// Lets no file of it grow beyond so many bytes, until it is started again: what it writes further on fails, in
    /// the middle of a write as well, as on a disk that is full.
    ///
    /// # Errors
    /// If it does not run, or the system refuses.
    pub fn limit_files(&self, bytes: u64) -> Result<()> {
        self.node.limit_files(bytes)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// If it goes on; with its log.
    pub fn ends(&mut self, limit: Duration) -> Result<()> {
        self.node.ends(limit)
    }

    /// Starts it again on the same ports and data, after killing it if it runs.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn restart(&mut self) -> Result<()> {
        self.node.restart()
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self) -> Result<()> {
        self.node.signal(Signal::STOP)
    }

    /// Ends a [`Broker::pause`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&self) -> Result<()> {
        self.node.signal(Signal::CONT)
    }
}
