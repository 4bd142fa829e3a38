//! A capture under test: its journal, its status, its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use capture::{BuildError, Capture, Config, Parts, SnapshotOrder, Summary};
use journal::{Journal, MemoryJournal};
use redis_io::Endpoint;
use runtime::policy::Classified;
use runtime::{StatusNode, SystemClock, Throttle};
use testkit::Server;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PARTITIONS: u16 = 4;

/// A capture that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<Summary, capture::Error>>,
    status: StatusNode,
    /// By which snapshots beside the stream are ordered.
    pub(crate) snapshots: SnapshotOrder,
    _dir: Arc<tempfile::TempDir>,
}

/// How to run it.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) uri: String,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) change: fn(&mut Config),
    /// Limits, which may be changed while it runs.
    pub(crate) throttle: Throttle,
}

pub(crate) fn journal() -> Arc<MemoryJournal> {
    Arc::new(MemoryJournal::new("test", PARTITIONS))
}

// === impl Setup ===

impl Setup {
    pub(crate) fn new(server: &Server) -> Self {
        Self::of(server.uri())
    }

    pub(crate) fn of(uri: String) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let throttle = Throttle::default();
        Self { uri, journal: journal(), dir, change: |_| {}, throttle }
    }

    /// With other settings.
    pub(crate) fn with(self, change: fn(&mut Config)) -> Self {
        Self { change, ..self }
    }

    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    pub(crate) async fn build(&self, status: StatusNode) -> Result<Capture, BuildError> {
        let source = Endpoint::parse(&self.uri).unwrap();
        let mut config = Config::new(source, "test", self.spool_dir());
        config.throttle = self.throttle.clone();
        (self.change)(&mut config);
        let journal: Arc<dyn Journal> = Arc::clone(&self.journal) as _;
        Capture::build(
            config,
            Parts { clock: Arc::new(SystemClock::new()), journal, status, answered: false },
        )
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "a test owns its task by the handle")]
    pub(crate) async fn start(&self) -> Running {
        let status = StatusNode::root();
        let capture = self.build(status.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let snapshots = capture.snapshot_order();
        let task = tokio::spawn(capture.run(stop.clone()));
        Running { stop, task, status, snapshots, _dir: Arc::clone(&self.dir) }
    }

    /// What building ends with, as a person sees it.
    pub(crate) async fn refusal(&self) -> String {
        match self.build(StatusNode::root()).await {
            Ok(_) => panic!("{} was taken", self.uri),
            Err(error) => told(&error),
        }
    }
}

// === impl Running ===

impl Running {
    pub(crate) async fn stop(self) -> Summary {
        self.stop.cancel();
        self.end().await.unwrap()
    }

    /// Ends it as a kill would: nothing is finished.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Waits for its end.
    pub(crate) async fn end(self) -> Result<Summary, capture::Error> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("an end").unwrap()
    }

    pub(crate) fn status(&self, name: &str) -> serde_json::Value {
        self.status.snapshot().get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.status(name).as_i64().unwrap_or(0)
    }

    /// Waits until its status says so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changes = tokio::time::interval(Duration::from_millis(5));
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(self) {
                assert!(!self.task.is_finished(), "it ended while waiting until {what}");
                changes.tick().await;
            }
        });
        let shown = || self.status.snapshot();
        assert!(waited.await.is_ok(), "waited in vain until {what}: {:#}", shown());
    }

    /// Waits until it has read the stream up to where the source is now, and recorded it.
    pub(crate) async fn until_in_step(&self, server: &Server) {
        let mut client = server.client().unwrap();
        let offset = client.info_field("replication", "master_repl_offset").unwrap().unwrap();
        let offset: i64 = offset.parse().unwrap();
        let in_step = |this: &Self| this.number("durable_offset") >= offset;
        self.until("everything is recorded", in_step).await;
    }
}

/// An error with its causes and its advice.
pub(crate) fn told(error: &dyn Classified) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    format!("{text} | {}", error.advice())
}
