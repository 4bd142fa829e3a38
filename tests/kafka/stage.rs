//! What the tests share: streams on a broker, records, reading with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::{Append, Appender, Entry, Journal, Offset, Partition, ReadLimit, Reader};
use runtime::SystemClock;
use testkit::kafka::Broker;

/// A stream of a name that no other test has, on the broker that they share.
pub(crate) fn shared(partitions: u16) -> KafkaConfig {
    let broker = Broker::shared().expect("a broker runs: scripts/kafka gets it");
    on(&broker.bootstrap(), partitions)
}

/// A stream of a name that no other test of this process has. Whatever the records' times are, they stay.
pub(crate) fn on(brokers: &str, partitions: u16) -> KafkaConfig {
    static STREAMS: AtomicU64 = AtomicU64::new(0);
    let number = STREAMS.fetch_add(1, Ordering::Relaxed);
    let stream = format!("test-{}-{number}", std::process::id());
    let retention_ms = Some(-1);
    KafkaConfig { retention_ms, linger_ms: 1, ..KafkaConfig::new(brokers, stream, partitions) }
}

/// Opens a stream as a process would.
pub(crate) async fn open(config: &KafkaConfig) -> KafkaJournal {
    KafkaJournal::open(config.clone(), Arc::new(SystemClock::new())).await.expect("it opens")
}

/// Longer than anything takes; reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for `future`, and panics with `what` if it takes too long.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let outcome = tokio::time::timeout(LIMIT, future).await;
    assert!(outcome.is_ok(), "waited {LIMIT:?} in vain until {what}");
    outcome.expect("asserted above")
}

/// A record of this text.
pub(crate) fn record(partition: u16, text: impl Into<String>) -> Append {
    Append {
        partition: Partition(partition),
        key: Bytes::from_static(b"key"),
        timestamp_ms: 1_700_000_000_000,
        kind: "test",
        db: 0,
        payload: text.into().into(),
    }
}

/// The writer of a stream that has none.
pub(crate) async fn appender(journal: &KafkaJournal) -> Box<dyn Appender> {
    within("it becomes the writer", journal.appender()).await.expect("nobody else writes")
}

/// Appends until it is durable.
pub(crate) async fn append(appender: &mut dyn Appender, mut records: Vec<Append>) {
    within("it is accepted", appender.append(&mut records)).await.expect("it is accepted");
    within("it is durable", appender.flush()).await.expect("it is durable");
}

/// The first records of a partition.
pub(crate) async fn read(journal: &KafkaJournal, partition: u16, count: usize) -> Vec<Entry> {
    let from = vec![(Partition(partition), Offset(0))];
    let mut reader = within("it reads", journal.reader(from)).await.expect("it can be read");
    take(&mut *reader, count).await
}

/// The next records of a reader.
pub(crate) async fn take(reader: &mut dyn Reader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let limit = ReadLimit { records: count - entries.len(), bytes: usize::MAX };
        let what = format!("record {} of {count} comes", entries.len() + 1);
        entries.extend(within(&what, reader.next(limit)).await.expect("it can be read"));
    }
    entries
}

pub(crate) fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.payload).into_owned()).collect()
}

/// The ends of all partitions.
pub(crate) async fn end(journal: &KafkaJournal) -> Vec<Offset> {
    let described = within("it describes", journal.describe()).await.expect("it describes");
    described.partitions.iter().map(|range| range.end).collect()
}
