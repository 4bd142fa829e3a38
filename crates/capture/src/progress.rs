//! What the status tree shows of capture, and what its parts tell each other of how far they are.

mod beside;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::Health;
use parking_lot::Mutex;
use runtime::status::{Counter, Gauge, Value};
use runtime::{Hold, StatusNode};
use tokio::sync::watch;

pub(crate) use self::beside::Beside;
use self::beside::BesideShown;
use crate::outlet::OutletCounts;
use crate::snapshot::SnapshotCounts;
use crate::spool::SpoolGauge;

/// What the link is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkPhase {
    /// Being set up.
    #[default]
    Connecting,
    /// The source has been asked to send, and thinks about it or prepares its snapshot.
    Waiting,
    /// Bytes come.
    Up,
}

/// What is being recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Nothing yet.
    #[default]
    Nothing,
    /// A snapshot.
    Snapshot,
    /// The stream.
    Stream,
}

/// What may stand in the way. Each trouble ends for itself, whatever others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// There is no link to the source.
    Link,
    /// The source does not tell what the keys of a command are.
    Question,
    /// The source does not tell which slots it has.
    Slots,
    /// There is no room on the disk for this.
    Room(&'static str),
}

/// The values that one capture shows.
#[derive(Debug)]
pub(crate) struct Progress {
    node: StatusNode,
    snapshot_bytes: Gauge,
    snapshot_bytes_expected: Gauge,
    snapshot_keys: Gauge,
    snapshot_keys_expected: Gauge,
    full_transfers: Counter,
    resyncs: Counter,
    offset: Gauge,
    durable_offset: Gauge,
    records: Gauge,
    bytes: Gauge,
    skipped: Gauge,
    phases: Arc<Mutex<(LinkPhase, Recording)>>,
    /// Of snapshots on demand.
    beside: BesideShown,
    /// What stands in the way at the moment.
    troubles: Mutex<BTreeMap<Obstacle, String>>,
    /// Pieces that the session has finished.
    pieces: AtomicU64,
    /// How many wait for room on the disk.
    waiting_for_room: AtomicU64,
    /// The command that waits until the source tells what its keys are.
    asked_about: Mutex<Option<String>>,
}

// === impl Progress ===

impl Progress {
    /// Shows itself under `node`, and how much waits in the spool.
    #[must_use]
    pub(crate) fn new(node: &StatusNode, spool: SpoolGauge) -> Self {
        let in_memory = spool.clone();
        node.computed("spool_memory_bytes", move || bytes(in_memory.held().memory_bytes as u64));
        node.computed("spool_disk_bytes", move || bytes(spool.held().disk_bytes));
        let progress = Self {
            snapshot_bytes: node.bytes_gauge("snapshot_bytes"),
            snapshot_bytes_expected: node.bytes_gauge("snapshot_bytes_expected"),
            snapshot_keys: node.gauge("snapshot_keys"),
            snapshot_keys_expected: node.gauge("snapshot_keys_expected"),
            full_transfers: node.counter("full_transfers"),
            resyncs: node.counter("resyncs"),
            offset: node.gauge("offset"),
            durable_offset: node.gauge("durable_offset"),
            records: node.gauge("records"),
            bytes: node.bytes_gauge("record_bytes"),
            skipped: node.gauge("skipped_events"),
            phases: Arc::default(),
            beside: BesideShown::new(node),
            troubles: Mutex::default(),
            pieces: AtomicU64::new(0),
            waiting_for_room: AtomicU64::new(0),
            asked_about: Mutex::default(),
            node: node.clone(),
        };
        progress.show_phase();
        progress
    }

    /// What the link is doing now.
    pub(crate) fn set_link(&self, link: LinkPhase) {
        self.phases.lock().0 = link;
        self.show_phase();
    }

    /// What is being recorded now.
    pub(crate) fn set_recording(&self, recording: Recording) {
        self.phases.lock().1 = recording;
        self.show_phase();
    }

    /// Who the source is at the moment.
    pub(crate) fn set_server(&self, shown: &str) {
        self.node.set("server", shown);
    }

    /// What keeps the spool from being emptied.
    pub(crate) fn held_by(&self, hold: Option<Hold>) {
        match hold {
            Some(hold) => self.node.set("held_by", hold.word()),
            None => self.node.unset("held_by"),
        }
    }

    /// How the clock of the source is known.
    pub(crate) fn set_clock(&self, how: &str) {
        self.node.set("clock", how);
    }

    /// Something stands in the way, until [`Progress::overcome`] says that it does not.
    pub(crate) fn hindered(&self, by: Obstacle, trouble: &str) {
        let mut troubles = self.troubles.lock();
        troubles.insert(by, trouble.to_owned());
        self.show_troubles(&troubles);
    }

    /// It does not stand in the way any more, or never did.
    pub(crate) fn overcome(&self, obstacle: Obstacle) {
        let mut troubles = self.troubles.lock();
        if troubles.remove(&obstacle).is_some() {
            self.show_troubles(&troubles);
        }
    }

    fn show_troubles(&self, troubles: &BTreeMap<Obstacle, String>) {
        let all: Vec<&str> = troubles.values().map(String::as_str).collect();
        match all.is_empty() {
            true => self.node.unset("trouble"),
            false => self.node.set("trouble", all.join("; ")),
        }
    }

    /// What of the last snapshot could not be carried; empty: nothing.
    pub(crate) fn set_left_out(&self, what: &str) {
        if what.is_empty() {
            self.node.unset("left_out");
        } else {
            self.node.set("left_out", what);
        }
    }

    /// Shows whether the journal takes records.
    pub(crate) fn watch_journal(&self, health: watch::Receiver<Health>) {
        self.node.computed("journal", move || match &*health.borrow() {
            Health::Accepting => Value::Text("accepting".to_owned()),
            Health::Stalled(why) => Value::Text(why.clone()),
        });
    }

    /// A full transfer has begun.
    pub(crate) fn count_full_transfer(&self) {
        self.full_transfers.add(1);
    }

    /// A full transfer is asked for, since nothing else leads on.
    pub(crate) fn count_resync(&self, why: &str) {
        self.resyncs.add(1);
        self.node.set("resync_cause", why);
    }

    /// How far the snapshot has come.
    pub(crate) fn snapshot(&self, counts: SnapshotCounts) {
        self.snapshot_bytes.set(signed(counts.bytes));
        self.snapshot_bytes_expected.set(signed(counts.bytes_expected));
        self.snapshot_keys.set(signed(counts.keys));
        self.snapshot_keys_expected.set(signed(counts.keys_expected));
    }

    /// How far the stream has been read.
    pub(crate) fn stream(&self, offset: u64) {
        self.offset.set(signed(offset));
    }

    /// What has been recorded.
    pub(crate) fn recorded(&self, counts: OutletCounts) {
        self.records.set(signed(counts.records));
        self.bytes.set(signed(counts.bytes));
        self.skipped.set(signed(counts.skipped));
    }

    /// How far the journal holds it for good.
    pub(crate) fn durable(&self, offset: u64) {
        self.durable_offset.set(signed(offset));
    }

    /// One more piece was finished.
    pub(crate) fn count_piece(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    /// How many pieces were finished.
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_wait_for_room(&self) {
        self.waiting_for_room.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_wait_for_room(&self) {
        self.waiting_for_room.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether something waits for room on the disk.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.waiting_for_room.load(Ordering::Relaxed) > 0
    }

    /// The source does not tell what the keys of a command are; none: it has, or is not asked any more.
    pub(crate) fn set_asked_about(&self, command: Option<&str>) {
        *self.asked_about.lock() = command.map(str::to_owned);
    }

    /// The command with which recording waits, until the source tells what its keys are.
    pub(crate) fn asked_about(&self) -> Option<String> {
        self.asked_about.lock().clone()
    }

    /// The offset up to which the journal holds everything for good, if there is one, and the records appended.
    pub(crate) fn totals(&self) -> (Option<u64>, u64) {
        let read = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        (Some(read(&self.durable_offset)).filter(|offset| *offset > 0), read(&self.records))
    }

    /// One word for both sides: a link that is down says more than what is still being recorded.
    fn show_phase(&self) {
        let phase = match *self.phases.lock() {
            (LinkPhase::Connecting, _) => "connecting",
            (LinkPhase::Waiting, _) => "waiting",
            (LinkPhase::Up, Recording::Stream) => "stream",
            (LinkPhase::Up, Recording::Snapshot | Recording::Nothing) => "snapshot",
        };
        self.node.set("phase", phase);
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn bytes(value: u64) -> Value {
    Value::Bytes(value)
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;
    use crate::looks::Looks;
    use crate::spool::{SpoolConfig, spool};

    #[tokio::test]
    async fn a_trouble_that_ends_leaves_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let (memory_bytes, disk_bytes) = (1_000, 1_000_000);
        let config = SpoolConfig { dir: dir.path().to_owned(), memory_bytes, disk_bytes };
        let (writer, _reader) =
            spool(config, &ManualClock::new(0), Looks::default()).await.unwrap();
        let node = StatusNode::root();
        let progress = Progress::new(&node, writer.gauge());
        let shown = || node.snapshot()["trouble"].as_str().map(str::to_owned);
        progress.hindered(Obstacle::Room("a"), "no room");
        progress.hindered(Obstacle::Link, "no route");
        progress.hindered(Obstacle::Question, "no answer");
        assert_eq!(shown().as_deref(), Some("no route; no answer; no room"));
        progress.overcome(Obstacle::Link);
        progress.overcome(Obstacle::Room("b"));
        assert_eq!(shown().as_deref(), Some("no answer; no room"));
        progress.overcome(Obstacle::Question);
        progress.overcome(Obstacle::Room("a"));
        assert_eq!(shown(), None);
    }
}
