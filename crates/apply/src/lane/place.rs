//! Where to read on, in a journal that may not be the one that a checkpoint was written with.
//!
//! A checkpoint names places in the journal. Where the journal was put back from a copy, or its disk has lost what it
//! had called durable, capture reads the source again from an earlier place and other records come to stand there.
//! Guarantees: no record is passed over that is after what has been judged. Positions decide what is applied; this
//! only finds where to begin.

use std::collections::BTreeMap;
use std::time::Duration;

use journal::{Description, Entry, Journal, Offset, Partition, ReadLimit};
use runtime::Clock;
use runtime::clock::{Elapsed, timeout};

use crate::error::Error;
use crate::limits;
use crate::scope::{Line, Point, Scope};

/// A journal, and up to where each line has been judged.
pub(super) struct Places<'a> {
    pub(super) journal: &'a dyn Journal,
    pub(super) judged: &'a [Point],
    pub(super) scope: &'a Scope,
    pub(super) clock: &'a dyn Clock,
}

// === impl Places ===

impl Places<'_> {
    /// Per partition of the lane, the last offset at or before `needed` with nothing new before it; none if that is
    /// `needed` everywhere.
    pub(super) async fn find(
        &self,
        description: &Description,
        needed: &[u64],
    ) -> Result<Option<Vec<u64>>, Error> {
        let mut found = needed.to_vec();
        let mut last = BTreeMap::new();
        for ((number, place), needed) in self.scope.numbers.iter().zip(&mut found).zip(needed) {
            let range = description.partitions.get(usize::from(*number)).copied();
            let range = range.unwrap_or_default();
            // What has left the journal is for the reader to tell.
            if *needed > range.start.0 {
                *place = (*needed).min(range.end.0);
                if *place > range.start.0 {
                    last.insert(Partition(*number), Offset(*place - 1));
                }
            }
        }
        // Nearly always none.
        for (partition, Offset(last)) in self.new_of(last).await? {
            let range = description.partitions.get(usize::from(partition.0)).copied();
            let begin = range.unwrap_or_default().start.0;
            let index = self.scope.index_of(partition.0);
            if let Some(place) = index.and_then(|index| found.get_mut(index)) {
                *place = self.find_in(partition, begin, last).await?;
            }
        }
        Ok((found != needed).then_some(found))
    }

    /// Those of these records that come after what has been judged. One reader reads them all, as far as they lie close
    /// to one another; where they do not, another begins at the next of them.
    async fn new_of(
        &self,
        mut wanted: BTreeMap<Partition, Offset>,
    ) -> Result<Vec<(Partition, Offset)>, Error> {
        let mut found = Vec::new();
        while !wanted.is_empty() {
            let from = wanted.iter().map(|(partition, offset)| (*partition, *offset)).collect();
            let mut reader = self.journal.reader(from).await?;
            let mut entries = reader.next(PROBE).await?;
            loop {
                // Those behind the first of a partition are not looked at.
                let firsts = entries
                    .iter()
                    .filter_map(|entry| Some((entry, wanted.remove(&entry.partition)?)));
                for (entry, offset) in firsts {
                    if self.is_new(entry)? {
                        found.push((entry.partition, offset));
                    }
                }
                if wanted.is_empty() {
                    break;
                }
                match timeout(self.clock, NEAR, reader.next(PROBE)).await {
                    Ok(more) => entries = more?,
                    Err(Elapsed(_)) => break,
                }
            }
        }
        Ok(found)
    }

    /// Positions grow along a partition: if the record before a place is not new, nothing before it is.
    async fn find_in(&self, partition: Partition, begin: u64, end: u64) -> Result<u64, Error> {
        let (mut old, mut new) = (begin, end);
        while old < new {
            let middle = old + (new - old) / 2;
            match self.new_of(BTreeMap::from([(partition, Offset(middle))])).await?.is_empty() {
                true => old = middle + 1,
                false => new = middle,
            }
        }
        Ok(new)
    }

    /// Whether a record comes after what has been judged.
    fn is_new(&self, entry: &Entry) -> Result<bool, Error> {
        let event = event::codec::decode(entry.payload.clone());
        let (Partition(partition), Offset(offset)) = (entry.partition, entry.offset);
        let event = event.map_err(|source| Error::Record { partition, offset, source })?;
        let index = self.scope.index_of(partition).unwrap_or_default();
        let line = Line { track: self.scope.track(index), shard: event.position.shard };
        let judged = self.judged.iter().find(|judged| judged.line() == line);
        Ok(judged.is_some_and(|judged| event.position.is_after(&judged.position)))
    }
}

/// What is read at once where a few records are wanted that may lie among others.
const PROBE: ReadLimit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };

/// What does not come within this lies far off: about as long as a new reader takes to begin.
const NEAR: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
