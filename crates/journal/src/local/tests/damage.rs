//! Damage: cut where nothing had been reported durable, refused by name everywhere else.

#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runtime::Random;

use super::sim_disk::SimDisk;
use super::{ALL, PARTITIONS, Stream, from_start, is_numbered, numbered, parts, sim_config};
use crate::local::block::Block;
use crate::local::disk::Disk;
use crate::local::frame::Packer;
use crate::local::{Compression, LocalConfig, LocalJournal, SyncPolicy};
use crate::{Append, Entry, Journal, OpenError, Partition, ReadError};

/// A reader that finds nothing and says nothing would go on for ever.
const READ_DEADLINE: Duration = Duration::from_secs(20);

/// One segment with frames of four records each, and where each frame begins.
struct OneSegment {
    disk: SimDisk,
    config: LocalConfig,
    path: PathBuf,
    /// Where each frame begins, and where the last one ends.
    frames: Vec<usize>,
}

/// Several sealed segments.
struct Segments {
    disk: SimDisk,
    config: LocalConfig,
    paths: Vec<PathBuf>,
    records: u64,
}

impl OneSegment {
    async fn new() -> Self {
        let disk = SimDisk::new();
        let config =
            LocalConfig { sync: SyncPolicy::EachBatch, segment_bytes: 1 << 20, ..sim_config() };
        let mut stream = Stream::open(&disk, &config).await;
        let path = PathBuf::from("/sim/00000000000000000000.seg");
        let mut frames = vec![disk.content(&path).len()];
        for frame in 0..6 {
            stream.append((0..4).map(|n| numbered(frame * 4 + n, 50)).collect()).await;
            stream.appender.flush().await.unwrap();
            frames.push(disk.content(&path).len());
        }
        drop(stream.appender);
        stream.journal.close().await;
        Self { disk, config, path, frames }
    }

    fn content(&self) -> Vec<u8> {
        self.disk.content(&self.path)
    }

    /// The same with another content of the segment.
    fn with(&self, content: Vec<u8>) -> SimDisk {
        let disk = self.disk.copy();
        disk.put(&self.path, content);
        disk
    }
}

impl Segments {
    async fn new() -> Self {
        let disk = SimDisk::new();
        let mut stream = Stream::open(&disk, &sim_config()).await;
        let records = 100;
        for number in 0..records {
            stream.append(vec![numbered(number, 200)]).await;
            // A frame each, so that segments always begin at the same records.
            stream.appender.flush().await.unwrap();
        }
        drop(stream.appender);
        stream.journal.close().await;
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "seg");
        let paths: Vec<_> = disk.paths().into_iter().filter(is_segment).collect();
        assert!(paths.len() > 4, "{paths:?}");
        Self { disk, config: sim_config(), paths, records }
    }

    fn flip(&self, path: &Path, byte: usize) -> SimDisk {
        let disk = self.disk.copy();
        let mut content = disk.content(path);
        content[byte] ^= 0x40;
        disk.put(path, content);
        disk
    }

    /// The same with other bytes where the last frame of the second segment is, which begins with
    /// the given record; its index stays as it is.
    fn with_last_frame(&self, change: impl FnOnce(&LocalJournal, u64) -> Vec<u8>) -> SimDisk {
        let disk = self.disk.copy();
        let journal = open(&disk, &self.config).unwrap();
        let (last_seq, footer) = {
            let catalogue = journal.log.catalogue.lock();
            let end = &catalogue.sealed()[1].end;
            (end.seq - 1, end.position as usize)
        };
        let mut content = disk.content(&self.paths[1]);
        let frame = content[..footer].windows(4).rposition(|window| window == b"KFFR").unwrap();
        content.splice(frame..footer, change(&journal, last_seq));
        drop(journal);
        disk.put(&self.paths[1], content);
        disk
    }
}

/// A frame with one record, whole.
fn frame(journal: &LocalJournal, seq: u64, record: &Append) -> Vec<u8> {
    let mut block = Block::new(seq, Arc::from([]), record.timestamp_ms, None);
    block.push(record);
    let mut out = Vec::new();
    Packer::new(Compression::Lz4, journal.log.salt).pack(&block, seq, &mut out);
    out
}

fn open(disk: &SimDisk, config: &LocalConfig) -> Result<LocalJournal, OpenError> {
    LocalJournal::open_on(Arc::new(disk.clone()), config, &parts(), None)
}

fn corrupt(outcome: Result<LocalJournal, OpenError>) -> (PathBuf, String) {
    match outcome {
        Err(OpenError::Corrupt { path, what }) => (path, what),
        Err(other) => panic!("{other:?}"),
        Ok(journal) => panic!("opened: {:?}", journal.open_report()),
    }
}

async fn read_until_error(journal: &LocalJournal) -> (Vec<Entry>, ReadError) {
    let mut reader = journal.reader(from_start()).await.unwrap();
    let mut entries = Vec::new();
    loop {
        let next = tokio::time::timeout(READ_DEADLINE, reader.next(ALL)).await;
        match next.expect("a reader says what it finds") {
            Ok(more) => entries.extend(more),
            Err(error) => return (entries, error),
        }
    }
}

/// Reads up to the damage in the second segment; what is said of it.
async fn damage_of_second(segments: &Segments, disk: &SimDisk) -> String {
    let journal = open(disk, &segments.config).unwrap();
    assert!(journal.open_report().rebuilt.is_empty(), "its index is whole");
    let (entries, error) = read_until_error(&journal).await;
    let ReadError::Corrupt { place, what } = &error else { panic!("{error:?}") };
    let path = segments.paths[1].to_str().unwrap();
    assert!(place.starts_with(path) && place.contains(" byte "), "{place}");
    assert!((0..).zip(&entries).all(|(number, entry)| is_numbered(entry, number)));
    what.clone()
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_to_the_last_whole_frame() {
    let one = OneSegment::new().await;
    let content = one.content();
    for length in one.frames[0]..content.len() {
        let mut stream = Stream::open(&one.with(content[..length].to_vec()), &one.config).await;
        let whole = one.frames.iter().rposition(|end| *end <= length).unwrap();
        let cut = stream.journal.open_report().cut.clone();
        let expected = length - one.frames[whole];
        assert_eq!(cut.as_ref().map_or(0, |cut| cut.bytes), expected as u64, "cut at {length}");
        assert!(cut.is_none_or(|cut| cut.at == one.frames[whole] as u64 && cut.path == one.path));
        let found = stream.check_all_numbered(|what| format!("cut at {length}: {what}")).await;
        assert_eq!(found, whole as u64 * 4);
    }
}

#[tokio::test]
async fn what_is_written_after_a_cut_is_kept() {
    let one = OneSegment::new().await;
    let mut content = one.content();
    content.truncate(one.frames[6] - 1);
    let disk = one.with(content);
    let mut stream = Stream::open(&disk, &one.config).await;
    stream.append((20..30).map(|n| numbered(n, 50)).collect()).await;
    let mut stream = stream.reopen(&disk).await;
    assert_eq!(stream.journal.open_report().cut, None);
    assert_eq!(stream.check_all_numbered(str::to_owned).await, 30);
}

#[tokio::test]
async fn garbage_after_the_last_frame_is_cut() {
    let one = OneSegment::new().await;
    let mut random = Random::from_seed(1);
    for length in [1, 3, 4, 67, 68, 69, 1000, 3_000_000] {
        for fill in [0, 0xff, b'K'] {
            let mut content = one.content();
            content.extend((0..length).map(|_| fill | random.below(2) as u8));
            let mut stream = Stream::open(&one.with(content), &one.config).await;
            let cut = stream.journal.open_report().cut.as_ref().map(|cut| cut.bytes);
            assert_eq!(cut, Some(length));
            assert_eq!(stream.check_all_numbered(str::to_owned).await, 24);
        }
    }
}

#[tokio::test]
async fn a_frame_that_was_written_before_is_not_read_again() {
    let one = OneSegment::new().await;
    for frame in 0..6 {
        let mut content = one.content();
        content.extend_from_within(one.frames[frame]..one.frames[frame + 1]);
        let mut stream = Stream::open(&one.with(content), &one.config).await;
        let cut = stream.journal.open_report().cut.as_ref().map(|cut| cut.at);
        assert_eq!(cut, Some(one.frames[6] as u64));
        assert_eq!(stream.check_all_numbered(str::to_owned).await, 24);
    }
}

#[tokio::test]
async fn a_segment_that_is_taken_away_while_it_is_read_is_an_error() {
    let segments = Segments::new().await;
    let journal = open(&segments.disk, &segments.config).unwrap();
    let mut reader = journal.reader(from_start()).await.unwrap();
    segments.disk.remove(&segments.paths[2]).unwrap();
    let error = loop {
        if let Err(error) = reader.next(ALL).await {
            break error;
        }
    };
    assert!(matches!(&error, ReadError::Failed(what) if what.contains("taken away")), "{error:?}");
}

#[tokio::test]
async fn any_flipped_bit_is_damage_unless_it_may_be_a_torn_tail() {
    let one = OneSegment::new().await;
    let content = one.content();
    for byte in 0..content.len() {
        let mut damaged = content.clone();
        damaged[byte] ^= 1 << (byte % 8);
        let outcome = open(&one.with(damaged), &one.config);
        let frame = one.frames.iter().rposition(|begin| *begin <= byte);
        // The last frame says that all before it was durable; of it, nothing says so.
        if frame == Some(5) {
            let mut stream = Stream {
                appender: outcome.as_ref().unwrap().appender().await.unwrap(),
                journal: outcome.unwrap(),
                config: one.config.clone(),
            };
            assert!(stream.journal.open_report().cut.is_some());
            assert_eq!(stream.check_all_numbered(str::to_owned).await, 20);
        } else {
            let (path, what) = corrupt(outcome);
            assert_eq!(path, one.path);
            let at = frame.map_or(0, |frame| one.frames[frame]);
            let version = (8..12).contains(&byte) && what.contains("version");
            assert!(version || what.starts_with(&format!("byte {at}: ")), "byte {byte}: {what}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_sealed_segment_is_an_error_that_names_file_and_byte() {
    let segments = Segments::new().await;
    let mut random = Random::from_seed(5);
    for path in &segments.paths[..segments.paths.len() - 1] {
        let frames = 100 + random.below(3500) as usize;
        let journal = open(&segments.flip(path, frames), &segments.config).unwrap();
        let (entries, error) = read_until_error(&journal).await;
        let ReadError::Corrupt { place, .. } = &error else { panic!("{error:?}") };
        assert!(place.starts_with(path.to_str().unwrap()) && place.contains(" byte "), "{place}");
        let base: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert!(entries.len() as u64 >= base, "everything before that segment is read");
        assert!((0..).zip(&entries).all(|(number, entry)| is_numbered(entry, number)));
    }
}

#[tokio::test]
async fn records_that_are_missing_before_a_whole_index_are_damage() {
    let segments = Segments::new().await;
    let disk = segments.with_last_frame(|_, _| Vec::new());
    let what = damage_of_second(&segments, &disk).await;
    assert!(what.contains("its index says"), "{what}");
    let journal = open(&disk, &segments.config).unwrap();
    let last = journal.log.catalogue.lock().sealed()[1].end.seq - 1;
    let lost = numbered(last, 0);
    let found = journal.offset_at_time(lost.partition, lost.timestamp_ms).await;
    let Err(ReadError::Corrupt { place, what }) = found else { panic!("{found:?}") };
    assert!(place.contains(" byte ") && what.contains("its index says"), "{place}: {what}");
}

#[tokio::test]
async fn records_beyond_those_of_a_whole_index_are_damage() {
    let segments = Segments::new().await;
    let disk = segments.with_last_frame(|journal, last| {
        let more = [last, last + 1].map(|seq| frame(journal, seq, &numbered(seq, 200)));
        more.concat()
    });
    let what = damage_of_second(&segments, &disk).await;
    assert!(what.contains("its index says"), "{what}");
}

#[tokio::test]
async fn records_of_other_partitions_than_a_whole_index_says_are_damage() {
    let segments = Segments::new().await;
    let disk = segments.with_last_frame(|journal, last| {
        let record = numbered(last, 200);
        let partition = Partition((record.partition.0 + 1) % PARTITIONS);
        frame(journal, last, &Append { partition, ..record })
    });
    let what = damage_of_second(&segments, &disk).await;
    assert!(what.contains("partition") && what.contains("its index says"), "{what}");
}

#[tokio::test]
async fn a_damaged_index_is_made_again() {
    let segments = Segments::new().await;
    for path in &segments.paths[..segments.paths.len() - 1] {
        let last = segments.disk.content(path).len() - 1;
        let disk = segments.flip(path, last);
        let mut stream = Stream::open(&disk, &segments.config).await;
        assert_eq!(stream.journal.open_report().rebuilt, std::slice::from_ref(path));
        assert_eq!(stream.check_all_numbered(str::to_owned).await, segments.records);
        assert_eq!(disk.content(path), segments.disk.content(path), "the same as before");
        let stream = stream.reopen(&disk).await;
        assert!(stream.journal.open_report().rebuilt.is_empty());
    }
}

#[tokio::test]
async fn damaged_marks_make_a_search_longer_and_not_wrong() {
    let segments = Segments::new().await;
    let path = &segments.paths[1];
    let footer = segments.disk.content(path).len() - 60;
    let journal = open(&segments.flip(path, footer), &segments.config).unwrap();
    assert!(journal.open_report().rebuilt.is_empty(), "it was not looked at");
    let base = journal.log.catalogue.lock().sealed()[1].segment.header.base_seq;
    for number in base..base + 5 {
        let record = numbered(number, 0);
        let offset = journal.offset_at_time(record.partition, record.timestamp_ms).await.unwrap();
        let mut reader = journal.reader(vec![(record.partition, offset)]).await.unwrap();
        assert!(is_numbered(&reader.next(ALL).await.unwrap()[0], number));
    }
}

#[tokio::test]
async fn a_missing_file_is_damage() {
    let segments = Segments::new().await;
    for path in &segments.paths {
        let left = segments.disk.copy();
        left.remove(path).unwrap();
        let is_first = path == &segments.paths[0];
        let is_last = Some(path) == segments.paths.last();
        match open(&left, &segments.config) {
            // The oldest may have been forgotten; the last may not have been made.
            Ok(journal) if is_first => {
                assert!(journal.describe().await.unwrap().partitions[0].start.0 > 0);
            }
            Ok(_) => assert!(is_last, "{path:?}"),
            outcome => {
                corrupt(outcome);
            }
        }
    }
    let left = segments.disk.copy();
    left.remove(Path::new("/sim/meta")).unwrap();
    assert_eq!(corrupt(open(&left, &segments.config)).0, Path::new("/sim/meta"));
    let left = segments.disk.copy();
    for path in &segments.paths {
        left.remove(path).unwrap();
    }
    corrupt(open(&left, &segments.config));
}

#[tokio::test]
async fn a_footer_does_not_vouch_for_frames_that_were_not_synced() {
    let segments = Segments::new().await;
    let left = segments.disk.copy();
    left.remove(segments.paths.last().unwrap()).unwrap();
    let sealed = &segments.paths[segments.paths.len() - 2];
    let mut content = left.content(sealed);
    // The last frame, as a power cut may lose it before the seal was synced.
    let frame = content.windows(4).rposition(|window| window == b"KFFR").unwrap();
    let footer = content.windows(8).rposition(|window| window == b"KFFOOTER").unwrap();
    content[frame..footer].fill(0);
    left.put(sealed, content);
    let mut stream = Stream::open(&left, &segments.config).await;
    let cut = stream.journal.open_report().cut.clone().unwrap();
    assert_eq!((&cut.path, cut.at), (sealed, frame as u64));
    let found = stream.check_all_numbered(str::to_owned).await;
    stream.append(vec![numbered(found, 200)]).await;
    let mut stream = stream.reopen(&left).await;
    assert_eq!(stream.check_all_numbered(str::to_owned).await, found + 1);
}

#[tokio::test]
async fn a_segment_of_another_stream_is_refused() {
    let (one, other) = (Segments::new().await, Segments::new().await);
    for path in &one.paths {
        let disk = one.disk.copy();
        disk.put(path, other.disk.content(path));
        let (at, what) = corrupt(open(&disk, &one.config));
        assert_eq!(
            (at.as_path(), what.contains("another stream")),
            (path.as_path(), true),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_segment_that_was_being_made_is_made_again() {
    let segments = Segments::new().await;
    let last = segments.paths.last().unwrap();
    let whole = segments.disk.content(last);
    let header = 48 + 8 * usize::from(PARTITIONS);
    for length in 0..header {
        let disk = segments.disk.copy();
        disk.put(last, whole[..length].to_vec());
        let mut stream = Stream::open(&disk, &segments.config).await;
        let found = stream.check_all_numbered(str::to_owned).await;
        stream.append((found..found + 5).map(|n| numbered(n, 10)).collect()).await;
        let mut stream = stream.reopen(&disk).await;
        assert_eq!(stream.check_all_numbered(str::to_owned).await, found + 5);
    }
}

#[tokio::test]
async fn other_properties_than_it_was_made_with_are_refused() {
    let segments = Segments::new().await;
    let renamed = LocalConfig { stream: "other".to_owned(), ..segments.config.clone() };
    let widened = LocalConfig { partitions: PARTITIONS + 1, ..segments.config.clone() };
    for config in [renamed, widened] {
        let outcome = open(&segments.disk, &config);
        assert!(matches!(outcome, Err(OpenError::Mismatch { .. })), "{outcome:?}");
    }
    let wrong = LocalConfig { partitions: 0, segment_bytes: 1, ..segments.config.clone() };
    let outcome = open(&segments.disk, &wrong);
    let Err(OpenError::Settings { what }) = outcome else { panic!("{outcome:?}") };
    assert!(what.contains("partition") && what.contains("segment_bytes"), "{what}");
}

#[tokio::test]
async fn opening_reads_little_of_sealed_segments() {
    let segments = Segments::new().await;
    let disk = segments.disk.copy();
    let journal = open(&disk, &segments.config).unwrap();
    let last = disk.content(segments.paths.last().unwrap()).len() as u64;
    let least = 200 * segments.paths.len() as u64 + 2 * last;
    assert!(disk.bytes_read() < least + 1000, "{} bytes were read", disk.bytes_read());
    assert_eq!(journal.status().segments, segments.paths.len());
}

#[tokio::test]
async fn any_bytes_as_a_segment_never_panic() {
    let one = OneSegment::new().await;
    let content = one.content();
    let header = one.frames[0];
    for seed in 0..400 {
        let mut random = Random::from_seed(seed);
        let mut fuzzed = match random.below(3) {
            // Anything; anything behind a header; a real one with pieces changed.
            0 => Vec::new(),
            1 => content[..header].to_vec(),
            _ => content.clone(),
        };
        for _ in 0..1 + random.below(6) {
            let at = random.below(fuzzed.len() as u64 + 1) as usize;
            let piece = piece(&mut random, &content);
            match random.below(2) {
                0 => drop(fuzzed.splice(at..at, piece)),
                _ => drop(fuzzed.splice(at..(at + piece.len()).min(fuzzed.len()), piece)),
            }
        }
        let disk = one.with(fuzzed);
        if let Ok(journal) = open(&disk, &one.config) {
            let end: u64 =
                journal.describe().await.unwrap().partitions.iter().map(|p| p.end.0).sum();
            drop(journal);
            assert!(end <= 24, "seed {seed}: {end} records");
        }
    }
}

/// Zeros, noise, or a part of a real segment.
fn piece(random: &mut Random, content: &[u8]) -> Vec<u8> {
    let length = 1 + random.below(300) as usize;
    match random.below(3) {
        0 => vec![0; length],
        1 => (0..length).map(|_| random.below(256) as u8).collect(),
        _ => {
            let from = random.below((content.len() - length) as u64) as usize;
            content[from..from + length].to_vec()
        }
    }
}
