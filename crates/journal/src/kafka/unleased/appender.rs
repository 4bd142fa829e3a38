//! One of many writers of a shared log.
//!
//! Guarantees: what a flush has confirmed survives; a record is tried for as long as the brokers are away, and the
//! first that is refused for good ends this writer, and no other.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use runtime::Clock;
use runtime::clock::timeout;
use tokio::sync::watch;

use super::super::client::drop_aside;
use super::super::config::KafkaConfig;
use super::super::deliveries::Deliveries;
use super::super::lifeline::Lifeline;
use super::super::record::{Envelope, MAX_RECORD_BYTES};
use super::super::rights::{Asked, settings_error};
use super::super::settings::{self, Role};
use crate::{Append, AppendError, Appender, Health, OpenError, Receipt};

/// How often somebody who waits looks whether the producer has ended.
const LOOK: Duration = Duration::from_millis(100);
/// What gets no answer for so many looks is told as a stall.
const STALL_LOOKS: u32 = 20;

/// A writer.
pub(super) struct SharedAppender {
    /// Taken by drop only.
    producer: Option<ThreadedProducer<Deliveries>>,
    config: KafkaConfig,
    addressee: String,
    clock: Arc<dyn Clock>,
    accepted: u64,
    durable: watch::Receiver<Receipt>,
    health: watch::Sender<Health>,
    lifeline: Lifeline,
}

// === impl SharedAppender ===

impl SharedAppender {
    pub(super) fn new(
        config: &KafkaConfig,
        addressee: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let deliveries = Deliveries::without_fences(&config.topic, &config.place());
        let made = settings::of(Role::Events, config).create_with_context(deliveries);
        let producer: ThreadedProducer<Deliveries> =
            made.map_err(|error| settings_error(&error))?;
        let durable = producer.context().durable();
        Ok(Self {
            producer: Some(producer),
            config: config.clone(),
            addressee: addressee.to_owned(),
            clock,
            accepted: 0,
            durable,
            health: watch::Sender::new(Health::Accepting),
            lifeline: Lifeline::new(config),
        })
    }

    fn producer(&self) -> &ThreadedProducer<Deliveries> {
        self.producer.as_ref().expect("it is taken by drop only")
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer().context()
    }

    fn check(&self, records: &[Append]) -> Result<(), AppendError> {
        for Append { partition, payload, .. } in records {
            if partition.0 != 0 {
                return Err(AppendError::NoSuchPartition { partition: *partition, count: 1 });
            }
            let (bytes, limit) = (payload.len(), MAX_RECORD_BYTES);
            if bytes > limit {
                return Err(AppendError::TooLarge { partition: *partition, bytes, limit });
            }
        }
        self.failure()
    }

    fn failure(&self) -> Result<(), AppendError> {
        if let Some(end) = self.producer().client().fatal_error() {
            let asked = Asked::Write(&self.config.topic);
            self.deliveries().fail(asked.append_end(end, &self.config.place()));
        }
        self.deliveries().failure().map_or(Ok(()), Err)
    }

    /// False: there is no room.
    fn send(&mut self, record: &Append) -> Result<bool, AppendError> {
        let opaque = usize::try_from(self.accepted).expect("fits a pointer of 64 bits");
        let envelope = Envelope::shared(record, &self.addressee, self.clock.now_ms());
        let mut message = BaseRecord::with_opaque_to(&self.config.topic, opaque)
            .partition(0)
            .payload(&record.payload[..])
            .timestamp(envelope.timestamp_ms)
            .headers(envelope.headers);
        if let Some(key) = envelope.key {
            message = message.key(key);
        }
        let sent = self.producer().send(message).map_err(|(error, _)| error);
        match sent {
            Ok(()) => {
                self.accepted += 1;
                Ok(true)
            }
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                Ok(false)
            }
            Err(error) => {
                let asked = Asked::Write(&self.config.topic);
                let failure = asked.append_error(&error, &self.config.place());
                self.deliveries().fail(failure.clone());
                Err(failure)
            }
        }
    }

    /// Waits until so many records are confirmed.
    async fn confirmed(&mut self, wanted: Receipt) -> Result<Receipt, AppendError> {
        let mut looks = 0;
        loop {
            self.failure()?;
            let mut durable = self.durable.clone();
            let reached = durable.wait_for(|durable| *durable >= wanted);
            if let Ok(Ok(durable)) = timeout(&*self.clock, LOOK, reached).await {
                self.health.send_replace(Health::Accepting);
                self.lifeline.heard();
                return Ok(*durable);
            }
            self.lifeline.overdue(self.producer().client(), LOOK);
            looks += 1;
            if looks == STALL_LOOKS {
                let trouble = self.deliveries().trouble();
                let trouble = trouble.unwrap_or_else(|| "no answer".to_owned());
                let place = self.config.place();
                let stall = format!(
                    "{place} confirms nothing ({trouble}): see that its brokers run and can be reached; it is tried on"
                );
                tracing::warn!("{stall}");
                self.health.send_replace(Health::Stalled(stall));
            }
        }
    }
}

impl Appender for SharedAppender {
    fn append<'a>(
        &'a mut self,
        records: &'a mut Vec<Append>,
    ) -> BoxFuture<'a, Result<Receipt, AppendError>> {
        Box::pin(async move {
            self.check(records)?;
            for record in records.iter() {
                // The same record until there is room: those behind it must not pass it.
                while !self.send(record)? {
                    let some = Receipt(self.deliveries().confirmed() + 1);
                    self.confirmed(some).await?;
                }
            }
            records.clear();
            Ok(Receipt(self.accepted))
        })
    }

    fn durable(&self) -> watch::Receiver<Receipt> {
        self.durable.clone()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Receipt, AppendError>> {
        Box::pin(self.confirmed(Receipt(self.accepted)))
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}

impl Drop for SharedAppender {
    fn drop(&mut self) {
        drop_aside(self.producer.take());
    }
}
