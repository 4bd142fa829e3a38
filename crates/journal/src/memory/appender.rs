//! The writing end of a journal in memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{Shared, State};
use crate::{Append, AppendError, Appender, Health, Receipt};

/// The one appender, known by its number.
pub(super) struct MemoryAppender {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    pub(super) durable: watch::Receiver<Receipt>,
}

// === impl MemoryAppender ===

impl Appender for MemoryAppender {
    fn append<'a>(
        &'a mut self,
        records: &'a mut Vec<Append>,
    ) -> BoxFuture<'a, Result<Receipt, AppendError>> {
        Box::pin(async move {
            let mut health = self.shared.health.subscribe();
            loop {
                let accepted = self.accept(records)?;
                if let Some(receipt) = accepted {
                    return Ok(receipt);
                }
                health.changed().await.expect("the sender lives in the stream");
            }
        })
    }

    fn durable(&self) -> watch::Receiver<Receipt> {
        self.durable.clone()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Receipt, AppendError>> {
        Box::pin(async move {
            let accepted = self.accepted()?;
            let reached = self.durable.wait_for(|durable| *durable >= accepted).await;
            let receipt = reached.ok().map(|durable| *durable);
            match receipt {
                Some(receipt) => Ok(receipt),
                None => Err(self.accepted().err().unwrap_or_else(|| self.shared.fenced())),
            }
        })
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }
}

impl MemoryAppender {
    /// Takes the whole batch, or `None` while the stream is stalled.
    fn accept(&self, records: &mut Vec<Append>) -> Result<Option<Receipt>, AppendError> {
        let mut state = self.shared.state.lock();
        self.shared.check(&state, records)?;
        let before = self.accepted_in(&mut state)?;
        if *self.shared.health.borrow() != Health::Accepting {
            return Ok(None);
        }
        let receipt = Receipt(before.0 + u64::try_from(records.len()).expect("fits 64 bits"));
        records.drain(..).for_each(|record| state.push(record));
        if let Some(writer) = state.writer(self.id) {
            writer.accepted = receipt.0;
        }
        if !state.holding {
            state.settle();
        }
        drop(state);
        self.shared.announce();
        Ok(Some(receipt))
    }

    fn accepted(&self) -> Result<Receipt, AppendError> {
        self.accepted_in(&mut self.shared.state.lock())
    }

    fn accepted_in(&self, state: &mut State) -> Result<Receipt, AppendError> {
        if let Some(why) = &state.failed {
            return Err(AppendError::Failed(why.clone()));
        }
        let writer = state.writer(self.id).ok_or_else(|| self.shared.fenced())?;
        Ok(Receipt(writer.accepted))
    }
}

impl Drop for MemoryAppender {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if state.writer(self.id).is_some() {
            state.writer = None;
        }
    }
}
