//! Orders to a capture that runs, from whoever knows more than it does.

use tokio::sync::watch;

/// Orders a full transfer: a destination holds what the source's history no longer has, and only a
/// new snapshot leads on from there.
#[derive(Clone, Debug)]
pub struct TransferOrder {
    count: watch::Sender<u64>,
}

/// The side that obeys.
#[derive(Debug)]
pub(crate) struct TransferOrders {
    count: watch::Receiver<u64>,
}

/// An order and the side that obeys it.
pub(crate) fn transfer_orders() -> (TransferOrder, TransferOrders) {
    let (order, orders) = watch::channel(0);
    (TransferOrder { count: order }, TransferOrders { count: orders })
}

// === impl TransferOrder ===

impl TransferOrder {
    /// The source is asked for everything once more. Orders given before it is asked are one, and
    /// while a full transfer is under way there is nothing more to ask for.
    pub fn give(&self) {
        self.count.send_modify(|count| *count += 1);
    }
}

// === impl TransferOrders ===

impl TransferOrders {
    /// Completes with the next order. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        if self.count.changed().await.is_err() {
            // Nobody is left to give one.
            std::future::pending::<()>().await;
        }
    }
}
