//! When what has come may be recorded: once a look at the source that began later has found what is captured.
//!
//! A source that hands slots over removes their keys. What it sends does not tell that from any other removal; the
//! source itself does, before the first of them. Guarantee: what had not come when a look began waits for another one, and
//! a look that did not end well lets nothing pass. A source that is no node of a cluster is not looked at: then all
//! passes, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// Looks at one source, seen by those who make them and by those who wait for them. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looks {
    /// None: nothing waits.
    shared: Option<Arc<Shared>>,
}

/// When something came: how many looks had begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrival(u64);

#[derive(Debug, Default)]
struct Shared {
    begun: AtomicU64,
    /// The last that has found what is captured.
    good: watch::Sender<u64>,
    /// Somebody waits for one.
    wanted: Notify,
}

// === impl Looks ===

impl Looks {
    /// Of a source that is looked at.
    pub(crate) fn needed() -> Self {
        Self { shared: Some(Arc::default()) }
    }

    /// What comes now. Asked after it has come.
    pub(crate) fn arrival(&self) -> Arrival {
        let begun = self.shared.as_ref().map(|shared| shared.begun.load(Ordering::SeqCst));
        Arrival(begun.unwrap_or_default())
    }

    /// Whether what came then may be recorded.
    pub(crate) fn lets_pass(&self, Arrival(begun): Arrival) -> bool {
        self.shared.as_ref().is_none_or(|shared| *shared.good.borrow() > begun)
    }

    /// Completes when what came then may be recorded. Cancel-safe.
    pub(crate) async fn passed(&self, Arrival(begun): Arrival) {
        let Some(shared) = &self.shared else { return };
        let mut good = shared.good.subscribe();
        while *good.borrow_and_update() <= begun {
            shared.wanted.notify_one();
            good.changed().await.expect("the sender is in use");
        }
    }

    /// Completes when somebody has begun to wait since it last did; never where nobody ever does. Cancel-safe.
    pub(crate) async fn wanted(&self) {
        match &self.shared {
            Some(shared) => shared.wanted.notified().await,
            None => std::future::pending().await,
        }
    }

    /// A look begins: called before the source is asked. Gives its number.
    pub(crate) fn begin(&self) -> u64 {
        let begun = self.shared.as_ref().map(|shared| shared.begun.fetch_add(1, Ordering::SeqCst));
        begun.unwrap_or_default() + 1
    }

    /// It has found what is captured: so what had come before it began may be recorded.
    pub(crate) fn found(&self, look: u64) {
        if let Some(shared) = &self.shared {
            shared.good.send_replace(look);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_over(future: impl Future) -> bool {
        tokio::select! {
            biased;
            _ = future => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn what_has_come_waits_for_a_look_that_began_later() {
        let looks = Looks::needed();
        let first = looks.begin();
        let during = looks.arrival();
        looks.found(first);
        assert!(!looks.lets_pass(during));
        assert!(!is_over(looks.passed(during)).await);
        // Who waits is noticed once.
        assert!(is_over(looks.wanted()).await);
        assert!(!is_over(looks.wanted()).await);
        // One that ended in nothing lets nothing pass.
        let lost = looks.begin();
        assert!(!looks.lets_pass(during));
        looks.found(looks.begin());
        assert!(looks.lets_pass(during) && lost > first);
        assert!(is_over(looks.passed(during)).await);
        assert!(!looks.lets_pass(looks.arrival()));
    }

    #[tokio::test]
    async fn without_looks_everything_passes() {
        let looks = Looks::default();
        assert!(looks.lets_pass(looks.arrival()));
        assert!(is_over(looks.passed(looks.arrival())).await);
        assert!(!is_over(looks.wanted()).await);
    }
}
