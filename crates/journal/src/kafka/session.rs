//! One writer's time: its producers, and the thread that serves them.
//!
//! Guarantees: while it holds the lease it gives a sign of life twice a second; once somebody else has claimed the
//! stream nothing more is sent. At its end what was accepted is written, for a bounded time, and the lease released.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use runtime::Clock;
use tokio::sync::watch;

use super::client::hurry;
use super::config::KafkaConfig;
use super::deliveries::Deliveries;
use super::follow::Following;
use super::lifeline::Lifeline;
use super::notary::Notary;
use super::notes::{LeaseNote, Says, lease_key};
use super::record::Envelope;
use super::rights::{Asked, as_append, settings_error};
use super::settings::{self, Role};
use crate::{Append, AppendError, Health, OpenError, Receipt, Writer};

/// How often the thread looks at everything.
const TICK: Duration = Duration::from_millis(20);
/// How often a writer says that it lives; a sixth of the time after which it is taken for dead.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// What is under way and gets no answer for so long is told as a stall.
const STALL_AFTER: Duration = Duration::from_secs(2);
/// How long the end waits for what was accepted; what is not written then is lost, as in a crash.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// And for the release of the lease.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// A writer between its claim and its end.
pub(super) struct Session {
    producer: BaseProducer<Deliveries>,
    pub(super) notary: Notary,
    following: Arc<Following>,
    clock: Arc<dyn Clock>,
    config: KafkaConfig,
    lease: LeaseNote,
    /// The key of what is noted about the lease.
    lease_key: String,
    pub(super) health: watch::Sender<Health>,
    holds: AtomicBool,
    closing: AtomicBool,
    ended: watch::Sender<bool>,
    lifeline: Lifeline,
}

/// Ends the session when dropped.
pub(super) struct Hold(pub(super) Arc<Session>);

/// What the thread remembers from one look to the next.
struct Pulse {
    beat: Duration,
    moved: Duration,
    confirmed: u64,
}

// === impl Hold ===

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }
}

// === impl Session ===

impl Session {
    /// Makes the producers and starts the thread; the lease has not been claimed yet.
    pub(super) fn start(
        config: &KafkaConfig,
        clock: Arc<dyn Clock>,
        following: Arc<Following>,
        (writer, lease): (Writer, LeaseNote),
    ) -> Result<Hold, OpenError> {
        let deliveries = Deliveries::new(&config.topic, &config.place(), config.partitions);
        let made = settings::of(Role::Events, config).create_with_context(deliveries);
        let session = Arc::new(Self {
            producer: made.map_err(|error| settings_error(&error))?,
            notary: Notary::new(config)?,
            following,
            clock,
            config: config.clone(),
            lease_key: lease_key(writer),
            lease,
            health: watch::Sender::new(Health::Accepting),
            holds: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            lifeline: Lifeline::new(config),
        });
        let thread = Arc::clone(&session);
        super::client::thread("kafka-writer", move || thread.run())?;
        Ok(Hold(session))
    }

    pub(super) fn lease(&self) -> &LeaseNote {
        &self.lease
    }

    pub(super) fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// From now on it says that it lives.
    pub(super) fn hold(&self) {
        self.holds.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// True when the thread is done.
    pub(super) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    pub(super) fn deliveries(&self) -> &Deliveries {
        self.producer.context()
    }

    /// The receipt of what was handed over so far.
    pub(super) fn accepted(&self) -> Receipt {
        let fences = u64::from(self.config.partitions);
        Receipt(self.deliveries().sent().saturating_sub(fences))
    }

    /// Hands over the fence of a partition.
    pub(super) fn send_fence(&self, partition: u16) -> Result<bool, AppendError> {
        self.send(partition, Envelope::fence(self.lease.number), &[])
    }

    /// Hands over one record in its envelope; false when there is no room.
    pub(super) fn send_record(
        &self,
        record: &Append,
        envelope: Envelope<'_>,
    ) -> Result<bool, AppendError> {
        self.send(record.partition.0, envelope, &record.payload)
    }

    fn send(
        &self,
        partition: u16,
        envelope: Envelope<'_>,
        payload: &[u8],
    ) -> Result<bool, AppendError> {
        if let Some(failure) = self.deliveries().failure() {
            return Err(failure);
        }
        let opaque = usize::try_from(self.deliveries().sent()).expect("fits a pointer of 64 bits");
        let mut record = BaseRecord::with_opaque_to(&self.config.topic, opaque)
            .partition(i32::from(partition))
            .payload(payload)
            .timestamp(envelope.timestamp_ms)
            .headers(envelope.headers);
        if let Some(key) = envelope.key {
            record = record.key(key);
        }
        match self.producer.send(record) {
            Ok(()) => {
                self.deliveries().note_sent();
                Ok(true)
            }
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                Ok(false)
            }
            Err((error, _)) => {
                let asked = Asked::Write(&self.config.topic);
                let failure = asked.append_error(&error, &self.config.place());
                self.deliveries().fail(failure.clone());
                Err(failure)
            }
        }
    }

    fn run(&self) {
        let now = self.clock.monotonic();
        let mut pulse = Pulse { beat: Duration::ZERO, moved: now, confirmed: 0 };
        while !self.is_closing() {
            self.hurry();
            self.producer.poll(TICK);
            self.deliveries().tell();
            if self.notary.under_way() {
                self.notary.poll(Duration::from_millis(1));
            }
            self.beat(&mut pulse);
            self.look_for_another();
            self.report(&mut pulse);
        }
        self.finish();
        self.ended.send_replace(true);
    }

    /// Until it has become the writer, it does what it can to become it soon.
    fn hurry(&self) {
        if self.notary.confirmed() == 0 {
            self.notary.hurry();
        }
        if self.deliveries().confirmed() == 0 {
            hurry(&self.producer, &self.config.topic);
        }
    }

    fn beat(&self, pulse: &mut Pulse) {
        let now = self.clock.monotonic();
        let is_due = pulse.beat + BEAT_EVERY <= now;
        // One sign of life at a time waits for a broker that does not answer.
        let may = self.holds.load(Ordering::Relaxed) && !self.notary.under_way();
        if !is_due || !may || self.deliveries().failure().is_some() {
            return;
        }
        pulse.beat = now;
        self.say(Says::Beat);
    }

    fn say(&self, says: Says) {
        let note = LeaseNote { says, ..self.lease.clone() };
        if let Err(refused) = self.notary.write(&self.lease_key, &note) {
            tracing::debug!(%refused, ?says, "a note about the writer was not taken");
        }
    }

    fn look_for_another(&self) {
        if self.deliveries().failure().is_some() {
            return;
        }
        if let Some(failure) = self.fatal() {
            self.deliveries().fail(failure);
        }
        if self.following.follower().look(|known| known.state.is_overtaken(self.lease.number)) {
            self.deliveries().fail(AppendError::Fenced { stream: self.config.stream.clone() });
            self.purge();
        }
    }

    /// What has ended one of the producers for good.
    fn fatal(&self) -> Option<AppendError> {
        let asked = Asked::Write(&self.config.topic);
        let end = self.producer.client().fatal_error();
        let of_records = end.map(|end| asked.append_end(end, &self.config.place()));
        of_records.or_else(|| self.notary.fatal().map(as_append))
    }

    fn report(&self, pulse: &mut Pulse) {
        let now = self.clock.monotonic();
        let confirmed = self.deliveries().confirmed() + self.notary.confirmed();
        let under_way = self.producer.in_flight_count() > 0 || self.notary.under_way();
        if confirmed != pulse.confirmed || !under_way {
            (pulse.confirmed, pulse.moved) = (confirmed, now);
            self.lifeline.heard();
        }
        let stalled = now.saturating_sub(pulse.moved) >= STALL_AFTER;
        if stalled {
            self.lifeline.overdue(self.producer.client(), TICK);
            self.notary.overdue(TICK);
        }
        self.health.send_if_modified(|health| {
            let was_stalled = matches!(health, Health::Stalled(_));
            if was_stalled == stalled {
                return false;
            }
            *health = if stalled { Health::Stalled(self.stall()) } else { Health::Accepting };
            true
        });
    }

    fn stall(&self) -> String {
        let trouble = self.deliveries().trouble().or_else(|| self.notary.trouble());
        let trouble = trouble.unwrap_or_else(|| "no answer".to_owned());
        format!(
            "{} has confirmed nothing for {} s ({trouble}): see that its brokers run and can be reached; it is tried on",
            self.config.place(),
            STALL_AFTER.as_secs()
        )
    }

    fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    /// Writes what was accepted, releases the lease, and leaves.
    fn finish(&self) {
        let has_failed = self.deliveries().failure().is_some();
        if has_failed {
            self.purge();
            return;
        }
        let is_written = self.producer.flush(FLUSH_LIMIT).is_ok();
        if is_written && self.holds.load(Ordering::Relaxed) {
            self.say(Says::Release);
            let mut left = RELEASE_LIMIT;
            while self.notary.under_way() && !left.is_zero() {
                self.notary.poll(TICK);
                left = left.saturating_sub(TICK);
            }
        }
    }
}
