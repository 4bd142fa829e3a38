//! What the tests share: streams on a broker, records, reading with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::kafka::{KafkaConfig, KafkaJournal};
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
