//! Writes notes about a stream, and tells when each is written.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use serde::Serialize;
use tokio::sync::oneshot;

use super::client::{hurry, keep_trouble};
use super::config::KafkaConfig;
use super::deliveries::is_purged;
use super::lifeline::Lifeline;
use super::record::place_of;
use super::rights::{Asked, settings_error};
use super::settings::{self, Role};
use crate::OpenError;

/// What became of a note: its offset.
pub(super) type Written = oneshot::Receiver<Result<u64, KafkaError>>;

/// The producer of notes. Whoever has it has to poll it.
pub(super) struct Notary {
    producer: BaseProducer<Receipts>,
    topic: String,
    place: String,
}

/// Its context: who waits for which note.
struct Receipts {
    waiting: Mutex<Waiting>,
    lifeline: Lifeline,
}

#[derive(Default)]
struct Waiting {
    next: usize,
    by_number: BTreeMap<usize, oneshot::Sender<Result<u64, KafkaError>>>,
    confirmed: u64,
    trouble: Option<String>,
}

// === impl Notary ===

impl Notary {
    pub(super) fn new(config: &KafkaConfig) -> Result<Self, OpenError> {
        let receipts = Receipts { waiting: Mutex::default(), lifeline: Lifeline::new(config) };
        let made = settings::of(Role::Notes, config).create_with_context(receipts);
        let producer = made.map_err(|error| settings_error(&error))?;
        Ok(Self { producer, topic: config.meta_topic(), place: config.place() })
    }

    /// One that writes to another topic of the stream.
    pub(super) fn to(config: &KafkaConfig, topic: String) -> Result<Self, OpenError> {
        Ok(Self { topic, ..Self::new(config)? })
    }

    /// Hands a note over.
    pub(super) fn write(&self, key: &str, note: &impl Serialize) -> Result<Written, OpenError> {
        let value = serde_json::to_vec(note).expect("notes are plain data");
        self.send(key, &value)
    }

    fn send(&self, key: &str, value: &[u8]) -> Result<Written, OpenError> {
        let (sender, written) = oneshot::channel();
        let context = self.producer.context();
        let number = {
            let mut waiting = context.waiting.lock();
            waiting.next += 1;
            let number = waiting.next;
            waiting.by_number.insert(number, sender);
            number
        };
        let record = BaseRecord::with_opaque_to(&self.topic, number).partition(0);
        self.producer.send(record.key(key).payload(value)).map_err(|(error, _)| {
            context.waiting.lock().by_number.remove(&number);
            self.refused(&error)
        })?;
        Ok(written)
    }

    /// Hands a note over and waits, polling, until it is written.
    pub(super) fn write_and_wait(
        &self,
        key: &str,
        note: &impl Serialize,
        polls: usize,
    ) -> Result<u64, OpenError> {
        let value = serde_json::to_vec(note).expect("notes are plain data");
        self.send_and_wait(key, &value, polls)
    }

    /// The same with what is encoded already.
    pub(super) fn send_and_wait(
        &self,
        key: &str,
        value: &[u8],
        mut polls: usize,
    ) -> Result<u64, OpenError> {
        const STEP: Duration = Duration::from_millis(50);
        let mut written = self.send(key, value)?;
        loop {
            self.hurry();
            self.poll(STEP);
            match written.try_recv() {
                Ok(outcome) => return outcome.map_err(|error| self.refused(&error)),
                Err(_) => {
                    if let Some(fatal) = self.fatal() {
                        return Err(fatal);
                    }
                    self.overdue(STEP);
                    polls = polls.checked_sub(1).ok_or_else(|| self.unwritten())?;
                }
            }
        }
    }

    /// Serves what the brokers answered, for so long.
    pub(super) fn poll(&self, time: Duration) {
        self.producer.poll(time);
    }

    /// Does what it can for the first note to be written soon.
    pub(super) fn hurry(&self) {
        hurry(&self.producer, &self.topic);
    }

    /// What is under way was not confirmed for so long again.
    pub(super) fn overdue(&self, time: Duration) {
        self.producer.context().lifeline.overdue(self.producer.client(), time);
    }

    /// Notes that are not written yet.
    pub(super) fn under_way(&self) -> bool {
        self.producer.in_flight_count() > 0
    }

    /// How many have been written.
    pub(super) fn confirmed(&self) -> u64 {
        self.producer.context().waiting.lock().confirmed
    }

    /// Why no note will ever be written.
    pub(super) fn fatal(&self) -> Option<OpenError> {
        let end = self.producer.client().fatal_error()?;
        Some(Asked::Write(&self.topic).open_end(end, &self.place))
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.producer.context().waiting.lock().trouble.clone()
    }

    /// What a refusal means; where the producer has ended, that.
    pub(super) fn refused(&self, error: &KafkaError) -> OpenError {
        if is_purged(error)
            && let Some(fatal) = self.fatal()
        {
            return fatal;
        }
        Asked::Write(&self.topic).open_error(error, &self.place)
    }

    fn unwritten(&self) -> OpenError {
        let why = self.trouble().unwrap_or_else(|| "no broker confirms a note".to_owned());
        OpenError::Unreachable { place: self.place.clone(), why }
    }
}

// === impl Receipts ===

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer of notes");
        keep_trouble(&mut self.waiting.lock().trouble, &error, reason);
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let outcome = match result {
            Ok(message) => {
                self.lifeline.heard();
                Ok(place_of(message).1)
            }
            Err((error, _)) => Err(error.clone()),
        };
        let mut waiting = self.waiting.lock();
        waiting.confirmed += u64::from(outcome.is_ok());
        if let Some(sender) = waiting.by_number.remove(&number) {
            // Nobody waits for a sign of life.
            sender.send(outcome).ok();
        }
    }
}
