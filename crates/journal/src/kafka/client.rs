//! What all clients of the library share: what becomes of its log, which errors pass, its threads.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::{ClientContext, TopicPartitionList};

use super::config::KafkaConfig;
use super::lifeline::Lifeline;
use crate::OpenError;

/// How long an answer about topics is waited for, where it only speeds something up.
const HURRY_LIMIT: Duration = Duration::from_millis(20);
/// The same before a consumer begins, which can begin without.
const LEADER_LIMIT: Duration = Duration::from_millis(500);

/// A client's context that keeps the last trouble for messages, and logs it where details are asked for.
#[derive(Clone, Debug)]
pub(super) struct Quiet {
    trouble: Arc<Mutex<Option<String>>>,
    refusal: Arc<Mutex<Option<String>>>,
    lifeline: Arc<Lifeline>,
}

// === impl Quiet ===

impl Quiet {
    pub(super) fn new(config: &KafkaConfig) -> Self {
        let lifeline = Arc::new(Lifeline::new(config));
        Self { trouble: Arc::default(), refusal: Arc::default(), lifeline }
    }

    /// What keeps the client from losing its brokers.
    pub(super) fn lifeline(&self) -> &Lifeline {
        &self.lifeline
    }

    /// What went wrong last.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// It has passed.
    pub(super) fn forget_trouble(&self) {
        *self.trouble.lock() = None;
    }

    /// What a broker has said that does not let the client in: another try hears the same.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().clone()
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The library says it hundreds of times for each broker that it cannot reach.
        if !is_all_brokers_down(&error) {
            tracing::debug!(%error, reason, "kafka client");
        }
        keep_trouble(&mut self.trouble.lock(), &error, reason);
        if is_refusal(&error, reason) {
            *self.refusal.lock() = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Quiet {}

/// The library tells of every failed try; what matters of that is told by us, once.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(facility, "{message}");
        }
        _ => tracing::debug!(facility, "{message}"),
    }
}

/// Keeps what went wrong last. That all brokers are away follows from something that tells more.
pub(super) fn keep_trouble(trouble: &mut Option<String>, error: &KafkaError, reason: &str) {
    if !is_all_brokers_down(error) || trouble.is_none() {
        *trouble = Some(reason.to_owned());
    }
}

fn is_all_brokers_down(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown)
}

/// Whether a password, or a certificate, is what was refused. A handshake may also fail since a broker ends.
fn is_refusal(error: &KafkaError, reason: &str) -> bool {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::Authentication) => true,
        Some(RDKafkaErrorCode::SSL) => reason.contains("certificate"),
        _ => false,
    }
}

/// Whether the library goes on trying after this, and may succeed.
pub(super) fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let lasts = matches!(
        error.rdkafka_error_code(),
        Some(
            Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::Fatal
                | Code::OffsetOutOfRange
                | Code::AutoOffsetReset
        )
    );
    !lasts && !matches!(error, KafkaError::MessageConsumptionFatal(_))
}

/// Has an idempotent producer that was just made ask for its number now: it does so whenever it hears about topics and
/// knows a broker that answers. Without, it looks once, which is too early, and once more half a second later.
pub(super) fn hurry<C: ProducerContext>(producer: &BaseProducer<C>, topic: &str) {
    // What the answer says, and whether there is one, is learnt with the first record.
    drop(producer.client().fetch_metadata(Some(topic), HURRY_LIMIT));
}

/// Has a consumer read from these places of a topic. Blocks for a round trip: without knowing who leads a partition the
/// library looks again only half a second later.
pub(super) fn assign<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    places: &TopicPartitionList,
) -> KafkaResult<()> {
    // What the answer says, and whether there is one, is learnt with the first record.
    drop(consumer.fetch_metadata(Some(topic), LEADER_LIMIT));
    consumer.assign(places)
}

/// A consumer that may have nothing to hear has heard nothing for so long again.
pub(super) fn idle(consumer: &BaseConsumer<Quiet>, topic: &str, time: Duration) {
    consumer.context().lifeline().idle(consumer.client(), topic, time);
}

/// Starts a named thread that nobody waits for.
pub(super) fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|error| OpenError::Settings {
        what: format!("the system gives no thread for {name}: {error}"),
    })
}

/// Lets a client go on a thread of its own: closing one may wait for brokers, which no task should.
pub(super) fn drop_aside(client: impl Send + 'static) {
    // Without a thread it is dropped here, which is late rather than wrong.
    thread("kafka-close", move || drop(client)).unwrap_or_else(|error| tracing::debug!(%error));
}
