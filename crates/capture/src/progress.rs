//! What the status tree shows of capture.

use journal::Health;
use runtime::StatusNode;
use runtime::status::{Gauge, Value};
use tokio::sync::watch;

use crate::outlet::OutletCounts;
use crate::snapshot::SnapshotCounts;
use crate::spool::SpoolGauge;

/// What capture is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Setting up the link.
    Connecting,
    /// The source prepares its snapshot.
    Waiting,
    /// Reading the snapshot.
    Snapshot,
    /// Following the stream.
    Stream,
}

/// The values that one capture shows.
#[derive(Debug)]
pub(crate) struct Progress {
    node: StatusNode,
    snapshot_bytes: Gauge,
    snapshot_bytes_expected: Gauge,
    snapshot_keys: Gauge,
    snapshot_keys_expected: Gauge,
    offset: Gauge,
    durable_offset: Gauge,
    records: Gauge,
    bytes: Gauge,
    skipped: Gauge,
}

// === impl Phase ===

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
            Self::Snapshot => "snapshot",
            Self::Stream => "stream",
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Shows itself under `node`, and how much waits in the spool.
    #[must_use]
    pub(crate) fn new(node: &StatusNode, spool: SpoolGauge) -> Self {
        let in_memory = spool.clone();
        node.computed("spool_memory_bytes", move || bytes(in_memory.held().memory_bytes as u64));
        node.computed("spool_disk_bytes", move || bytes(spool.held().disk_bytes));
        node.set("phase", Phase::Connecting.as_str());
        Self {
            snapshot_bytes: node.bytes_gauge("snapshot_bytes"),
            snapshot_bytes_expected: node.bytes_gauge("snapshot_bytes_expected"),
            snapshot_keys: node.gauge("snapshot_keys"),
            snapshot_keys_expected: node.gauge("snapshot_keys_expected"),
            offset: node.gauge("offset"),
            durable_offset: node.gauge("durable_offset"),
            records: node.gauge("records"),
            bytes: node.bytes_gauge("record_bytes"),
            skipped: node.gauge("skipped_events"),
            node: node.clone(),
        }
    }

    /// What it is doing now.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.node.set("phase", phase.as_str());
    }

    /// How the clock of the source is known.
    pub(crate) fn set_clock(&self, how: &str) {
        self.node.set("clock", how);
    }

    /// What stands in the way at the moment; empty: nothing.
    pub(crate) fn set_trouble(&self, trouble: &str) {
        if trouble.is_empty() {
            self.node.unset("trouble");
        } else {
            self.node.set("trouble", trouble);
        }
    }

    /// Shows whether the journal takes records.
    pub(crate) fn watch_journal(&self, health: watch::Receiver<Health>) {
        self.node.computed("journal", move || match &*health.borrow() {
            Health::Accepting => Value::Text("accepting".to_owned()),
            Health::Stalled(why) => Value::Text(why.clone()),
        });
    }

    /// How far the snapshot has come.
    pub(crate) fn snapshot(&self, counts: SnapshotCounts) {
        self.snapshot_bytes.set(signed(counts.bytes));
        self.snapshot_bytes_expected.set(signed(counts.bytes_expected));
        self.snapshot_keys.set(signed(counts.keys));
        self.snapshot_keys_expected.set(signed(counts.keys_expected));
    }

    /// How far the stream has been read, and what has been recorded.
    pub(crate) fn stream(&self, offset: u64, counts: OutletCounts) {
        self.offset.set(signed(offset));
        self.records.set(signed(counts.records));
        self.bytes.set(signed(counts.bytes));
        self.skipped.set(signed(counts.skipped));
    }

    /// How far the journal holds it for good.
    pub(crate) fn durable(&self, offset: u64) {
        self.durable_offset.set(signed(offset));
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn bytes(value: u64) -> Value {
    Value::Bytes(value)
}
