//! Reading while another process writes.

use std::time::Duration;

use runtime::ManualClock;

use super::sim_disk::SimDisk;
use super::*;
use crate::ReadError;

/// A writer, and a follower with a clock that the test moves.
struct Pair {
    disk: SimDisk,
    stream: Stream,
    follower: LocalJournal,
    clock: ManualClock,
}

impl Pair {
    async fn new() -> Self {
        let disk = SimDisk::new();
        let stream = Stream::open(&disk, &sim_config()).await;
        let clock = ManualClock::new(0);
        let follower = follow(&disk, &clock).unwrap();
        Self { disk, stream, follower, clock }
    }

    async fn write(&mut self, numbers: std::ops::Range<u64>) {
        self.stream.append(numbers.map(|n| numbered(n, 200)).collect()).await;
        self.stream.appender.flush().await.unwrap();
    }

    /// Reads so many records, moving the clock whenever the reader waits.
    async fn read(&self, reader: &mut dyn Reader, count: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        while entries.len() < count {
            let limit = ReadLimit { records: count - entries.len(), ..ALL };
            let next = reader.next(limit);
            tokio::pin!(next);
            entries.extend(loop {
                tokio::select! {
                    biased;
                    more = &mut next => break more.unwrap(),
                    () = self.clock.wait_for_sleepers(1) => {
                        self.clock.advance(Duration::from_secs(1));
                    }
                }
            });
        }
        entries
    }
}

fn follow(disk: &SimDisk, clock: &ManualClock) -> Result<LocalJournal, OpenError> {
    let parts = LocalParts { clock: Arc::new(clock.clone()) };
    LocalJournal::follow(Arc::new(disk.clone()), &ReadOnlyConfig::new("/sim"), &parts)
}

fn assert_numbered(entries: &[Entry], from: u64) {
    for (number, entry) in (from..).zip(entries) {
        assert!(is_numbered(entry, number), "{entry:?} is not record {number}");
    }
}

#[tokio::test]
async fn a_follower_sees_what_is_written_over_many_segments() {
    let mut pair = Pair::new().await;
    let mut reader = pair.follower.reader(from_start()).await.unwrap();
    for round in 0..10 {
        pair.write(round * 30..round * 30 + 30).await;
        assert_numbered(&pair.read(&mut *reader, 30).await, round * 30);
    }
    pair.stream.journal.release("someone", from_start()).await.unwrap();
    let mut written = pair.stream.journal.describe().await.unwrap();
    written.max_record_bytes = pair.follower.describe().await.unwrap().max_record_bytes;
    assert_eq!(pair.follower.describe().await.unwrap(), written);
    assert_eq!(pair.follower.status(), pair.stream.journal.status());
    let before = from_start().into_iter().map(|(partition, _)| (partition, Offset(30))).collect();
    pair.stream.journal.trim(before).await.unwrap();
    let described = pair.follower.describe().await.unwrap();
    assert_eq!(described.partitions, pair.stream.journal.describe().await.unwrap().partitions);
    assert!(described.partitions[0].start > Offset(0));
    assert_eq!(pair.follower.status(), pair.stream.journal.status());
}

#[tokio::test]
async fn a_follower_that_comes_late_sees_everything() {
    let mut pair = Pair::new().await;
    pair.write(0..200).await;
    let late = follow(&pair.disk, &pair.clock).unwrap();
    assert_numbered(&read_all(&late).await, 0);
    assert_eq!(late.status(), pair.stream.journal.status());
}

#[tokio::test]
async fn an_unfinished_frame_is_not_there_yet() {
    let mut pair = Pair::new().await;
    pair.write(0..3).await;
    let path = std::path::PathBuf::from("/sim/00000000000000000000.seg");
    let before = pair.disk.content(&path).len();
    pair.write(3..6).await;
    let whole = pair.disk.content(&path);
    // The same disk as another process may find it in the middle of a write.
    for length in before..whole.len() {
        let disk = pair.disk.copy();
        disk.put(&path, whole[..length].to_vec());
        let follower = follow(&disk, &pair.clock).unwrap();
        assert_numbered(&read_all(&follower).await, 0);
        let ends = |d: crate::Description| d.partitions.iter().map(|p| p.end.0).sum::<u64>();
        assert_eq!(ends(follower.describe().await.unwrap()), 3);
        disk.put(&path, whole.clone());
        let later = follow(&disk, &pair.clock).unwrap();
        assert_eq!(ends(later.describe().await.unwrap()), 6);
    }
}

#[tokio::test]
async fn a_follower_does_not_write() {
    let mut pair = Pair::new().await;
    pair.write(0..50).await;
    let before: Vec<_> = pair.disk.paths().iter().map(|p| pair.disk.content(p)).collect();
    let follower = follow(&pair.disk, &pair.clock).unwrap();
    assert!(matches!(follower.appender().await, Err(OpenError::Mismatch { .. })));
    assert!(follower.trim(from_start()).await.is_err());
    assert!(follower.release("reader", from_start()).await.is_err());
    assert!(follower.forget_reader("reader").await.is_err());
    follower.close().await;
    let after: Vec<_> = pair.disk.paths().iter().map(|p| pair.disk.content(p)).collect();
    assert!(before == after);
}

#[tokio::test]
async fn a_follower_is_told_when_the_writer_has_forgotten_its_place() {
    let mut pair = Pair::new().await;
    pair.write(0..10).await;
    let mut reader = pair.follower.reader(from_start()).await.unwrap();
    assert_numbered(&pair.read(&mut *reader, 5).await, 0);
    // So far behind that nothing of what it knows is left.
    pair.write(10..200).await;
    let ends: Vec<_> = pair.stream.journal.describe().await.unwrap().partitions;
    let before = (0..).map(Partition).zip(ends.iter().map(|p| p.end)).collect();
    pair.stream.journal.trim(before).await.unwrap();
    assert_eq!(pair.stream.journal.status().segments, 1);
    assert_numbered(&pair.read(&mut *reader, 5).await, 5);
    let described = pair.follower.describe().await.unwrap();
    assert_eq!(described.partitions, pair.stream.journal.describe().await.unwrap().partitions);
    let refused = reader.next(ALL).await;
    assert!(matches!(refused, Err(ReadError::OutOfRetention { .. })), "{refused:?}");
}

/// Asserts that the reader names the damage at that byte of the file.
async fn assert_damage_is_told(reader: &mut dyn Reader, path: &std::path::Path, byte: usize) {
    let refused = reader.next(ALL).await;
    let Err(ReadError::Corrupt { place, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(place, format!("{} byte {byte}", path.display()));
}

#[tokio::test]
async fn damage_is_told_once_a_segment_follows() {
    let mut pair = Pair::new().await;
    pair.write(0..3).await;
    let path = std::path::PathBuf::from("/sim/00000000000000000000.seg");
    let good = pair.disk.content(&path).len();
    pair.write(3..60).await;
    let damaged = pair.disk.copy();
    let mut content = pair.disk.content(&path);
    content[good + 10] ^= 1;
    damaged.put(&path, content.clone());
    // Found when it is read, since its index is whole.
    let follower = follow(&damaged, &pair.clock).unwrap();
    let mut reader = follower.reader(from_start()).await.unwrap();
    assert_numbered(&reader.next(ALL).await.unwrap(), 0);
    assert_damage_is_told(&mut *reader, &path, good).await;
}

#[tokio::test]
async fn damage_before_a_damaged_index_is_told_to_those_who_follow() {
    let mut pair = Pair::new().await;
    pair.write(0..3).await;
    let path = std::path::PathBuf::from("/sim/00000000000000000000.seg");
    let good = pair.disk.content(&path).len();
    pair.write(3..60).await;
    let damaged = pair.disk.copy();
    let mut content = pair.disk.content(&path);
    content.truncate(content.len() - 1);
    content[good + 10] ^= 1;
    damaged.put(&path, content);
    let follower = follow(&damaged, &pair.clock).unwrap();
    let mut reader = follower.reader(from_start()).await.unwrap();
    assert_damage_is_told(&mut *reader, &path, good).await;
}

#[tokio::test]
async fn damage_in_the_segment_that_is_followed_is_told_once_another_follows() {
    let mut pair = Pair::new().await;
    pair.write(0..3).await;
    let mut reader = pair.follower.reader(from_start()).await.unwrap();
    assert_numbered(&pair.read(&mut *reader, 3).await, 0);
    let path = std::path::PathBuf::from("/sim/00000000000000000000.seg");
    let good = pair.disk.content(&path).len();
    pair.write(3..60).await;
    let file = pair.disk.open_to_write(&path).unwrap();
    file.write_at(b"x", good as u64 + 10).unwrap();
    let refused = pair.follower.describe().await;
    let Err(ReadError::Corrupt { place, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(place, format!("{} byte {good}", path.display()));
}

#[tokio::test]
async fn there_has_to_be_a_stream() {
    let outcome = follow(&SimDisk::new(), &ManualClock::new(0));
    assert!(matches!(outcome, Err(OpenError::Io { .. })), "{outcome:?}");
}
