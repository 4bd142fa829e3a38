//! The writing end that callers hold.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::intake::{Intake, Offer, Ticket};
use super::log::Log;
use crate::{Append, AppendError, Appender, Health, Receipt};

/// The one appender of a local journal. Another can be had when it is dropped.
pub(super) struct LocalAppender {
    log: Arc<Log>,
    intake: Arc<Intake>,
    ticket: Ticket,
    max_record_bytes: usize,
}

// === impl LocalAppender ===

impl LocalAppender {
    pub(super) fn new(log: Arc<Log>, intake: Arc<Intake>, ticket: Ticket, max: usize) -> Self {
        Self { log, intake, ticket, max_record_bytes: max }
    }

    fn check(&self, records: &[Append]) -> Result<(), AppendError> {
        self.log.check_appends(records)?;
        let limit = self.max_record_bytes;
        match records.iter().find(|record| record.payload.len() > limit) {
            Some(Append { partition, payload, .. }) => {
                Err(AppendError::TooLarge { partition: *partition, bytes: payload.len(), limit })
            }
            None => Ok(()),
        }
    }
}

impl Appender for LocalAppender {
    fn append<'a>(
        &'a mut self,
        records: &'a mut Vec<Append>,
    ) -> BoxFuture<'a, Result<Receipt, AppendError>> {
        Box::pin(async move {
            self.check(records)?;
            loop {
                let room = self.intake.room();
                match self.intake.offer(self.ticket.id, records)? {
                    Offer::Accepted(receipt) => return Ok(receipt),
                    Offer::Full => room.await,
                }
            }
        })
    }

    fn durable(&self) -> watch::Receiver<Receipt> {
        self.ticket.durable.clone()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Receipt, AppendError>> {
        Box::pin(async move {
            let accepted = self.intake.ask_to_flush(self.ticket.id)?;
            let reached = self.ticket.durable.wait_for(|durable| *durable >= accepted).await;
            let receipt = reached.ok().map(|durable| *durable);
            receipt.ok_or_else(|| self.intake.refusal(self.ticket.id))
        })
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.intake.health().subscribe()
    }
}

impl Drop for LocalAppender {
    fn drop(&mut self) {
        self.intake.leave(self.ticket.id);
    }
}
