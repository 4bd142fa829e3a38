//! Partitions that have no common order.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use journal::{Entry, Journal, MemoryJournal, Offset, Partition, ReadError, ReadLimit, Reader};
use runtime::Random;

/// Reads partitions as a broker gives them: each in its order, no two in one, and none that is held.
pub(crate) struct Unordered {
    readers: Vec<(Partition, Box<dyn Reader>)>,
    held: BTreeSet<Partition>,
    random: Random,
}

// === impl Unordered ===

impl Unordered {
    pub(crate) async fn open(
        journal: &MemoryJournal,
        from: Vec<(Partition, Offset)>,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let mut readers = Vec::new();
        for place in from {
            readers.push((place.0, journal.reader(vec![place]).await?));
        }
        Ok(Box::new(Self { readers, held: BTreeSet::new(), random: Random::from_seed(7) }))
    }
}

impl Reader for Unordered {
    fn next(&mut self, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        // A few of one partition at a time, so that others stay behind.
        let mut below = |most: usize| {
            usize::try_from(self.random.below(most as u64)).expect("it is below that")
        };
        let limit = ReadLimit { records: below(20).max(1), ..limit };
        let first = below(self.readers.len());
        let (before, after) = self.readers.split_at_mut(first);
        let free = after.iter_mut().chain(before).filter(|(of, _)| !self.held.contains(of));
        let next: Vec<_> = free.map(|(_, reader)| reader.next(limit)).collect();
        if next.is_empty() {
            return Box::pin(std::future::pending());
        }
        let next = futures::future::select_all(next);
        Box::pin(async { next.await.0 })
    }

    fn hold(&mut self, partitions: BTreeSet<Partition>) {
        self.held = partitions;
    }
}
