//! Gives a client its brokers back where it has lost all of them.
//!
//! Guarantees: a client that nothing is heard from for long is told again of the brokers that it began with, at most
//! once in [`FIRST_AFTER`], and in [`LAST_AFTER`] while that does not help. To one that still knows them it does nothing.
//!
//! The library forgets brokers that are not in the last answer about them, and for a moment there may be none, as when a
//! controller has heard from no broker for long. It then begins anew with those of its settings, unless its own handling
//! of that very answer cancels this: from then on it asks nobody any more, and stays so.

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_brokers_add;
use rdkafka::client::Client;

use super::config::KafkaConfig;

/// After how much silence something is done about it for the first time: longer than a leader takes to move.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// And at last: the library keeps what it is told each time.
const LAST_AFTER: Duration = Duration::from_secs(60);
/// How long an answer is waited for when nothing may just have happened.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// One client's.
#[derive(Debug)]
pub(super) struct Lifeline {
    brokers: CString,
    silent_ms: AtomicU64,
    after_ms: AtomicU64,
}

// === impl Lifeline ===

impl Lifeline {
    pub(super) fn new(config: &KafkaConfig) -> Self {
        Self {
            brokers: CString::new(config.brokers.as_str()).unwrap_or_default(),
            silent_ms: AtomicU64::new(0),
            after_ms: AtomicU64::new(millis(FIRST_AFTER)),
        }
    }

    /// A client to which nothing may just have happened was silent for so long again. Blocks for at most
    /// [`ANSWER_LIMIT`], and seldom.
    pub(super) fn idle<C: ClientContext>(&self, client: &Client<C>, topic: &str, time: Duration) {
        if !self.is_over(time) {
            return;
        }
        let told = client.fetch_metadata(Some(topic), ANSWER_LIMIT);
        if told.is_ok_and(|told| !told.brokers().is_empty()) {
            self.heard();
        } else {
            self.throw(client);
        }
    }

    /// A client from which something has to come was silent for so long again. Does not block.
    pub(super) fn overdue<C: ClientContext>(&self, client: &Client<C>, time: Duration) {
        if self.is_over(time) {
            self.throw(client);
        }
    }

    /// Something has come.
    pub(super) fn heard(&self) {
        self.silent_ms.store(0, Ordering::Relaxed);
        self.after_ms.store(millis(FIRST_AFTER), Ordering::Relaxed);
    }

    /// Adds to the silence; whether it has lasted for so long that something is to be done, after which it begins anew.
    fn is_over(&self, time: Duration) -> bool {
        let silent_ms = self.silent_ms.fetch_add(millis(time), Ordering::Relaxed) + millis(time);
        let is_over = silent_ms >= self.after_ms.load(Ordering::Relaxed);
        if is_over {
            self.silent_ms.store(0, Ordering::Relaxed);
        }
        is_over
    }

    fn throw<C: ClientContext>(&self, client: &Client<C>) {
        let after_ms = self.after_ms.load(Ordering::Relaxed) * 2;
        self.after_ms.store(after_ms.min(millis(LAST_AFTER)), Ordering::Relaxed);
        let brokers = self.brokers.as_ptr();
        // SAFETY: the client lives as long as its reference, the text as long as `self`, and is copied. The library takes
        // it on any thread.
        #[expect(unsafe_code, reason = "the library can be told of brokers in no other way")]
        let count = unsafe { rd_kafka_brokers_add(client.native_ptr(), brokers) };
        tracing::debug!(count, "a client that hears nothing is told of its brokers again");
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::*;

    const TOPIC: &str = "shop";
    const PATIENCE: Duration = Duration::from_secs(30);

    fn cluster() -> MockCluster<'static, DefaultProducerContext> {
        let cluster = MockCluster::new(3).unwrap();
        cluster.create_topic(TOPIC, 4, 3).unwrap();
        cluster
    }

    /// As one that has lost all of them.
    fn without_brokers() -> BaseConsumer {
        ClientConfig::new().create().unwrap()
    }

    fn lifeline_to(brokers: &str) -> Lifeline {
        Lifeline::new(&KafkaConfig::new(brokers, TOPIC, 4))
    }

    fn answers(client: &BaseConsumer, limit: Duration) -> bool {
        client.fetch_metadata(Some(TOPIC), limit).is_ok_and(|told| told.brokers().len() == 3)
    }

    #[test]
    fn a_client_that_has_lost_its_brokers_gets_them_back_after_a_while() {
        let cluster = cluster();
        let lifeline = lifeline_to(&cluster.bootstrap_servers());
        let (idle, waiting) = (without_brokers(), without_brokers());
        lifeline.idle(idle.client(), TOPIC, FIRST_AFTER - Duration::from_millis(1));
        assert!(!answers(&idle, Duration::from_millis(200)), "nothing was done yet");
        lifeline.idle(idle.client(), TOPIC, Duration::from_millis(1));
        assert!(answers(&idle, PATIENCE));

        let lifeline = lifeline_to(&cluster.bootstrap_servers());
        assert!(!answers(&waiting, Duration::from_millis(200)));
        lifeline.overdue(waiting.client(), FIRST_AFTER);
        assert!(answers(&waiting, PATIENCE));
    }

    #[test]
    fn while_nobody_answers_it_is_done_ever_more_seldom_and_soon_again_after_an_answer() {
        let lifeline = lifeline_to("127.0.0.1:1");
        let client = without_brokers();
        let mut steps = Vec::new();
        for _ in 0..6 {
            steps.push(lifeline.after_ms.load(Ordering::Relaxed) / 1_000);
            lifeline.overdue(client.client(), LAST_AFTER);
        }
        assert_eq!(steps, [5, 10, 20, 40, 60, 60]);
        lifeline.heard();
        assert!(!lifeline.is_over(FIRST_AFTER - Duration::from_millis(1)));
        assert!(lifeline.is_over(Duration::from_millis(1)));
    }

    #[test]
    fn a_client_that_is_answered_is_left_alone() {
        let cluster = cluster();
        let brokers = cluster.bootstrap_servers();
        let lifeline = lifeline_to("127.0.0.1:1");
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        assert!(answers(&client, PATIENCE));
        for _ in 0..3 {
            lifeline.idle(client.client(), TOPIC, FIRST_AFTER);
        }
        assert_eq!(lifeline.after_ms.load(Ordering::Relaxed), millis(FIRST_AFTER));
    }
}
