//! An apply by itself, which asks whoever captures its stream for a snapshot.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use event::request::{Ask, Request};
use journal::Journal;
use runtime::{Clock, Random, TaskError, chain};
use tokio::sync::watch;

/// How often a request is repeated: a capture that is just taking over has not heard it before.
const REPEAT_EVERY: Duration = Duration::from_secs(10);

/// Asks for snapshots.
pub(super) struct Asking {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    /// What the destination is called.
    pub(super) destination: String,
}

// === impl Asking ===

impl Asking {
    /// Asks for one whenever one is needed, for as long as it is.
    pub(super) async fn ask(self, mut needs: watch::Receiver<bool>) -> Result<(), TaskError> {
        while needs.wait_for(|needs| *needs).await.is_ok() {
            let request = Request {
                id: format!("{:016x}", Random::from_entropy().next_u64()),
                ask: Ask::Snapshot,
                from: format!("keyferry apply of {}", self.destination),
                at_ms: self.clock.now_ms(),
            };
            tracing::info!(request = request.id, "asking capture for a snapshot");
            while *needs.borrow() {
                if let Err(error) = self.journal.mailbox().post(request.encode()).await {
                    let error = chain(&error);
                    tracing::warn!(%error, "capture could not be asked for a snapshot");
                }
                let ended = tokio::select! {
                    () = self.clock.sleep(REPEAT_EVERY) => false,
                    // It ends with the side that needs.
                    changed = needs.wait_for(|needs| !*needs) => changed.is_err(),
                };
                if ended {
                    return pending().await;
                }
            }
        }
        pending().await
    }
}
