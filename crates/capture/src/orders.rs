//! Orders to a capture that runs, from whoever knows more than its link does.

use std::fmt;

use tokio::sync::watch;

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
