//! What the tests share: streams on a broker, records, reading with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::{Append, Appender, Entry, Journal, Offset, Partition, ReadLimit, Reader};
use runtime::{Class, Classified, SystemClock};
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

/// Opens a stream as a process would that is started again while brokers cannot be reached.
pub(crate) async fn open(config: &KafkaConfig) -> KafkaJournal {
    let opening = || KafkaJournal::open(config.clone(), Arc::new(SystemClock::new()));
    within("it opens", until_it_passes(opening)).await.expect("it opens")
}

/// Longer than anything takes; reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(120);
/// How often a time is taken: the machine may be slow once.
const TRIES: usize = 3;

/// Waits for `future`, and panics with `what` if it takes too long.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let outcome = tokio::time::timeout(LIMIT, future).await;
    assert!(outcome.is_ok(), "waited {LIMIT:?} in vain until {what}");
    outcome.expect("asserted above")
}

/// Does something again as long as it fails for a reason that passes by itself, as everybody does who uses a journal.
async fn until_it_passes<T, E: Classified, F: Future<Output = Result<T, E>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    loop {
        match attempt().await {
            Err(error) if error.class() == Class::Retry => tokio::task::yield_now().await,
            outcome => return outcome,
        }
    }
}

/// Fails unless something takes less than `limit` in one of some tries, each of which tells how long it took.
pub(crate) async fn takes_less_than(limit: Duration, mut attempt: impl AsyncFnMut() -> Duration) {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        took.push(attempt().await);
        if took.last().is_some_and(|took| *took < limit) {
            return;
        }
    }
    assert!(took.is_empty(), "it took {took:?}, never less than {limit:?}");
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
    let opening = || journal.reader(from.clone());
    let reader = within("it reads", until_it_passes(opening)).await;
    let mut reader = reader.expect("it can be read");
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
    let describing = || journal.describe();
    let described = within("it describes", until_it_passes(describing)).await;
    let described = described.expect("it describes");
    described.partitions.iter().map(|range| range.end).collect()
}
