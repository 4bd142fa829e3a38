//! Orders to a capture that runs, from whoever knows more than its link does.

use std::fmt;

use tokio::sync::watch;

/// Orders a snapshot beside the stream, for whoever wants to begin with one. Numbered: an order is served by a snapshot
/// that begins after it was given.
#[derive(Clone, Debug)]
pub struct SnapshotOrder {
    given: watch::Sender<u64>,
    made: watch::Receiver<SnapshotsMade>,
}

/// What has become of orders of snapshots, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotsMade {
    /// All up to this one are served: the journal has the end of a snapshot that began after them.
    pub done: u64,
    /// Those up to this one, and after [`SnapshotsMade::done`], are given up: who still wants one orders again.
    pub given_up: u64,
}

/// The side that obeys.
#[derive(Debug)]
pub(crate) struct SnapshotOrders {
    given: watch::Receiver<u64>,
    made: watch::Sender<SnapshotsMade>,
}

/// Orders a full transfer: a destination holds what the source's history no longer has, and only a
/// new snapshot leads on from there.
#[derive(Clone, Debug)]
pub struct TransferOrder {
    given: watch::Sender<Option<TransferCause>>,
}

/// Why only a full transfer leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferCause {
    /// What a destination has.
    Destination,
    /// What the source takes for known.
    Script,
}

/// The side that obeys.
#[derive(Debug)]
pub(crate) struct TransferOrders {
    given: watch::Receiver<Option<TransferCause>>,
}

/// An order and the side that obeys it.
pub(crate) fn transfer_orders() -> (TransferOrder, TransferOrders) {
    let (order, orders) = watch::channel(None);
    (TransferOrder { given: order }, TransferOrders { given: orders })
}

/// An order of a snapshot and the side that obeys it.
pub(crate) fn snapshot_orders() -> (SnapshotOrder, SnapshotOrders) {
    let (given_in, given) = watch::channel(0);
    let (made_in, made) = watch::channel(SnapshotsMade::default());
    (SnapshotOrder { given: given_in, made }, SnapshotOrders { given, made: made_in })
}

// === impl SnapshotOrder ===

impl SnapshotOrder {
    /// A snapshot is to be made that begins after this. Gives the order's number.
    pub fn give(&self) -> u64 {
        let mut number = 0;
        self.given.send_modify(|given| {
            *given += 1;
            number = *given;
        });
        number
    }

    /// What becomes of orders.
    #[must_use]
    pub fn made(&self) -> watch::Receiver<SnapshotsMade> {
        self.made.clone()
    }
}

// === impl SnapshotOrders ===

impl SnapshotOrders {
    /// Completes when an order is given that nothing has begun for. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        if self.given.changed().await.is_err() {
            // Nobody is left to give one.
            std::future::pending::<()>().await;
        }
    }

    /// A snapshot begins, for all orders given so far. Gives the number of the last.
    pub(crate) fn begin(&mut self) -> u64 {
        *self.given.borrow_and_update()
    }

    /// It has ended, with the orders up to that one.
    pub(crate) fn done(&self, order: u64) {
        self.made.send_modify(|made| made.done = made.done.max(order));
    }

    /// Nothing comes of the orders up to that one.
    pub(crate) fn give_up(&self, order: u64) {
        self.made.send_modify(|made| made.given_up = made.given_up.max(order));
    }
}

// === impl TransferOrder ===

impl TransferOrder {
    /// The source is asked for everything once more. Orders given before it is asked are one, and
    /// while a full transfer is under way there is nothing more to ask for.
    pub fn give(&self) {
        self.give_for(TransferCause::Destination);
    }

    pub(crate) fn give_for(&self, cause: TransferCause) {
        self.given.send_replace(Some(cause));
    }
}

// === impl TransferCause ===

impl fmt::Display for TransferCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Destination => {
                "a destination holds changes that the source's history does not have"
            }
            Self::Script => {
                "the source ran a script whose text it had sent before this process listened"
            }
        })
    }
}

// === impl TransferOrders ===

impl TransferOrders {
    /// Completes with the next order. Cancel-safe.
    pub(crate) async fn next(&mut self) -> TransferCause {
        loop {
            if self.given.changed().await.is_err() {
                // Nobody is left to give one.
                std::future::pending::<()>().await;
            }
            if let Some(cause) = *self.given.borrow_and_update() {
                return cause;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_snapshot_serves_the_orders_before_its_begin_and_no_later_one() {
        let (order, mut orders) = snapshot_orders();
        assert_eq!((order.give(), order.give()), (1, 2));
        orders.next().await;
        assert_eq!(orders.begin(), 2);
        assert_eq!(order.give(), 3);
        orders.done(2);
        assert_eq!(*order.made().borrow(), SnapshotsMade { done: 2, given_up: 0 });
        // The third is still there to be obeyed.
        orders.next().await;
        assert_eq!(orders.begin(), 3);
        orders.give_up(3);
        assert_eq!(*order.made().borrow(), SnapshotsMade { done: 2, given_up: 3 });
    }
}
