//! What the source is told of how far we are.
//!
//! Guarantees: never more than what the journal holds durably, never more than was received, and
//! nothing of another history.

use std::time::Duration;

use redis_io::replication::LinkWriter;
use tokio::sync::watch;

use crate::error::IntakeError;
use crate::limits::{ACK_INTERVAL, EAGER_ACK_INTERVAL, EAGER_ACKS};
use crate::piece::{Durable, History};

/// Acknowledges on one link.
pub(super) struct Acks {
    writer: LinkWriter,
    durable: watch::Receiver<Durable>,
    /// Whether the snapshot has been received: before that there is nothing to say.
    begun: bool,
    /// How many more are sent at short intervals, because the source may hold the stream back.
    eager_left: u32,
    /// Whether the source waits for the next offset that becomes durable.
    is_awaited: bool,
}

// === impl Acks ===

impl Acks {
    pub(super) fn new(writer: LinkWriter, durable: watch::Receiver<Durable>, begun: bool) -> Self {
        Self { writer, durable, begun, eager_left: 0, is_awaited: false }
    }

    /// Whether there is anything to acknowledge.
    pub(super) fn have_begun(&self) -> bool {
        self.begun
    }

    /// The snapshot has been received.
    pub(super) fn begin(&mut self) {
        self.begun = true;
        self.eager_left = EAGER_ACKS;
    }

    /// The stream has been received.
    pub(super) fn stream_flows(&mut self) {
        self.eager_left = 0;
    }

    /// How long to wait for the next regular one.
    pub(super) fn interval(&self) -> Duration {
        if self.eager_left > 0 { EAGER_ACK_INTERVAL } else { ACK_INTERVAL }
    }

    /// The regular acknowledgement.
    pub(super) async fn tick(
        &mut self,
        history: History,
        received: u64,
    ) -> Result<(), IntakeError> {
        self.is_awaited = false;
        self.eager_left = self.eager_left.saturating_sub(1);
        self.send(history, received).await
    }

    /// The source asked for one: what becomes durable until the next regular one is told at once.
    pub(super) fn await_durable(&mut self) {
        self.is_awaited = true;
    }

    /// Completes when the source waits for it and more has become durable. Cancel-safe.
    pub(super) async fn grown(&mut self) {
        if !self.is_awaited || self.durable.changed().await.is_err() {
            // Nobody waits, or nothing more will come.
            std::future::pending::<()>().await;
        }
    }

    /// Tells how far the journal is.
    pub(super) async fn send(
        &mut self,
        history: History,
        received: u64,
    ) -> Result<(), IntakeError> {
        if self.begun {
            let durable = *self.durable.borrow_and_update();
            self.writer.ack(durable.of(history).min(received)).await?;
        }
        Ok(())
    }
}
