//! Where to read on, and how many readers it takes to find out.

use parking_lot::Mutex;

use bytes::{Bytes, BytesMut};
use event::control::{Control, Heartbeat, SnapshotEnd};
use event::{Body, Event, Position, Shard, Stamp};
use futures::future::BoxFuture;
use journal::{
    Append, AppendError, Appender, Mailbox, MemoryJournal, OpenError, ReadError, Reader,
};
use runtime::SystemClock;
use wire::slot::Slot;

use super::*;

/// A journal that counts its readers.
struct Counted {
    journal: MemoryJournal,
    readers: Mutex<usize>,
    /// Whether what is not the first that a reader brings lies too far off for it.
    far: bool,
}

/// A reader that brings one record, and then nothing for ever.
struct Short(Option<Box<dyn Reader>>);

impl Reader for Short {
    fn next(&mut self, _: ReadLimit) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        let reader = self.0.take();
        Box::pin(async {
            match reader {
                Some(mut reader) => reader.next(ReadLimit { records: 1, bytes: 1 }).await,
                None => std::future::pending().await,
            }
        })
    }
}

// === impl Counted ===

impl Counted {
    fn new(partitions: u16) -> Self {
        let journal = MemoryJournal::new("shop", partitions);
        Self { journal, readers: Mutex::new(0), far: false }
    }

    /// Appends a record of each partition, `rounds` times: at 1, 2, and so on in the source's history.
    async fn fill(&self, rounds: std::ops::RangeInclusive<u64>, partitions: std::ops::Range<u16>) {
        self.put(rounds, partitions, heartbeat).await;
    }

    async fn put(
        &self,
        rounds: std::ops::RangeInclusive<u64>,
        partitions: std::ops::Range<u16>,
        payload: fn(u64) -> Bytes,
    ) {
        let mut appender = self.journal.appender().await.unwrap();
        for round in rounds {
            let record = |partition| Append {
                partition: Partition(partition),
                key: Bytes::new(),
                timestamp_ms: 0,
                kind: "heartbeat",
                db: 0,
                payload: payload(round),
            };
            appender.append(&mut partitions.clone().map(record).collect()).await.unwrap();
        }
    }

    /// Where to read on after `judged`, and how many readers that took.
    async fn find(&self, judged: u64, needed: &[u64]) -> (Option<Vec<u64>>, usize) {
        let judged = [Position::new(Shard(0), 1, judged).into()];
        let clock = SystemClock::new();
        let description = self.journal.describe().await.unwrap();
        let scope = Scope::all(&description);
        assert_eq!(scope.numbers.len(), needed.len());
        let places = Places { journal: self, judged: &judged, scope: &scope, clock: &clock };
        let (found, _) = places.find(&description, needed).await.unwrap();
        (found, std::mem::take(&mut self.readers.lock()))
    }
}

impl Journal for Counted {
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>> {
        self.journal.describe()
    }

    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        self.journal.appender()
    }

    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        *self.readers.lock() += 1;
        Box::pin(async move {
            let reader = self.journal.reader(from).await?;
            Ok(if self.far { Box::new(Short(Some(reader))) } else { reader })
        })
    }

    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>> {
        self.journal.offset_at_time(partition, timestamp_ms)
    }

    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>> {
        self.journal.trim(before)
    }

    fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        self.journal.release(name, before)
    }

    fn mailbox(&self) -> Box<dyn Mailbox> {
        self.journal.mailbox()
    }

    fn forget_reader(&self, name: &str) -> BoxFuture<'_, Result<(), AppendError>> {
        self.journal.forget_reader(name)
    }
}

fn heartbeat(offset: u64) -> Bytes {
    let beat = Heartbeat {
        replication_id: String::new(),
        selected_db: 0,
        source_time_ms: 0,
        capture_time_ms: 0,
        shard_name: String::new(),
        slots: None,
    };
    encoded(offset, Control::Heartbeat(beat))
}

/// A record of a snapshot made on demand, which no checkpoint has seen.
fn beside(offset: u64) -> Bytes {
    let end = SnapshotEnd { snapshot_id: 7, keys: 0, keys_total: 0 };
    encoded(offset + 1_000_000, Control::SnapshotEnd(end))
}

fn encoded(offset: u64, control: Control) -> Bytes {
    let event = Event {
        position: Position::new(Shard(0), 1, offset),
        stamp: Stamp::default(),
        db: 0,
        slot: Slot::of_key(b""),
        key: Bytes::new(),
        body: Body::Control(control),
        seen: Vec::new(),
    };
    let mut payload = BytesMut::new();
    event::codec::encode(&event, &mut payload).unwrap();
    payload.freeze()
}

#[tokio::test]
async fn one_reader_looks_at_all_partitions() {
    let journal = Counted::new(256);
    journal.fill(1..=10, 0..256).await;
    assert_eq!(journal.find(10, &[10; 256]).await, (None, 1));
    assert_eq!(journal.find(4, &[4; 256]).await, (None, 1));
}

#[tokio::test]
async fn another_reader_begins_where_the_next_record_is_far_off() {
    let journal = Counted { far: true, ..Counted::new(4) };
    journal.fill(1..=10, 0..4).await;
    assert_eq!(journal.find(10, &[10, 5, 1, 3]).await, (None, 4));
    // Nothing is read where nothing has been needed yet.
    assert_eq!(journal.find(0, &[0; 4]).await, (None, 0));
}

#[tokio::test]
async fn where_other_records_have_come_reading_goes_on_at_the_first_that_is_new() {
    let journal = Counted::new(3);
    journal.fill(1..=10, 0..3).await;
    // The checkpoint has seen 8 records of each partition, but judged only what these hold up to 5.
    let (found, _) = journal.find(5, &[8, 3, 8]).await;
    assert_eq!(found, Some(vec![5, 3, 5]));
    // It knows of more than is there.
    let (found, _) = journal.find(10, &[10, 12, 9]).await;
    assert_eq!(found, Some(vec![10, 10, 9]));
}

#[tokio::test]
async fn records_of_a_snapshot_made_on_demand_say_nothing_of_what_is_new() {
    // Of the stream: 0 to 4, 10 to 14 and 5,015 to 5,017, at 1 to 13 in the history.
    let journal = Counted::new(1);
    journal.fill(1..=5, 0..1).await;
    journal.put(1..=5, 0..1, beside).await;
    journal.fill(6..=10, 0..1).await;
    journal.put(1..=5_000, 0..1, beside).await;
    journal.fill(11..=13, 0..1).await;
    journal.put(1..=10, 0..1, beside).await;
    let stream: Vec<u64> = (0..5).chain(10..15).chain(5_015..5_018).collect();
    let end = 5_028;
    for needed in [1, 5, 6, 9, 10, 11, 15, 16, 3_000, 5_014, 5_015, 5_018, 5_020, end] {
        for judged in 0..=13 {
            let (found, _) = journal.find(judged, &[needed]).await;
            let found = found.map_or(needed, |found| found[0]);
            let first_new = stream.get(usize::try_from(judged).unwrap()).copied().unwrap_or(end);
            match first_new >= needed {
                true => assert_eq!(found, needed, "nothing before {needed} is after {judged}"),
                false => {
                    let last_old = stream.iter().filter(|at| **at < first_new).max();
                    let least = last_old.map_or(0, |last| last + 1);
                    assert!((least..=first_new).contains(&found), "{needed}, {judged}: {found}");
                }
            }
        }
    }
}

/// A heartbeat of a shard at a place in its history, in a partition.
fn of_shard(shard: u32, offset: u64, partition: u16) -> Append {
    let mut event = event::codec::decode(heartbeat(offset)).unwrap();
    event.position.shard = Shard(shard);
    let mut payload = BytesMut::new();
    event::codec::encode(&event, &mut payload).unwrap();
    Append {
        partition: Partition(partition),
        key: Bytes::new(),
        timestamp_ms: 0,
        kind: "heartbeat",
        db: 0,
        payload: payload.freeze(),
    }
}

#[tokio::test]
async fn one_reader_looks_at_several_shards_in_all_partitions_and_not_for_one_that_is_long_gone() {
    let journal = Counted::new(3);
    let mut appender = journal.journal.appender().await.unwrap();
    // Shard 2 wrote at the beginning only; nothing has been judged of shard 3.
    let long = LONGEST_WINDOW / 2 + 10;
    let mut records: Vec<_> = (0..3).map(|partition| of_shard(2, 1, partition)).collect();
    for round in 1..=long {
        records.extend([of_shard(0, round, 0), of_shard(1, round, 0)]);
    }
    for partition in [1, 2] {
        records.extend((1..=5).flat_map(|n| [0, 1, 3].map(|of| of_shard(of, n, partition))));
    }
    appender.append(&mut records).await.unwrap();
    let clock = SystemClock::new();
    let description = journal.journal.describe().await.unwrap();
    let scope = Scope::all(&description);
    let points = |judged: u64| {
        let of = |(track, shard, at)| {
            let position = Position::new(Shard(shard), 1, at);
            Point { track, ..Point::from(position) }
        };
        let tracks = (0..3).map(|index| scope.track(index));
        let tracks: std::collections::BTreeSet<_> = tracks.collect();
        let points = tracks
            .into_iter()
            .flat_map(|track| [(track, 0, judged), (track, 1, judged), (track, 2, 1)].map(of));
        points.collect::<Vec<_>>()
    };
    for (judged, partitions, readers) in [
        // Of partition 0 alone: twice farther, and no more.
        (long, [2 * long + 1, 0, 0], 3),
        (long, [0, 16, 16], 1),
        (5, [0, 16, 16], 1),
    ] {
        let judged = points(judged);
        let places = Places { journal: &journal, judged: &judged, scope: &scope, clock: &clock };
        *journal.readers.lock() = 0;
        let (found, told) = places.find(&description, &partitions).await.unwrap();
        assert_eq!(found, None, "{partitions:?}");
        assert!(told.contains_key(&Shard(1)), "{told:?}");
        assert_eq!(*journal.readers.lock(), readers, "{partitions:?}");
    }
    let judged = points(4);
    let places = Places { journal: &journal, judged: &judged, scope: &scope, clock: &clock };
    let (found, _) = places.find(&description, &[0, 16, 16]).await.unwrap();
    assert_eq!(found, Some(vec![0, 0, 0]));
}

#[tokio::test]
async fn of_several_shards_each_is_looked_at_by_itself() {
    // Of shard 0 at 0, 2, 4 and so on, of shard 1 between them, both at 1 to 10 in their histories.
    let journal = Counted::new(1);
    let of = |shard, offset| of_shard(shard, offset, 0);
    let mut appender = journal.journal.appender().await.unwrap();
    let mut records = (1..=10).flat_map(|round| [of(0, round), of(1, round)]).collect();
    appender.append(&mut records).await.unwrap();
    let clock = SystemClock::new();
    let description = journal.journal.describe().await.unwrap();
    let scope = Scope::all(&description);
    for (judged, needed, expected) in [
        ((10, 10), 20, None),
        ((10, 9), 19, None),
        // Nothing of shard 1 behind 5 has been judged, although what is right before is of shard 0.
        ((10, 5), 19, Some(vec![0])),
        ((5, 10), 20, Some(vec![0])),
        ((0, 0), 0, None),
    ] {
        let judged = [(0, judged.0), (1, judged.1)]
            .map(|(shard, at)| Point::from(Position::new(Shard(shard), 1, at)));
        let places = Places { journal: &journal, judged: &judged, scope: &scope, clock: &clock };
        assert_eq!(places.find(&description, &[needed]).await.unwrap().0, expected, "{judged:?}");
    }
}
