//! What becomes of records that were handed to the producer.
//!
//! Guarantees: a receipt is durable when every record up to it is confirmed; the first record that is refused for
//! good ends the writer, and the watch of receipts closes. Runs on the thread that polls the producer.

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::{Notify, watch};

use super::client::keep_trouble;
use super::record::place_of;
use super::rights::Asked;
use super::watermark::Watermark;
use crate::{AppendError, Receipt};

/// The context of the producer of records.
pub(super) struct Deliveries {
    topic: String,
    place: String,
    /// The first so many records are fences, one for each partition.
    fences: u64,
    state: Mutex<State>,
    /// Something has been confirmed, or everything is over.
    pub(super) moved: Notify,
}

struct State {
    watermark: Watermark,
    /// By partition, where the fence is.
    fences: Vec<Option<u64>>,
    /// `None` once it has failed.
    durable: Option<watch::Sender<Receipt>>,
    failed: Option<AppendError>,
    trouble: Option<String>,
}

// === impl Deliveries ===

impl Deliveries {
    pub(super) fn new(topic: &str, place: &str, partitions: u16) -> Self {
        let state = State {
            watermark: Watermark::default(),
            fences: vec![None; usize::from(partitions)],
            durable: Some(watch::Sender::new(Receipt(0))),
            failed: None,
            trouble: None,
        };
        Self {
            topic: topic.to_owned(),
            place: place.to_owned(),
            fences: u64::from(partitions),
            state: Mutex::new(state),
            moved: Notify::new(),
        }
    }

    /// Of a log of one partition without a lease.
    pub(super) fn without_fences(topic: &str, place: &str) -> Self {
        Self { fences: 0, ..Self::new(topic, place, 1) }
    }

    /// How many records, fences included, are confirmed without a gap.
    pub(super) fn confirmed(&self) -> u64 {
        self.state.lock().watermark.low()
    }

    /// The receipts that are durable; closed where it has failed.
    pub(super) fn durable(&self) -> watch::Receiver<Receipt> {
        match &self.state.lock().durable {
            Some(durable) => durable.subscribe(),
            None => watch::Sender::new(Receipt(0)).subscribe(),
        }
    }

    /// Where the fences are, once all are.
    pub(super) fn fences(&self) -> Option<Vec<u64>> {
        self.state.lock().fences.iter().copied().collect()
    }

    /// Why the writer has ended.
    pub(super) fn failure(&self) -> Option<AppendError> {
        self.state.lock().failed.clone()
    }

    /// What the client went through last.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// Ends the writer; the first reason stays.
    pub(super) fn fail(&self, why: AppendError) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(why);
        state.durable = None;
        drop(state);
        self.moved.notify_waiters();
        self.moved.notify_one();
    }

    fn confirm(&self, number: u64, partition: usize, offset: u64) {
        let mut state = self.state.lock();
        if number < self.fences
            && let Some(fence) = state.fences.get_mut(partition)
        {
            *fence = Some(offset);
        }
        if state.watermark.confirm(number) {
            let receipt = Receipt(state.watermark.low().saturating_sub(self.fences));
            if let Some(durable) = &state.durable {
                durable.send_replace(receipt);
            }
        }
        drop(state);
        self.moved.notify_one();
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
        keep_trouble(&mut self.state.lock().trouble, &error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => {
                let (partition, offset) = place_of(message);
                let number = u64::try_from(number).expect("fits 64 bits");
                self.confirm(number, usize::from(partition.0), offset);
            }
            // Thrown away after an error that ended the producer, or by us: that is told elsewhere.
            Err((error, _)) if is_purged(error) => {}
            Err((error, message)) => {
                let (partition, _) = place_of(message);
                let error = Asked::Write(&self.topic).append_error(error, &self.place);
                self.fail(match error {
                    AppendError::Failed(why) => {
                        AppendError::Failed(format!("{why}, writing to partition {}", partition.0))
                    }
                    denied => denied,
                });
            }
        }
    }
}

/// Whether a record was not refused for its own sake.
pub(super) fn is_purged(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight | Code::Fatal))
}
