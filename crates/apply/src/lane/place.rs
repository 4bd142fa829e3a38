//! Where to read on, in a journal that may not be the one that a checkpoint was written with.
//!
//! A checkpoint names places in the journal. Where the journal was put back from a copy, or its disk has lost what it
//! had called durable, capture reads the source again from an earlier place and other records come to stand there.
//! Guarantees: no record is passed over that is after what has been judged. Positions decide what is applied; this
//! only finds where to begin.

use event::Position;
use journal::{Description, Journal, Offset, Partition, PartitionRange, ReadLimit};

use super::Scope;
use crate::error::Error;

/// A journal, and up to where each shard has been judged.
pub(super) struct Places<'a> {
    pub(super) journal: &'a dyn Journal,
    pub(super) judged: &'a [Position],
}

// === impl Places ===

impl Places<'_> {
    /// Per partition of the lane, the last offset at or before `needed` with nothing new before it; none if that is
    /// `needed` everywhere.
    pub(super) async fn find(
        &self,
        description: &Description,
        scope: &Scope,
        needed: &[u64],
    ) -> Result<Option<Vec<u64>>, Error> {
        let mut found = Vec::with_capacity(needed.len());
        for (number, needed) in (scope.first..=scope.last).zip(needed) {
            let range = description.partitions.get(usize::from(number)).copied();
            found.push(self.find_in(Partition(number), range.unwrap_or_default(), *needed).await?);
        }
        Ok((found != needed).then_some(found))
    }

    /// Positions grow along a partition: if the record before a place is not new, nothing before it is.
    async fn find_in(
        &self,
        partition: Partition,
        range: PartitionRange,
        needed: u64,
    ) -> Result<u64, Error> {
        let (mut old, mut new) = (range.start.0, needed.min(range.end.0));
        if needed <= old {
            // What has left the journal is for the reader to tell.
            return Ok(needed);
        }
        // Nearly always.
        if old < new && !self.is_new(partition, new - 1).await? {
            return Ok(new);
        }
        while old < new {
            let middle = old + (new - old) / 2;
            match self.is_new(partition, middle).await? {
                true => new = middle,
                false => old = middle + 1,
            }
        }
        Ok(new)
    }

    /// Whether a record comes after what has been judged.
    async fn is_new(&self, partition: Partition, offset: u64) -> Result<bool, Error> {
        let mut reader = self.journal.reader(vec![(partition, Offset(offset))]).await?;
        let entries = reader.next(ReadLimit { records: 1, bytes: 1 }).await?;
        let Some(entry) = entries.into_iter().next() else { return Ok(false) };
        let event = event::codec::decode(entry.payload);
        let event =
            event.map_err(|source| Error::Record { partition: partition.0, offset, source })?;
        let judged = self.judged.iter().find(|judged| judged.shard == event.position.shard);
        Ok(judged.is_some_and(|judged| event.position.is_after(judged)))
    }
}
