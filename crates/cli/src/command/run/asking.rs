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
    /// Asks for one whenever one is needed, for as long as it is: each need by an id of its own, since capture makes one
    /// for each id and no more.
    pub(super) async fn ask(
        self,
        mut needs: watch::Receiver<Option<u64>>,
    ) -> Result<(), TaskError> {
        while let Ok(need) = needs.wait_for(Option::is_some).await.map(|need| *need) {
            let request = Request {
                id: format!("{:016x}", Random::from_entropy().next_u64()),
                ask: Ask::Snapshot,
                from: format!("keyferry apply of {}", self.destination),
                at_ms: self.clock.now_ms(),
            };
            tracing::info!(request = request.id, "asking capture for a snapshot");
            while *needs.borrow() == need {
                if let Err(error) = self.journal.mailbox().post(request.encode()).await {
                    let error = chain(&error);
                    tracing::warn!(%error, "capture could not be asked for a snapshot");
                }
                let ended = tokio::select! {
                    () = self.clock.sleep(REPEAT_EVERY) => false,
                    // It ends with the side that needs.
                    changed = needs.wait_for(|now| *now != need) => changed.is_err(),
                };
                if ended {
                    return pending().await;
                }
            }
        }
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use journal::{Listener, MemoryJournal};
    use runtime::ManualClock;

    use super::*;

    async fn asked(listener: &mut dyn Listener) -> String {
        Request::decode(&listener.next().await.unwrap()).unwrap().id
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    async fn each_need_is_asked_for_by_an_id_of_its_own() {
        let (journal, clock) = (MemoryJournal::new("shop", 1), ManualClock::new(0));
        let mut listener = journal.mailbox().listen().await.unwrap();
        let asking = Asking {
            journal: Arc::new(journal.clone()),
            clock: Arc::new(clock.clone()),
            destination: "copy".to_owned(),
        };
        let (need, needs) = watch::channel(None);
        tokio::spawn(asking.ask(needs));
        need.send_replace(Some(0));
        let first = asked(&mut *listener).await;
        clock.wait_for_sleepers(1).await;
        clock.advance(REPEAT_EVERY);
        assert_eq!(asked(&mut *listener).await, first, "the same need");
        // What was made of it has gone.
        clock.wait_for_sleepers(1).await;
        need.send_replace(Some(1));
        assert_ne!(asked(&mut *listener).await, first);
    }
}
