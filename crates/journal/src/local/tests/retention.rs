//! Forgetting: by size, by age, by order; never what a named reader still needs.

use std::time::Duration;

use runtime::ManualClock;

use super::sim_disk::SimDisk;
use super::*;
use crate::{PartitionRange, ReadError};

/// A stream of 100 records over about ten segments, whose record `n` is from millisecond `n`.
async fn hundred(disk: &SimDisk, config: &LocalConfig, clock: &ManualClock) -> Stream {
    let parts = LocalParts { clock: Arc::new(clock.clone()) };
    let journal = LocalJournal::open_on(Arc::new(disk.clone()), config, &parts, None).unwrap();
    let appender = journal.appender().await.unwrap();
    let mut stream = Stream { journal, appender, config: config.clone() };
    for number in 0..100 {
        stream.append(vec![numbered(number, 300)]).await;
        stream.appender.flush().await.unwrap();
    }
    stream
}

async fn ranges(stream: &Stream) -> Vec<PartitionRange> {
    stream.journal.describe().await.unwrap().partitions
}

/// How many records have been forgotten.
async fn forgotten(stream: &Stream) -> u64 {
    ranges(stream).await.iter().map(|range| range.start.0).sum()
}

/// Per partition, the offset that the `number`th record of the stream has or would have.
fn offsets_at(number: u64) -> Vec<(Partition, Offset)> {
    let count = |p: Partition| (0..number).filter(|n| partition_of(*n) == p).count();
    let partitions = (0..PARTITIONS).map(Partition);
    partitions.map(|p| (p, Offset(count(p) as u64))).collect()
}

#[tokio::test]
async fn the_oldest_segments_go_when_there_are_too_many_bytes() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new(0));
    let config = LocalConfig { retention_bytes: Some(20_000), ..sim_config() };
    let stream = hundred(&disk, &config, &clock).await;
    let status = stream.journal.status();
    assert!(status.bytes <= 20_000 + 4096 + 1000 && status.bytes > 10_000, "{status:?}");
    let forgotten = forgotten(&stream).await;
    assert!(forgotten > 20, "{forgotten}");
    assert_eq!(status.oldest_ms, Some(i64::try_from(forgotten).unwrap()));
    assert_eq!(status.held, None);
    let segments = disk.paths().iter().filter(|p| p.extension().is_some()).count();
    assert_eq!(segments, status.segments, "the files are gone");

    let mut reader = stream.journal.reader(offsets_at(forgotten)).await.unwrap();
    assert!(is_numbered(&reader.next(ALL).await.unwrap()[0], forgotten));
    let from_start = stream.journal.reader(from_start()).await;
    assert!(matches!(from_start, Err(ReadError::OutOfRetention { start, .. }) if start.0 > 0));
    let stream = stream.reopen(&disk).await;
    assert_eq!(self::forgotten(&stream).await, forgotten, "they stay gone");
}

#[tokio::test]
async fn segments_go_when_all_their_records_are_too_old() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new(100));
    let config = LocalConfig { retention_age: Some(Duration::from_millis(60)), ..sim_config() };
    let mut stream = hundred(&disk, &config, &clock).await;
    let kept_from = forgotten(&stream).await;
    assert!((20..=40).contains(&kept_from), "{kept_from}");
    clock.advance(Duration::from_secs(1));
    stream.journal.release("anyone", Vec::new()).await.unwrap();
    let active = forgotten(&stream).await;
    assert!((80..=100).contains(&active), "all sealed ones are too old: {active}");
    stream.append(vec![numbered(100, 10)]).await;
    let mut reader = stream.journal.reader(offsets_at(active)).await.unwrap();
    assert!(is_numbered(&reader.next(ALL).await.unwrap()[0], active), "the active one stays");
}

#[tokio::test]
async fn what_a_named_reader_needs_stays_and_the_status_says_so() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new(0));
    let config = LocalConfig { retention_bytes: Some(8_000), ..sim_config() };
    let early = LocalConfig { retention_bytes: None, ..config.clone() };
    let stream = hundred(&disk, &early, &clock).await;
    stream.journal.release("slow", offsets_at(30)).await.unwrap();
    stream.journal.release("fast", offsets_at(90)).await.unwrap();
    let mut stream = Stream { config, ..stream }.reopen(&disk).await;

    // The reader's place counts, also after a restart.
    stream.append((100..120).map(|n| numbered(n, 300)).collect()).await;
    stream.appender.flush().await.unwrap();
    let kept_from = forgotten(&stream).await;
    assert!((20..=30).contains(&kept_from), "{kept_from}");
    let held = stream.journal.status().held.unwrap();
    assert!(held.starts_with("reader slow has not released it, though the journal has "), "{held}");
    let mut reader = stream.journal.reader(offsets_at(30)).await.unwrap();
    assert!(is_numbered(&reader.next(ALL).await.unwrap()[0], 30));

    // Going on frees what was held.
    stream.journal.release("slow", offsets_at(60)).await.unwrap();
    let kept_from = forgotten(&stream).await;
    assert!((50..=60).contains(&kept_from), "{kept_from}");
    stream.journal.forget_reader("slow").await.unwrap();
    let kept_from = forgotten(&stream).await;
    assert!((70..=90).contains(&kept_from), "{kept_from}");
    assert!(stream.journal.status().held.is_some_and(|held| held.starts_with("reader fast ")));
    stream.journal.release("fast", offsets_at(120)).await.unwrap();
    assert_eq!(stream.journal.status().held, None);
}

#[tokio::test]
async fn a_reader_holds_only_the_partitions_that_it_named() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new(0));
    let config = LocalConfig { retention_bytes: Some(8_000), ..sim_config() };
    let stream =
        hundred(&disk, &LocalConfig { retention_bytes: None, ..config.clone() }, &clock).await;
    let end = ranges(&stream).await[1].end;
    stream.journal.release("one", vec![(Partition(1), end)]).await.unwrap();
    let stream = Stream { config, ..stream }.reopen(&disk).await;
    stream.journal.release("one", Vec::new()).await.unwrap();
    assert!(forgotten(&stream).await > 60);
}

#[tokio::test]
async fn an_operator_may_trim_what_readers_need() {
    let (disk, clock) = (SimDisk::new(), ManualClock::new(0));
    let uncached = LocalConfig { tail_cache_bytes: 0, ..sim_config() };
    let stream = hundred(&disk, &uncached, &clock).await;
    let mut stuck = stream.journal.reader(from_start()).await.unwrap();
    stuck.next(ReadLimit { records: 3, bytes: usize::MAX }).await.unwrap();
    stream.journal.release("stuck", offsets_at(3)).await.unwrap();
    stream.journal.trim(offsets_at(50)).await.unwrap();
    let kept_from = forgotten(&stream).await;
    assert!((40..=50).contains(&kept_from), "{kept_from}");

    // It may have fetched some before; then it is told, and not given a gap.
    let mut number = 3;
    let error = loop {
        match stuck.next(ALL).await {
            Ok(entries) => {
                for entry in entries {
                    assert!(is_numbered(&entry, number), "{entry:?} is not record {number}");
                    number += 1;
                }
            }
            Err(error) => break error,
        }
    };
    let ReadError::OutOfRetention { partition, offset, start } = error else { panic!("{error:?}") };
    assert!(offset < start && number <= kept_from, "{partition:?} {offset:?} {start:?}");
}

#[tokio::test]
async fn a_reader_goes_on_where_only_others_records_were_forgotten() {
    let disk = SimDisk::new();
    let mut stream = Stream::open(&disk, &sim_config()).await;
    let of =
        |partition, number| Append { partition: Partition(partition), ..numbered(number, 300) };
    let mut reader = stream.journal.reader(vec![(Partition(2), Offset(0))]).await.unwrap();
    stream.append((0..100).map(|n| of(0, n)).collect()).await;
    stream.append(vec![of(2, 100)]).await;
    stream.appender.flush().await.unwrap();
    stream.journal.trim(vec![(Partition(0), Offset(90))]).await.unwrap();
    assert!(ranges(&stream).await[0].start > Offset(50));
    // The cache may hold forgotten records; only what is wanted counts.
    stream.journal.log.tail.lock().clear();
    let entries = reader.next(ALL).await.unwrap();
    assert_eq!((entries.len(), entries[0].offset), (1, Offset(0)));
}
