//! What becomes of records that were handed to the producer.
//!
//! Guarantees: a receipt is durable when every record up to it is confirmed, which is told at once when nothing else is
//! under way, and otherwise soon; the first record that is refused for
//! good ends the writer, and the watch of receipts closes. Runs on the thread that polls the producer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
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
    /// After so many confirmations they are told, if not before.
    tell_every: u64,
    /// Records handed to the producer, fences included.
    sent: AtomicU64,
    has_failed: AtomicBool,
    state: Mutex<State>,
    /// Something has been confirmed, or everything is over.
    pub(super) moved: Notify,
}

/// Telling wakes whoever waits, which costs more than a confirmation: under load many are told at once.
const TELL_EVERY: u64 = 512;

struct State {
    watermark: Watermark,
    /// Confirmed since it was told last.
    untold: u64,
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
            untold: 0,
            fences: vec![None; usize::from(partitions)],
            durable: Some(watch::Sender::new(Receipt(0))),
            failed: None,
            trouble: None,
        };
        Self {
            topic: topic.to_owned(),
            place: place.to_owned(),
            fences: u64::from(partitions),
            tell_every: TELL_EVERY,
            sent: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            state: Mutex::new(state),
            moved: Notify::new(),
        }
    }

    /// Of a log of one partition without a lease; each confirmation is told at once.
    pub(super) fn without_fences(topic: &str, place: &str) -> Self {
        Self { fences: 0, tell_every: 1, ..Self::new(topic, place, 1) }
    }

    /// How many records have been handed to the producer, fences included: the number of the next one.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Notes that one more has been handed over. Only one thread at a time hands over.
    pub(super) fn note_sent(&self) {
        self.sent.store(self.sent() + 1, Ordering::Release);
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
        match self.has_failed.load(Ordering::Acquire) {
            true => self.state.lock().failed.clone(),
            false => None,
        }
    }

    /// What the client went through last.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// Ends the writer; the first reason stays.
    pub(super) fn fail(&self, why: AppendError) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(why);
        self.has_failed.store(true, Ordering::Release);
        state.durable = None;
        drop(state);
        self.moved.notify_waiters();
        self.moved.notify_one();
    }

    /// A record is written. Where, a broker that had it already may not tell.
    fn written(&self, number: u64, partition: usize, offset: Option<u64>) {
        if offset.is_none() && number < self.fences {
            // A fence at a wrong place would void what others have written.
            let what = "does not tell where a fence was written";
            return self.fail(AppendError::Failed(format!("{} {what}", self.place)));
        }
        self.confirm(number, partition, offset.unwrap_or_default());
    }

    fn confirm(&self, number: u64, partition: usize, offset: u64) {
        let mut state = self.state.lock();
        if number < self.fences
            && let Some(fence) = state.fences.get_mut(partition)
        {
            *fence = Some(offset);
        }
        state.watermark.confirm(number);
        state.untold += 1;
        // The last one under way is told at once; so is one that came before it was noted as sent.
        let is_last = state.watermark.low() >= self.sent();
        if is_last || state.untold >= self.tell_every || number < self.fences {
            self.tell_of(state);
        }
    }

    /// Tells what has been confirmed, if that was put off.
    pub(super) fn tell(&self) {
        let state = self.state.lock();
        if state.untold > 0 {
            self.tell_of(state);
        }
    }

    fn tell_of(&self, mut state: MutexGuard<'_, State>) {
        state.untold = 0;
        let receipt = Receipt(state.watermark.low().saturating_sub(self.fences));
        if let Some(durable) = &state.durable {
            durable.send_if_modified(|known| std::mem::replace(known, receipt) != receipt);
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
                let (partition, _) = place_of(message);
                let number = u64::try_from(number).expect("fits 64 bits");
                let offset = u64::try_from(message.offset()).ok();
                self.written(number, usize::from(partition.0), offset);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries(fences: u16, sent: u64) -> Deliveries {
        let deliveries = Deliveries::new("topic", "place", fences);
        (0..sent).for_each(|_| deliveries.note_sent());
        deliveries
    }

    #[test]
    fn the_last_one_under_way_is_told_at_once_and_those_before_it_with_it() {
        let deliveries = deliveries(1, 4);
        let told = deliveries.durable();
        (0..3).for_each(|number| deliveries.confirm(number, 0, 0));
        assert_eq!(*told.borrow(), Receipt(0), "one is under way");
        deliveries.confirm(3, 0, 0);
        assert_eq!(*told.borrow(), Receipt(3));
    }

    #[test]
    fn what_was_put_off_is_told_when_that_is_asked_for_or_much_has_come() {
        let deliveries = deliveries(0, 10 * TELL_EVERY);
        let told = deliveries.durable();
        deliveries.confirm(0, 0, 0);
        deliveries.tell();
        assert_eq!(*told.borrow(), Receipt(1));
        (1..=TELL_EVERY).for_each(|number| deliveries.confirm(number, 0, 0));
        assert_eq!(*told.borrow(), Receipt(1 + TELL_EVERY));
    }

    #[test]
    fn what_is_confirmed_before_it_was_noted_as_sent_is_told() {
        let deliveries = deliveries(0, 0);
        deliveries.confirm(0, 0, 0);
        assert_eq!(*deliveries.durable().borrow(), Receipt(1));
    }

    #[test]
    fn fences_are_told_each() {
        let deliveries = deliveries(2, 2);
        deliveries.confirm(1, 1, 70);
        assert_eq!(deliveries.fences(), None);
        deliveries.confirm(0, 0, 50);
        assert_eq!(deliveries.fences(), Some(vec![50, 70]));
        assert_eq!(*deliveries.durable().borrow(), Receipt(0));
    }

    #[test]
    fn a_fence_whose_place_is_not_told_is_none_and_a_record_needs_no_place() {
        let good = deliveries(1, 2);
        good.written(0, 0, Some(17));
        good.written(1, 0, None);
        assert_eq!((good.fences(), good.confirmed()), (Some(vec![17]), 2));
        assert!(good.failure().is_none());
        let bad = deliveries(2, 2);
        bad.written(0, 0, Some(17));
        bad.written(1, 1, None);
        assert_eq!(bad.fences(), None);
        assert!(matches!(bad.failure(), Some(AppendError::Failed(why)) if why.contains("fence")));
    }
}
