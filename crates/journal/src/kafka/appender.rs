//! The writing end that callers hold.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use runtime::Clock;
use runtime::clock::timeout;
use tokio::sync::watch;

use super::record::{Headers, MAX_RECORD_BYTES};
use super::session::Hold;
use crate::{Append, AppendError, Appender, Health, Receipt};

/// A full queue is looked at again after this time, should a wake-up be missed between two threads.
const FULL_LOOK: Duration = Duration::from_millis(100);

/// The one appender of a stream on Kafka.
pub(super) struct KafkaAppender {
    hold: Hold,
    clock: Arc<dyn Clock>,
    durable: watch::Receiver<Receipt>,
    headers: Headers,
}

// === impl KafkaAppender ===

impl KafkaAppender {
    pub(super) fn new(hold: Hold, clock: Arc<dyn Clock>) -> Self {
        let durable = hold.0.deliveries().durable();
        let headers = Headers::of(hold.0.lease().number);
        Self { hold, clock, durable, headers }
    }

    fn check(&self, records: &[Append]) -> Result<(), AppendError> {
        let count = usize::from(self.hold.0.config().partitions);
        for Append { partition, payload, .. } in records {
            if usize::from(partition.0) >= count {
                return Err(AppendError::NoSuchPartition { partition: *partition, count });
            }
            let (bytes, limit) = (payload.len(), MAX_RECORD_BYTES);
            if bytes > limit {
                return Err(AppendError::TooLarge { partition: *partition, bytes, limit });
            }
        }
        self.failure()
    }

    fn failure(&self) -> Result<(), AppendError> {
        self.hold.0.deliveries().failure().map_or(Ok(()), Err)
    }
}

impl Appender for KafkaAppender {
    fn append<'a>(
        &'a mut self,
        records: &'a mut Vec<Append>,
    ) -> BoxFuture<'a, Result<Receipt, AppendError>> {
        Box::pin(async move {
            self.check(records)?;
            let session = &self.hold.0;
            let now_ms = self.clock.now_ms();
            for record in records.iter() {
                // The same record until there is room: those behind it must not pass it.
                loop {
                    if session.send_record(record, self.headers.envelope(record, now_ms))? {
                        break;
                    }
                    let moved = session.deliveries().moved.notified();
                    timeout(&*self.clock, FULL_LOOK, moved).await.unwrap_or_default();
                }
            }
            records.clear();
            Ok(session.accepted())
        })
    }

    fn durable(&self) -> watch::Receiver<Receipt> {
        self.durable.clone()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Receipt, AppendError>> {
        Box::pin(async move {
            self.failure()?;
            let accepted = self.hold.0.accepted();
            let reached = self.durable.wait_for(|durable| *durable >= accepted).await;
            let receipt = reached.ok().map(|durable| *durable);
            receipt.ok_or_else(|| {
                let failure = self.failure().err();
                failure.unwrap_or_else(|| AppendError::Failed("the writer has ended".to_owned()))
            })
        })
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.hold.0.health.subscribe()
    }
}
