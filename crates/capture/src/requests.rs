//! What readers of the journal ask for: heard while this process captures, and made orders of.
//!
//! Guarantees: what was asked before it listened is not obeyed; each request is obeyed once, however often it is
//! repeated, unless nothing came of it. Not being able to hear ends nothing: it is said, and tried again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use event::request::{Ask, Request};
use journal::{Journal, Listener, ReadError};
use runtime::policy::Classified;
use runtime::{Clock, TaskError, chain};
use tokio_util::sync::CancellationToken;

use crate::limits::{LISTEN_AGAIN_INTERVAL, REQUESTS_KNOWN};
use crate::orders::SnapshotOrder;

/// Hears requests.
pub(crate) struct Requests {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) order: SnapshotOrder,
    pub(crate) known: Known,
}

/// The last requests, and the orders that were made of them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Ids with the numbers of orders, the oldest first.
    orders: VecDeque<(String, u64)>,
}

// === impl Requests ===

impl Requests {
    /// Hears requests until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), TaskError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            never = self.hear() => match never {},
        }
    }

    async fn hear(&mut self) -> Infallible {
        let mut told = None;
        loop {
            let listened = self.journal.mailbox().listen().await;
            let error = match listened {
                Ok(mut listener) => {
                    told = None;
                    let Err(error) = self.obey(&mut *listener).await;
                    error
                }
                Err(error) => error,
            };
            let (why, advice) = (chain(&error), error.advice());
            if told.as_ref() != Some(&why) {
                tracing::warn!(
                    error = why,
                    advice,
                    "requests of readers are not heard for now; the stream goes on"
                );
                told = Some(why);
            }
            self.clock.sleep(LISTEN_AGAIN_INTERVAL).await;
        }
    }

    async fn obey(&mut self, listener: &mut dyn Listener) -> Result<Infallible, ReadError> {
        loop {
            let posted = listener.next().await?;
            match Request::decode(&posted) {
                Ok(request) => self.take(&request),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "what was posted as a request is passed over");
                }
            }
        }
    }

    fn take(&mut self, request: &Request) {
        let Request { id, ask, from, .. } = request;
        match ask {
            Ask::Snapshot if self.known.is_obeyed(id, &self.order) => {
                tracing::debug!(id, from, "asked for again");
            }
            Ask::Snapshot => {
                tracing::info!(id, from, "a snapshot is asked for");
                self.known.note(id, self.order.give());
            }
        }
    }
}

// === impl Known ===

impl Known {
    /// Whether something has come of a request, or may still.
    fn is_obeyed(&self, id: &str, order: &SnapshotOrder) -> bool {
        let made = *order.made().borrow();
        let known = self.orders.iter().rev().find(|(known, _)| known == id);
        known.is_some_and(|(_, number)| *number <= made.done || *number > made.given_up)
    }

    fn note(&mut self, id: &str, order: u64) {
        self.orders.push_back((id.to_owned(), order));
        if self.orders.len() > REQUESTS_KNOWN {
            self.orders.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::MemoryJournal;
    use runtime::ManualClock;

    use super::*;
    use crate::orders::{SnapshotOrders, snapshot_orders};

    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    fn start(journal: &MemoryJournal) -> (SnapshotOrder, SnapshotOrders, CancellationToken) {
        let (order, orders) = snapshot_orders();
        let stop = CancellationToken::new();
        let requests = Requests {
            journal: Arc::new(journal.clone()),
            clock: Arc::new(ManualClock::new(0)),
            order: order.clone(),
            known: Known::default(),
        };
        tokio::spawn(requests.run(stop.clone()));
        (order, orders, stop)
    }

    async fn post(journal: &MemoryJournal, id: &str) {
        let (id, from) = (id.to_owned(), "a test".to_owned());
        let request = Request { id, ask: Ask::Snapshot, from, at_ms: 0 };
        journal.mailbox().post(request.encode()).await.unwrap();
        // The listener goes first.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_request_is_obeyed_once_however_often_it_is_repeated() {
        let journal = MemoryJournal::new("test", 1);
        post(&journal, "too early").await;
        let (_order, mut orders, _stop) = start(&journal);
        tokio::task::yield_now().await;
        assert_eq!(orders.begin(), 0, "before it listened");
        for (id, expected) in [("a", 1), ("a", 1), ("b", 2), ("a", 2)] {
            post(&journal, id).await;
            assert_eq!(orders.begin(), expected, "{id}");
        }
        orders.done(1);
        post(&journal, "a").await;
        assert_eq!(orders.begin(), 2, "it is served");
        orders.give_up(2);
        post(&journal, "a").await;
        assert_eq!(orders.begin(), 2, "it is served all the same");
        post(&journal, "b").await;
        assert_eq!(orders.begin(), 3, "nothing came of it");
    }

    #[tokio::test]
    async fn what_is_no_request_is_passed_over() {
        let journal = MemoryJournal::new("test", 1);
        let (_order, mut orders, _stop) = start(&journal);
        tokio::task::yield_now().await;
        for garbage in ["", "{}", "\u{0}", r#"{"format":7}"#] {
            journal.mailbox().post(Bytes::from(garbage)).await.unwrap();
        }
        post(&journal, "a").await;
        assert_eq!(orders.begin(), 1);
    }
}
