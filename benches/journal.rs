//! What the log costs: appending in batches by backend and by how often the disk must confirm, and reading, from
//! memory where the newest records are kept and from files.
//!
//! An iteration of an append ends when everything in it is durable. Throughput is records of 170 bytes a second.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use journal::local::{Compression, LocalConfig, LocalJournal, LocalParts, SyncPolicy};
use journal::{Append, Appender, Journal, MemoryJournal, Offset, Partition, ReadLimit};
use runtime::SystemClock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

mod settings;

/// Records of one batch, as capture appends them.
const BATCH: usize = 512;

/// Batches that one iteration appends before it waits for the disk.
const BATCHES: usize = 32;

const RECORDS: usize = BATCH * BATCHES;

/// A SET of a 16-byte key and a 100-byte value as an event.
const RECORD_BYTES: usize = 170;

/// Words of 8 bytes in a record that do not compress.
const NOISE_WORDS: usize = 8;

const PARTITIONS: u16 = 16;

/// Keeps the disk of whoever runs this free: older files go.
const RETENTION_BYTES: u64 = 256 << 20;

/// Every record of an iteration, and room for what memory adds to each.
const CACHE_BYTES: usize = 64 << 20;

const LIMIT: ReadLimit = ReadLimit { records: 1024, bytes: 4 << 20 };

const POLICIES: [(&str, SyncPolicy); 4] = [
    ("never synced", SyncPolicy::Os),
    ("synced every 100 ms", SyncPolicy::Interval(Duration::from_millis(100))),
    ("synced every 10 ms", SyncPolicy::Interval(Duration::from_millis(10))),
    ("synced after each write", SyncPolicy::EachBatch),
];

fn main() {
    let mut criterion = settings::criterion();
    let runtime = Runtime::new().expect("threads");
    append(&mut criterion, &runtime);
    read(&mut criterion, &runtime);
    criterion.final_summary();
}

fn append(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("journal/append");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("memory", |bencher| {
        bencher.iter_batched(
            || MemoryJournal::new("bench", PARTITIONS),
            |journal| runtime.block_on(append_all(&journal)),
            criterion::BatchSize::PerIteration,
        );
    });
    for (name, sync) in POLICIES {
        for (suffix, compression) in [("", Compression::None), (", lz4", Compression::Lz4)] {
            let dir = TempDir::new().expect("a directory");
            let config = LocalConfig { sync, compression, ..config(dir.path(), 0) };
            let journal = runtime.block_on(open(config));
            group.bench_function(BenchmarkId::new("local", format!("{name}{suffix}")), |bencher| {
                bencher.iter(|| runtime.block_on(append_all(&journal)));
            });
            runtime.block_on(journal.close());
        }
    }
    group.finish();
}

fn read(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("journal/read");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for (name, cache_bytes, compression) in [
        ("newest, from memory", CACHE_BYTES, Compression::Lz4),
        ("from files", 0, Compression::None),
        ("from files, lz4", 0, Compression::Lz4),
    ] {
        let dir = TempDir::new().expect("a directory");
        let config = LocalConfig { compression, ..config(dir.path(), cache_bytes) };
        let journal = runtime.block_on(open(config));
        runtime.block_on(append_all(&journal));
        assert_eq!(runtime.block_on(read_all(&journal)), RECORDS);
        group.bench_function(BenchmarkId::new("local", name), |bencher| {
            bencher.iter(|| runtime.block_on(read_all(&journal)));
        });
        runtime.block_on(journal.close());
    }
    group.finish();
}

fn config(dir: &Path, tail_cache_bytes: usize) -> LocalConfig {
    LocalConfig {
        retention_bytes: Some(RETENTION_BYTES),
        tail_cache_bytes,
        ..LocalConfig::new(dir.join("stream"), "bench", PARTITIONS)
    }
}

async fn open(config: LocalConfig) -> LocalJournal {
    let parts = LocalParts { clock: Arc::new(SystemClock::new()) };
    LocalJournal::open(config, parts).await.expect("a new journal")
}

/// Appends the records of one iteration and waits until they are durable.
async fn append_all(journal: &dyn Journal) {
    let mut appender: Box<dyn Appender> = journal.appender().await.expect("the only appender");
    let mut records = Vec::with_capacity(BATCH);
    for batch in 0..BATCHES {
        records.extend((0..BATCH).map(|at| record(batch * BATCH + at)));
        appender.append(&mut records).await.expect("room");
    }
    black_box(appender.flush().await.expect("a disk that works"));
}

/// Reads every record, and tells how many there were.
async fn read_all(journal: &dyn Journal) -> usize {
    let from = (0..PARTITIONS).map(|number| (Partition(number), Offset(0))).collect();
    let mut reader = journal.reader(from).await.expect("everything is there");
    let mut read = 0;
    while read < RECORDS {
        let entries = reader.next(LIMIT).await.expect("records");
        read += entries.len();
        black_box(entries);
    }
    read
}

/// A record that compresses about as well as events of small values do: a part of it is noise.
fn record(number: usize) -> Append {
    let partition =
        u16::try_from(number % usize::from(PARTITIONS)).expect("below the number of partitions");
    let mut payload = [b'v'; RECORD_BYTES];
    let mut noise = number as u64;
    for (words, _) in payload.chunks_exact_mut(8).zip(0..NOISE_WORDS) {
        // A step of splitmix64.
        noise = noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (noise ^ (noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        words.copy_from_slice(&mixed.to_be_bytes());
    }
    Append {
        partition: Partition(partition),
        key: Bytes::from_static(b"key:000000000042"),
        timestamp_ms: 1_750_000_000_000,
        kind: "command",
        db: 0,
        payload: Bytes::copy_from_slice(&payload),
    }
}
