//! Bytes in flight, as permits that travel with the data they stand for.
//!
//! Guarantees: the permits that exist never stand for more than the budget; they are granted in
//! the order asked, so a large request is not starved by small ones; dropping a permit returns
//! it. A request larger than the whole budget takes the whole: one such item passes, alone.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// A number of bytes that may be in flight at once. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    total_bytes: u64,
    /// Bytes per semaphore permit: 1 up to 4 GiB, since one request counts permits in 32 bits.
    unit_bytes: u64,
}

/// The right to hold some bytes in memory. Returned on drop.
#[derive(Debug)]
pub struct Permit {
    held: OwnedSemaphorePermit,
    unit_bytes: u64,
}

// === impl Budget ===

impl Budget {
    /// A budget of `total_bytes`, at least one byte.
    #[must_use]
    pub fn new(total_bytes: u64) -> Self {
        let total_bytes = total_bytes.max(1);
        let unit_bytes = total_bytes.div_ceil(u64::from(u32::MAX));
        let units = usize::try_from(total_bytes / unit_bytes).unwrap_or(Semaphore::MAX_PERMITS);
        Self { semaphore: Arc::new(Semaphore::new(units)), total_bytes, unit_bytes }
    }

    /// Waits until `bytes` are free. Cancel-safe: a dropped wait loses only its place in line.
    pub async fn acquire(&self, bytes: u64) -> Permit {
        let held = Arc::clone(&self.semaphore)
            .acquire_many_owned(self.units(bytes))
            .await
            .expect("the semaphore of a budget is never closed");
        Permit { held, unit_bytes: self.unit_bytes }
    }

    /// Takes `bytes` if they are free now and nobody waits for them.
    #[must_use]
    pub fn try_acquire(&self, bytes: u64) -> Option<Permit> {
        match Arc::clone(&self.semaphore).try_acquire_many_owned(self.units(bytes)) {
            Ok(held) => Some(Permit { held, unit_bytes: self.unit_bytes }),
            Err(TryAcquireError::NoPermits) => None,
            Err(TryAcquireError::Closed) => unreachable!("a budget is never closed"),
        }
    }

    /// Bytes that permits stand for now.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let free = (self.semaphore.available_permits() as u64).saturating_mul(self.unit_bytes);
        self.total_bytes.saturating_sub(free)
    }

    /// Bytes in all.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    fn units(&self, bytes: u64) -> u32 {
        let whole = self.total_bytes / self.unit_bytes;
        let wanted = bytes.div_ceil(self.unit_bytes).min(whole);
        u32::try_from(wanted).expect("the unit is chosen so that the whole budget fits 32 bits")
    }
}

// === impl Permit ===

impl Permit {
    /// Bytes that this permit stands for (rounded up to the unit of a budget above 4 GiB).
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.held.num_permits() as u64).saturating_mul(self.unit_bytes)
    }

    /// Takes `bytes` out of this permit into one of its own; all of it if it holds less.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let wanted = usize::try_from(bytes.div_ceil(self.unit_bytes)).unwrap_or(usize::MAX);
        let count = wanted.min(self.held.num_permits());
        let held = self.held.split(count).expect("count is at most what is held");
        Self { held, unit_bytes: self.unit_bytes }
    }

    /// Adds another permit of the same budget to this one.
    ///
    /// # Panics
    /// If the other permit comes from another budget.
    pub fn merge(&mut self, other: Self) {
        self.held.merge(other.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_holds_its_bytes_until_it_is_dropped() {
        let budget = Budget::new(100);
        let first = budget.acquire(70).await;
        assert_eq!(budget.used_bytes(), 70);
        assert!(budget.try_acquire(31).is_none());
        drop(first);
        assert_eq!(budget.try_acquire(31).map(|permit| permit.bytes()), Some(31));
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn a_request_above_the_whole_waits_for_the_whole_and_passes_alone() {
        let budget = Budget::new(10);
        let small = budget.acquire(1).await;
        assert!(budget.try_acquire(1_000).is_none());
        drop(small);
        let huge = budget.acquire(1_000).await;
        assert_eq!((huge.bytes(), budget.used_bytes()), (10, 10));
    }

    #[tokio::test]
    async fn a_waiting_large_request_is_not_overtaken_by_small_ones() {
        let budget = Budget::new(10);
        let held = budget.acquire(5).await;
        let mut large = Box::pin(budget.acquire(8));
        let waits =
            std::future::poll_fn(|cx| std::task::Poll::Ready(large.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        assert!(budget.try_acquire(1).is_none());
        drop(held);
        assert_eq!(large.await.bytes(), 8);
    }

    #[tokio::test]
    async fn splitting_and_merging_keep_the_sum() {
        let budget = Budget::new(100);
        let mut permit = budget.acquire(50).await;
        let part = permit.split(20);
        assert_eq!((permit.bytes(), part.bytes(), budget.used_bytes()), (30, 20, 50));
        permit.merge(part);
        assert_eq!((permit.bytes(), permit.split(900).bytes()), (50, 50));
    }

    #[tokio::test]
    async fn budgets_above_four_gibibytes_are_whole_too() {
        let budget = Budget::new(1 << 40);
        let permit = budget.acquire(1 << 40).await;
        assert!(budget.try_acquire(1).is_none());
        assert!(permit.bytes() <= 1 << 40);
    }
}
