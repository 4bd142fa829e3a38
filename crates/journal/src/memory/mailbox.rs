//! Requests in memory: a channel with a bound, beyond which the oldest are lost, as where nobody keeps them.

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::mailbox::{Listener, Mailbox, check};
use crate::{AppendError, ReadError};

/// So many wait for who listens.
const WAITING: usize = 256;

/// The requests of one stream.
#[derive(Clone, Debug)]
pub(super) struct MemoryMailbox {
    posted: broadcast::Sender<Bytes>,
}

struct MemoryListener(broadcast::Receiver<Bytes>);

// === impl MemoryMailbox ===

impl MemoryMailbox {
    pub(super) fn new() -> Self {
        Self { posted: broadcast::Sender::new(WAITING) }
    }
}

impl Mailbox for MemoryMailbox {
    fn post(&self, request: Bytes) -> BoxFuture<'_, Result<(), AppendError>> {
        let checked = check(&request);
        if checked.is_ok() {
            // Nobody may be listening.
            self.posted.send(request).ok();
        }
        Box::pin(std::future::ready(checked))
    }

    fn listen(&self) -> BoxFuture<'_, Result<Box<dyn Listener>, ReadError>> {
        let listener: Box<dyn Listener> = Box::new(MemoryListener(self.posted.subscribe()));
        Box::pin(std::future::ready(Ok(listener)))
    }
}

impl Listener for MemoryListener {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, ReadError>> {
        Box::pin(async {
            loop {
                match self.0.recv().await {
                    Ok(request) => return Ok(request),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => {
                        return Err(ReadError::Failed("the journal is closed".to_owned()));
                    }
                }
            }
        })
    }
}
