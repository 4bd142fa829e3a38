//! Reads the last records of partitions.

use std::collections::BTreeMap;

use event::{Body, Shard, codec};
use journal::{Entry, Journal, Offset, Partition, PartitionRange, ReadLimit};

use super::Told;
use super::partition::PartitionTail;
use crate::error::ResumeError;

/// Memory that one step of the scan may take.
const READ_LIMIT: ReadLimit = ReadLimit { records: 4_096, bytes: 8 << 20 };

/// Looks at one journal as it was when it was described.
pub(super) struct Scanner<'a> {
    pub(super) journal: &'a dyn Journal,
    /// By partition.
    pub(super) ranges: &'a [PartitionRange],
    pub(super) shard: Shard,
    /// By shard, what it says of itself.
    pub(super) told: BTreeMap<Shard, Told>,
}

// === impl Scanner ===

impl Scanner<'_> {
    /// What the last `window` records of each wanted partition say; `wanted` is in order.
    pub(super) async fn scan(
        &mut self,
        wanted: &[usize],
        window: u64,
    ) -> Result<Vec<(usize, PartitionTail)>, ResumeError> {
        let mut tails = Vec::with_capacity(wanted.len());
        let mut from = Vec::new();
        for number in wanted {
            let range = self.ranges.get(*number).copied().unwrap_or_default();
            let first = Offset(range.end.0.saturating_sub(window).max(range.start.0));
            let scanned_to_start = first == range.start;
            tails.push((*number, PartitionTail::new(scanned_to_start)));
            if let Ok(partition) = u16::try_from(*number)
                && first < range.end
            {
                from.push((Partition(partition), first));
            }
        }
        let mut missing = from.len();
        if missing == 0 {
            return Ok(tails);
        }
        let mut reader = self.journal.reader(from).await?;
        while missing > 0 {
            for entry in reader.next(READ_LIMIT).await? {
                let number = usize::from(entry.partition.0);
                let end = self.ranges.get(number).copied().unwrap_or_default().end;
                if entry.offset >= end {
                    continue;
                }
                if entry.offset.after(1) == end {
                    missing -= 1;
                }
                let place = tails.binary_search_by_key(&number, |(wanted, _)| *wanted);
                if let Some((_, tail)) = place.ok().and_then(|place| tails.get_mut(place)) {
                    self.note(tail, entry)?;
                }
            }
        }
        Ok(tails)
    }

    fn note(&mut self, tail: &mut PartitionTail, entry: Entry) -> Result<(), ResumeError> {
        let place = (entry.partition, entry.offset);
        let event = codec::decode(entry.payload)
            .map_err(|source| ResumeError::Unreadable { place, source })?;
        if let Body::Control(control) = &event.body
            && let Some(slots) = control.slots()
        {
            let told = self.told.entry(event.position.shard).or_default();
            told.slots = slots.cloned();
            if let Some(name) = control.shard_name() {
                told.name = Some(name.to_owned());
            }
        }
        if event.position.shard == self.shard {
            tail.note(event);
        }
        Ok(())
    }
}
