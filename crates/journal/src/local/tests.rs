//! The embedded journal: the contract on several settings, then what only it promises.

mod conformance;
mod damage;
mod faults;
mod following;
mod golden;
mod kill;
mod power;
mod retention;
mod running;
mod sim_disk;

use std::sync::Arc;

use bytes::Bytes;
use runtime::{Random, SystemClock};

use self::sim_disk::SimDisk;
use super::*;
use crate::{Append, Appender, Entry, Journal, Offset, Partition, ReadLimit, Reader};

/// Reads as much as there is.
const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// How many partitions the streams of these tests have.
const PARTITIONS: u16 = 3;

/// A journal with its appender.
struct Stream {
    journal: LocalJournal,
    appender: Box<dyn Appender>,
    config: LocalConfig,
}

fn parts() -> LocalParts {
    LocalParts { clock: Arc::new(SystemClock::new()) }
}

/// Small segments in a directory that is not on the real disk.
fn sim_config() -> LocalConfig {
    LocalConfig { segment_bytes: 4096, ..LocalConfig::new("/sim", "stream", PARTITIONS) }
}

/// The `number`th record of a stream: its partition, time and content follow from that.
fn numbered(number: u64, size: u64) -> Append {
    let mut random = Random::from_seed(number);
    let noise = std::iter::repeat_with(|| random.next_u64().to_le_bytes()).flatten();
    let size = usize::try_from(size).unwrap();
    let payload: Vec<u8> = number.to_le_bytes().into_iter().chain(noise.take(size)).collect();
    Append {
        partition: partition_of(number),
        key: Bytes::new(),
        timestamp_ms: i64::try_from(number).unwrap(),
        kind: "test",
        db: 0,
        payload: payload.into(),
    }
}

fn partition_of(number: u64) -> Partition {
    Partition(u16::try_from(number * 7 / 5 % u64::from(PARTITIONS)).unwrap())
}

/// Whether the entry is the `number`th record.
fn is_numbered(entry: &Entry, number: u64) -> bool {
    let size = u64::try_from(entry.payload.len()).unwrap().saturating_sub(8);
    let record = numbered(number, size);
    entry.partition == record.partition
        && entry.timestamp_ms == record.timestamp_ms
        && entry.payload == record.payload
}

/// All partitions from offset 0.
fn from_start() -> Vec<(Partition, Offset)> {
    (0..PARTITIONS).map(|partition| (Partition(partition), Offset(0))).collect()
}

/// Reads everything that is there, from offset 0 on.
async fn read_all(journal: &LocalJournal) -> Vec<Entry> {
    let end: u64 = journal.describe().await.unwrap().partitions.iter().map(|p| p.end.0).sum();
    let mut reader = journal.reader(from_start()).await.unwrap();
    read(&mut *reader, usize::try_from(end).unwrap()).await
}

/// Reads so many records.
async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let limit = ReadLimit { records: count - entries.len(), ..ALL };
        entries.extend(reader.next(limit).await.unwrap());
    }
    entries
}

// === impl Stream ===

impl Stream {
    async fn open(disk: &SimDisk, config: &LocalConfig) -> Self {
        let journal =
            LocalJournal::open_on(Arc::new(disk.clone()), config, &parts(), None).unwrap();
        let appender = journal.appender().await.unwrap();
        Self { journal, appender, config: config.clone() }
    }

    async fn reopen(self, disk: &SimDisk) -> Self {
        let Self { journal, appender, config } = self;
        drop(appender);
        journal.close().await;
        Self::open(disk, &config).await
    }

    async fn append(&mut self, mut records: Vec<Append>) {
        self.appender.append(&mut records).await.unwrap();
    }

    /// Reads everything and checks that it is the numbered records from 0 on; how many.
    async fn check_all_numbered(&mut self, context: impl Fn(&str) -> String) -> u64 {
        let entries = read_all(&self.journal).await;
        for (number, entry) in (0..).zip(&entries) {
            assert!(
                is_numbered(entry, number),
                "{}",
                context(&format!("record {number}: {entry:?}"))
            );
        }
        entries.len() as u64
    }
}
