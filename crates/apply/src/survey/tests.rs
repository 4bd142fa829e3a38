//! What is found in journals that are written by hand, also by the tests of others.

use bytes::{Bytes, BytesMut};
use event::control::{EpochBegin, Heartbeat, SnapshotBegin, SnapshotEnd};
use event::image::{Flavour, Image, ImageHead, ImageValue};
use event::{Command, Effect, Event, KeyArgs, Stamp};
use journal::{Append, Appender, MemoryJournal};
use wire::slot::Slot;

use super::*;

/// A journal that is written by hand: places are epochs and offsets, times are milliseconds.
pub(crate) struct Log {
    pub(crate) journal: MemoryJournal,
    appender: Box<dyn Appender>,
    partitions: u16,
}

/// A place: epoch, offset, time.
pub(crate) type At = (u64, u64, i64);

// === impl Log ===

impl Log {
    pub(crate) async fn new(partitions: u16) -> Self {
        let journal = MemoryJournal::new("shop", partitions);
        let appender = journal.appender().await.unwrap();
        Self { journal, appender, partitions }
    }

    pub(crate) async fn describe(&self) -> Description {
        self.journal.describe().await.unwrap()
    }

    async fn put(&mut self, partition: u16, index: u64, at: At, body: Body) {
        let (epoch, offset, time_ms) = at;
        let event = Event {
            position: Position::new(Shard(0), epoch, offset).at_index(index),
            stamp: Stamp { time_ms, ..Stamp::default() },
            db: 0,
            slot: Slot::of_key(b""),
            key: Bytes::from_static(b"key"),
            body,
            seen: Vec::new(),
        };
        let mut payload = BytesMut::new();
        codec::encode(&event, &mut payload).unwrap();
        let record = Append {
            partition: Partition(partition),
            key: Bytes::new(),
            timestamp_ms: time_ms,
            kind: "test",
            db: 0,
            payload: payload.freeze(),
        };
        self.appender.append(&mut vec![record]).await.unwrap();
        self.appender.flush().await.unwrap();
    }

    async fn everywhere(&mut self, index: u64, at: At, control: Control) {
        for partition in 0..self.partitions {
            self.put(partition, index, at, Body::Control(control.clone())).await;
        }
    }

    /// An epoch that begins with everything, or goes on.
    pub(crate) async fn epoch(&mut self, at: At, cause: EpochCause) {
        let begin = epoch_begin(cause, at.1);
        self.everywhere(0, at, begin).await;
    }

    /// The same, in one partition.
    async fn epoch_in(&mut self, partition: u16, at: At, cause: EpochCause) {
        let begin = epoch_begin(cause, at.1);
        self.put(partition, 0, at, Body::Control(begin)).await;
    }

    /// A snapshot that is part of the stream, whole.
    pub(crate) async fn snapshot(&mut self, at: At) {
        self.epoch(at, EpochCause::FullResync).await;
        self.end(at, 0).await;
    }

    /// The beginning of one that is made on demand.
    pub(crate) async fn begin(&mut self, at: At, snapshot_id: u64) {
        let begin = SnapshotBegin {
            snapshot_id,
            keys_expected: 0,
            bytes_expected: 0,
            rdb_version: 11,
            flavour: Flavour::Redis,
            slots: None,
        };
        self.everywhere(Position::LAST_INDEX, at, Control::SnapshotBegin(begin)).await;
    }

    pub(crate) async fn image(&mut self, partition: u16, at: At, snapshot_id: u64) {
        let head = ImageHead {
            type_byte: 0,
            flavour: Flavour::Redis,
            rdb_version: 11,
            expire_at_ms: None,
            idle_s: None,
            freq: None,
            snapshot_id,
        };
        let value = ImageValue::Text(Bytes::from_static(b"value"));
        self.put(partition, 1, at, Body::Image(Image { head, value })).await;
    }

    pub(crate) async fn end(&mut self, at: At, snapshot_id: u64) {
        for partition in 0..self.partitions {
            self.end_in(partition, at, snapshot_id).await;
        }
    }

    pub(crate) async fn end_in(&mut self, partition: u16, at: At, snapshot_id: u64) {
        let end = SnapshotEnd { snapshot_id, keys: 0, keys_total: 0 };
        self.put(partition, 2, at, Body::Control(Control::SnapshotEnd(end))).await;
    }

    pub(crate) async fn set(&mut self, partition: u16, at: At) {
        let args = [&b"SET"[..], b"key", b"value"].map(Bytes::from_static).to_vec();
        let command = Command { args, effect: Effect::Overwrite, keys: KeyArgs::First };
        self.put(partition, 0, at, Body::Command(command)).await;
    }

    pub(crate) async fn heartbeat(&mut self, at: At) {
        let beat = Heartbeat {
            replication_id: String::new(),
            selected_db: 0,
            capture_time_ms: at.2,
            source_time_ms: at.2,
            shard_name: String::new(),
            slots: None,
        };
        self.everywhere(Position::LAST_INDEX, at, Control::Heartbeat(beat)).await;
    }
}

fn epoch_begin(cause: EpochCause, branch_offset: u64) -> Control {
    Control::EpochBegin(EpochBegin {
        cause,
        shard_name: String::new(),
        replication_id: String::new(),
        branch_offset,
        server: String::new(),
        slots: None,
    })
}

/// The complete snapshots: epoch, offset, id and time of each.
async fn complete(log: &Log, survey: &mut Survey) -> Vec<(u64, u64, u64, i64)> {
    survey.read(&log.journal, &log.describe().await).await.unwrap();
    let complete = survey.snapshots().filter(|of| of.is_complete());
    complete.map(|of| (of.epoch, of.order().1, of.id, of.time_ms)).collect()
}

#[tokio::test]
async fn a_snapshot_is_complete_once_it_has_ended_everywhere() {
    let (mut log, mut survey) = (Log::new(2).await, Survey::default());
    assert_eq!(complete(&log, &mut survey).await, []);
    log.epoch((1, 10, 100), EpochCause::FullResync).await;
    log.end_in(0, (1, 10, 100), 0).await;
    assert_eq!(complete(&log, &mut survey).await, []);
    log.end_in(1, (1, 10, 100), 0).await;
    assert_eq!(complete(&log, &mut survey).await, [(1, 10, 0, 100)]);
    // Another history begins before the snapshot of the next one is whole.
    log.epoch((2, 5, 200), EpochCause::FullResync).await;
    log.snapshot((3, 7, 300)).await;
    assert_eq!(complete(&log, &mut survey).await, [(1, 10, 0, 100), (3, 7, 0, 300)]);
}

#[tokio::test]
async fn one_made_on_demand_shows_what_came_before_its_offset_however_late_that_is_recorded() {
    let (mut log, mut survey) = (Log::new(2).await, Survey::default());
    log.snapshot((1, 10, 100)).await;
    log.begin((1, 20, 200), 7).await;
    log.image(1, (1, 40, 210), 7).await;
    log.set(0, (1, 40, 250)).await;
    log.set(0, (1, 50, 900)).await;
    assert_eq!(complete(&log, &mut survey).await, [(1, 10, 0, 100)]);
    log.end((1, 40, 210), 7).await;
    assert_eq!(complete(&log, &mut survey).await, [(1, 10, 0, 100), (1, 40, 7, 250)]);
    // One of which the end never comes.
    log.begin((1, 50, 900), 8).await;
    log.image(0, (1, 60, 910), 8).await;
    log.begin((1, 70, 950), 9).await;
    log.end((1, 80, 960), 9).await;
    let found = complete(&log, &mut survey).await;
    assert_eq!(found, [(1, 10, 0, 100), (1, 40, 7, 250), (1, 80, 9, 960)]);
}

#[tokio::test]
async fn what_has_left_the_journal_is_not_complete() {
    let (mut log, mut survey) = (Log::new(2).await, Survey::default());
    log.snapshot((1, 10, 100)).await;
    log.snapshot((2, 10, 200)).await;
    assert_eq!(complete(&log, &mut survey).await.len(), 2);
    log.journal.trim(vec![(Partition(1), Offset(1))]).await.unwrap();
    assert_eq!(complete(&log, &mut survey).await, [(2, 10, 0, 200)]);
    assert_eq!(complete(&log, &mut Survey::default()).await, [(2, 10, 0, 200)]);
}

#[tokio::test]
async fn one_made_on_demand_behind_a_branch_of_the_history_is_of_no_use() {
    for first in [0, 1] {
        let (mut log, mut survey) = (Log::new(2).await, Survey::default());
        log.snapshot((1, 10, 100)).await;
        log.begin((1, 20, 200), 7).await;
        log.end((1, 30, 210), 7).await;
        log.begin((1, 30, 220), 8).await;
        log.end((1, 40, 230), 8).await;
        let before = complete(&log, &mut survey).await;
        assert_eq!(before, [(1, 10, 0, 100), (1, 30, 7, 210), (1, 40, 8, 230)]);
        // The new primary has nothing of what came after 30. What tells it has not come in every partition yet.
        log.epoch_in(first, (2, 30, 300), EpochCause::Continued).await;
        let left = [(1, 10, 0, 100), (1, 30, 7, 210)];
        assert_eq!(complete(&log, &mut survey).await, left);
        log.epoch_in(1 - first, (2, 30, 300), EpochCause::Continued).await;
        assert_eq!(complete(&log, &mut survey).await, left);
        assert_eq!(complete(&log, &mut Survey::default()).await, left);
        // Nor has the one after that, which branches off before.
        log.epoch((3, 25, 400), EpochCause::Continued).await;
        assert_eq!(complete(&log, &mut survey).await, [(1, 10, 0, 100)]);
        // Offsets behind a new snapshot of everything say nothing about those before.
        log.snapshot((4, 90, 500)).await;
        log.begin((4, 95, 500), 9).await;
        log.end((4, 99, 500), 9).await;
        log.snapshot((5, 3, 600)).await;
        log.epoch((6, 5, 700), EpochCause::Continued).await;
        let found = complete(&log, &mut survey).await;
        assert_eq!(found[1..], [(4, 90, 0, 500), (4, 99, 9, 500), (5, 3, 0, 600)]);
    }
}
