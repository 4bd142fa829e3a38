//! Where to read on, in a journal that may not be the one that a checkpoint was written with.
//!
//! A checkpoint names places in the journal. Where the journal was put back from a copy, or its disk has lost what it
//! had called durable, capture reads the source again from an earlier place and other records come to stand there.
//! Guarantees: no record is passed over that is after what has been judged, but of a shard that has written nothing among
//! very many records of others. Positions decide what is applied; this only finds where to begin.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Body, Event, Shard};
use journal::{Description, Entry, Journal, Offset, Partition, ReadLimit};
use runtime::Clock;
use runtime::clock::{Elapsed, timeout};
use wire::slot::Slots;

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

/// By shard, the slots that it says it has; none: all.
pub(super) type Told = BTreeMap<Shard, Option<Slots>>;

/// What records were found to be.
#[derive(Debug, Default)]
struct Looked {
    /// They come after what has been judged.
    new: Vec<(Partition, Offset)>,
    /// They are of a snapshot made on demand.
    beside: Vec<(Partition, Offset)>,
}

// === impl Places ===

impl Places<'_> {
    /// Per partition of the lane, the last offset at or before `needed` with nothing new before it; none if that is
    /// `needed` everywhere. And what was met of the slots of several shards.
    pub(super) async fn find(
        &self,
        description: &Description,
        needed: &[u64],
    ) -> Result<(Option<Vec<u64>>, Told), Error> {
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
        // Of several shards each has an order of its own.
        let (mixed, last): (BTreeMap<_, _>, BTreeMap<_, _>) =
            last.into_iter().partition(|(partition, _)| self.shards(*partition) > 1);
        let (new, told) = self.any_new(description, mixed).await?;
        for partition in new {
            let index = self.scope.index_of(partition.0);
            if let Some(place) = index.and_then(|index| found.get_mut(index)) {
                *place = begin_of(description, partition);
            }
        }
        let Looked { new, beside } = self.look(last).await?;
        // Nearly always none.
        let mut searched = new;
        for (partition, last) in beside {
            if self.ends_new(partition, begin_of(description, partition), last).await? {
                searched.push((partition, last));
            }
        }
        for (partition, Offset(last)) in searched {
            let begin = begin_of(description, partition);
            let index = self.scope.index_of(partition.0);
            if let Some(place) = index.and_then(|index| found.get_mut(index)) {
                *place = self.find_in(partition, begin, last).await?;
            }
        }
        Ok(((found != needed).then_some(found), told))
    }

    /// How many shards have been applied of the track of a partition.
    fn shards(&self, partition: Partition) -> usize {
        let track = self.scope.index_of(partition.0).map(|index| self.scope.track(index));
        self.judged.iter().filter(|judged| Some(judged.track) == track).count()
    }

    /// In which of these partitions the last record of any shard, up to the place named, comes after what has been judged of
    /// it. Each heartbeat is one, so they are near; a shard of which nothing is near is not looked for. One reader reads
    /// all of them at a time.
    async fn any_new(
        &self,
        description: &Description,
        mut wanted: BTreeMap<Partition, Offset>,
    ) -> Result<(Vec<Partition>, Told), Error> {
        let (mut found, mut told, mut window) = (Vec::new(), Told::new(), FIRST_WINDOW);
        while !wanted.is_empty() {
            let from = |(partition, last): (&Partition, &Offset)| {
                let first = last.after(1).0.saturating_sub(window);
                (*partition, Offset(first.max(begin_of(description, *partition))))
            };
            let from: BTreeMap<_, _> = wanted.iter().map(from).collect();
            let mut verdicts = self.last_of_each(&from, &wanted, &mut told).await?;
            wanted.retain(|partition, _| {
                let verdicts = verdicts.remove(partition).unwrap_or_default();
                let is_new = verdicts.values().any(|is_new| *is_new);
                if is_new {
                    found.push(*partition);
                }
                let begin = Some(Offset(begin_of(description, *partition)));
                let is_read = from.get(partition).copied() <= begin || window >= LONGEST_WINDOW;
                !is_new && !is_read && verdicts.len() < self.shards(*partition)
            });
            window = window.saturating_mul(WINDOW_GROWTH);
        }
        Ok((found, told))
    }

    /// By partition and shard that was judged there, whether its last record comes after that: of those between two places.
    async fn last_of_each(
        &self,
        from: &BTreeMap<Partition, Offset>,
        to: &BTreeMap<Partition, Offset>,
        told: &mut Told,
    ) -> Result<BTreeMap<Partition, BTreeMap<Shard, bool>>, Error> {
        let mut verdicts: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut missing = to.clone();
        let from = from.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        let mut reader = self.journal.reader(from).await?;
        while !missing.is_empty() {
            for entry in reader.next(PROBE).await? {
                let Some(last) = missing.get(&entry.partition).copied() else { continue };
                if entry.offset <= last {
                    let event = event_of(&entry)?;
                    if let Some((shard, Some(is_new))) = self.judge(&entry, &event) {
                        verdicts.entry(entry.partition).or_default().insert(shard, is_new);
                    }
                    if let Body::Control(control) = &event.body
                        && let Some(slots) = control.slots()
                    {
                        told.insert(event.position.shard, slots.cloned());
                    }
                }
                if entry.offset >= last {
                    missing.remove(&entry.partition);
                }
            }
        }
        Ok(verdicts)
    }

    /// Looks at these records. One reader reads them all, as far as they lie close to one another; where they do not,
    /// another begins at the next of them.
    async fn look(&self, mut wanted: BTreeMap<Partition, Offset>) -> Result<Looked, Error> {
        let mut looked = Looked::default();
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
                    match self.is_new(entry)? {
                        Some(true) => looked.new.push((entry.partition, offset)),
                        Some(false) => {}
                        None => looked.beside.push((entry.partition, offset)),
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
        Ok(looked)
    }

    /// Whether the last record of the stream up to `last` comes after what has been judged. The record at `last` is there.
    async fn ends_new(
        &self,
        partition: Partition,
        begin: u64,
        last: Offset,
    ) -> Result<bool, Error> {
        let mut window = FIRST_WINDOW;
        loop {
            let from = last.after(1).0.saturating_sub(window).max(begin);
            let mut reader = self.journal.reader(vec![(partition, Offset(from))]).await?;
            let (mut verdict, mut read) = (None, false);
            while !read {
                for entry in reader.next(PROBE).await? {
                    if entry.offset <= last {
                        verdict = self.is_new(&entry)?.or(verdict);
                    }
                    read |= entry.offset >= last;
                }
            }
            if verdict.is_some() || from == begin {
                return Ok(verdict == Some(true));
            }
            window = window.saturating_mul(WINDOW_GROWTH);
        }
    }

    /// Positions of the stream grow along a partition: if the record before a place is not new, nothing before it is.
    async fn find_in(&self, partition: Partition, begin: u64, end: u64) -> Result<u64, Error> {
        let (mut old, mut new) = (begin, end);
        while old < new {
            let middle = old + (new - old) / 2;
            match self.goes_on_new(partition, middle, new).await? {
                true => new = middle,
                false => old = middle + 1,
            }
        }
        Ok(new)
    }

    /// Whether the first record of the stream from `from` on comes after what has been judged; also if there is none
    /// before `to`. A record at `to` or behind it is there.
    async fn goes_on_new(&self, partition: Partition, from: u64, to: u64) -> Result<bool, Error> {
        let mut reader = self.journal.reader(vec![(partition, Offset(from))]).await?;
        loop {
            for entry in reader.next(PROBE).await? {
                if entry.offset.0 >= to {
                    return Ok(true);
                }
                if let Some(is_new) = self.is_new(&entry)? {
                    return Ok(is_new);
                }
            }
        }
    }

    /// Whether a record comes after what has been judged; none: it is of a snapshot made on demand, whose position says
    /// nothing about the stream.
    fn is_new(&self, entry: &Entry) -> Result<Option<bool>, Error> {
        let judged = self.judge(entry, &event_of(entry)?);
        Ok(judged.map(|(_, is_new)| is_new == Some(true)))
    }

    /// The same, and the shard that it is of; none of one that nothing has been judged of.
    fn judge(&self, entry: &Entry, event: &Event) -> Option<(Shard, Option<bool>)> {
        if event.snapshot_id() != 0 {
            return None;
        }
        let index = self.scope.index_of(entry.partition.0).unwrap_or_default();
        let line = Line { track: self.scope.track(index), shard: event.position.shard };
        let judged = self.judged.iter().find(|judged| judged.line() == line);
        let is_new = judged.map(|judged| event.position.is_after(&judged.position));
        Some((line.shard, is_new))
    }
}

fn event_of(entry: &Entry) -> Result<Event, Error> {
    let event = event::codec::decode(entry.payload.clone());
    let (Partition(partition), Offset(offset)) = (entry.partition, entry.offset);
    event.map_err(|source| Error::Record { partition, offset, source })
}

fn begin_of(description: &Description, partition: Partition) -> u64 {
    let range = description.partitions.get(usize::from(partition.0)).copied();
    range.unwrap_or_default().start.0
}

/// What is read at once where a few records are wanted that may lie among others.
const PROBE: ReadLimit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };

/// So many records are looked at first for one of the stream among those of a snapshot made on demand: heartbeats are
/// among them.
const FIRST_WINDOW: u64 = 4_096;

/// Each further try looks back this many times farther.
const WINDOW_GROWTH: u64 = 8;

/// No farther, for a shard that has been silent for so long: more heartbeats of others than any of them lags behind.
const LONGEST_WINDOW: u64 = FIRST_WINDOW * WINDOW_GROWTH * WINDOW_GROWTH;

/// What does not come within this lies far off: about as long as a new reader takes to begin.
const NEAR: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
