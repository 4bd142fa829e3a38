//! Which snapshots a journal holds, from its beginning to its end.
//!
//! Guarantees: a snapshot counts as complete only where every partition of the stream has its beginning and its end;
//! what has left the journal, or was lost with a crash of it, does not count, nor what the source's history has left
//! behind. Each record is read once, however often it is looked.

use std::collections::{BTreeMap, BTreeSet};

use event::control::{Control, EpochCause};
use event::{Body, Position, Shard, codec};
use journal::{Description, Entry, Journal, Offset, Partition, PartitionRange, ReadLimit};
use wire::slot::Slots;

use crate::error::Error;
use crate::limits;

/// What has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Per partition, what has been read and survives a crash of the journal.
    read: Vec<Offset>,
    snapshots: Vec<Snapshot>,
    branches: Vec<Branch>,
    /// The epochs, and the last place of each that was met.
    epochs: BTreeMap<(Shard, u64), Reach>,
    /// The slots that each shard says it has; none: all.
    slots: BTreeMap<Shard, Option<Slots>>,
}

/// A snapshot, or what there is of it.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Whose.
    pub(crate) shard: Shard,
    /// In which epoch: one that it begins, unless it was made on demand.
    pub(crate) epoch: u64,
    /// Not 0: made on demand, beside the stream.
    pub(crate) id: u64,
    /// The place in the source's history that it shows; none: not known yet.
    pub(crate) at: Option<Position>,
    /// Nothing that it shows was written later, Unix milliseconds by the source's clock.
    pub(crate) time_ms: i64,
    parts: Vec<Part>,
}

/// Where a snapshot stands in one partition.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    begin: Option<u64>,
    end: Option<u64>,
}

/// Where the source's history goes on under another primary, as told in one partition.
#[derive(Clone, Copy, Debug)]
struct Branch {
    shard: Shard,
    /// The epoch that begins there.
    epoch: u64,
    /// The last place that both have.
    last: u64,
    partition: u16,
    offset: u64,
}

/// The last place of an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The place.
    pub(crate) last: Position,
    /// When it was, Unix milliseconds.
    pub(crate) time_ms: i64,
}

// === impl Survey ===

impl Survey {
    /// Reads what the journal holds now and was not read before.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn read(
        &mut self,
        journal: &dyn Journal,
        description: &Description,
    ) -> Result<(), Error> {
        let ranges = &description.partitions;
        self.forget(ranges);
        let pairs = (0..).map(Partition).zip(&self.read);
        let from: Vec<_> = pairs.map(|(partition, read)| (partition, *read)).collect();
        let is_behind = |(read, range): &(&Offset, &PartitionRange)| **read < range.end;
        let mut left = self.read.iter().zip(ranges).filter(is_behind).count();
        if left == 0 {
            return Ok(());
        }
        let mut reader = journal.reader(from).await?;
        while left > 0 {
            let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
            for entry in reader.next(limit).await? {
                let range = ranges.get(usize::from(entry.partition.0));
                let end = range.map_or(Offset(0), |range| range.end);
                left -= usize::from(entry.offset.after(1) == end);
                self.note(entry, ranges.len())?;
            }
        }
        for (read, range) in self.read.iter_mut().zip(ranges) {
            *read = range.end.min(range.durable);
        }
        Ok(())
    }

    /// The snapshots that there is anything of, but for those that hold what the source has left behind.
    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().filter(|snapshot| !self.is_left_behind(snapshot))
    }

    /// Whether a snapshot was made on demand behind the place where a new primary took over: it is ahead of the stream,
    /// so it may show changes that the new one never had.
    fn is_left_behind(&self, snapshot: &Snapshot) -> bool {
        let (Some(at), true) = (snapshot.at, snapshot.id != 0) else { return false };
        let of_shard = self.snapshots.iter().filter(|of| of.shard == snapshot.shard && of.id == 0);
        // Offsets are not compared over a snapshot of the stream.
        let next = of_shard.map(|of| of.epoch).filter(|epoch| *epoch > snapshot.epoch).min();
        self.branches.iter().any(|branch| {
            branch.shard == snapshot.shard
                && branch.epoch > snapshot.epoch
                && next.is_none_or(|next| branch.epoch < next)
                && branch.last < at.offset
        })
    }

    /// The epochs, in order, and how far each has come.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = (u64, &Reach)> {
        self.epochs.iter().map(|((_, epoch), reach)| (*epoch, reach))
    }

    /// The shards that there is anything of.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        let mut shards: Vec<Shard> = self.epochs.keys().map(|(shard, _)| *shard).collect();
        shards.dedup();
        shards
    }

    /// The shards that there is a snapshot to begin with of.
    pub(crate) fn may_begin(&self) -> BTreeSet<Shard> {
        self.snapshots().filter(|of| of.may_be_begun_with()).map(|of| of.shard).collect()
    }

    /// The slots that the shards have together.
    pub(crate) fn slots(&self) -> Slots {
        let all = self.slots.values().map(|slots| slots.clone().unwrap_or_else(Slots::all));
        all.fold(Slots::default(), |known, more| known.or(&more))
    }

    /// Two shards that have slots in common, and which.
    pub(crate) fn shared_slots(&self) -> Option<(Shard, Shard, Slots)> {
        let all = |slots: &Option<Slots>| slots.clone().unwrap_or_else(Slots::all);
        let mut others = self.slots.iter();
        while let Some((shard, slots)) = others.next() {
            let mine = all(slots);
            for (other, theirs) in others.clone() {
                let common = mine.and(&all(theirs));
                if !common.is_empty() {
                    return Some((*shard, *other, common));
                }
            }
        }
        None
    }

    /// Whether the source is a cluster.
    pub(crate) fn is_of_cluster(&self) -> bool {
        self.slots.values().any(Option::is_some)
    }

    /// Forgets what has left the journal, and what is read again.
    fn forget(&mut self, ranges: &[PartitionRange]) {
        self.read.resize(ranges.len(), Offset(0));
        for (read, range) in self.read.iter_mut().zip(ranges) {
            *read = (*read).clamp(range.start, range.end);
        }
        let read = &self.read;
        for snapshot in &mut self.snapshots {
            for ((part, range), read) in snapshot.parts.iter_mut().zip(ranges).zip(read) {
                let is_there = |offset: &u64| (range.start..*read).contains(&Offset(*offset));
                part.begin = part.begin.filter(is_there);
                part.end = part.end.filter(is_there);
            }
        }
        self.branches.retain(|branch| {
            let index = usize::from(branch.partition);
            let known = ranges.get(index).zip(read.get(index));
            known.is_some_and(|(range, read)| (range.start..*read).contains(&Offset(branch.offset)))
        });
        self.snapshots.retain(|snapshot| {
            snapshot.parts.iter().any(|part| part.begin.is_some() || part.end.is_some())
        });
    }

    fn note(&mut self, entry: Entry, partitions: usize) -> Result<(), Error> {
        let Entry { partition: Partition(partition), offset, timestamp_ms, payload } = entry;
        // Almost all is of the stream, and tells only how far it goes.
        if let Some(glance) = codec::Glance::at(&payload) {
            self.pass(glance.position, timestamp_ms);
            return Ok(());
        }
        let decoded = codec::decode_lean(payload);
        let event =
            decoded.map_err(|source| Error::Record { partition, offset: offset.0, source })?;
        let id = event.snapshot_id();
        let position = event.position;
        if let Body::Control(control) = &event.body
            && let Some(slots) = control.slots()
        {
            self.slots.insert(position.shard, slots.cloned());
        }
        if let Body::Control(Control::EpochBegin(begin)) = &event.body
            && begin.cause == EpochCause::Continued
        {
            let (shard, epoch, last) = (position.shard, position.epoch, begin.branch_offset);
            let branch = Branch { shard, epoch, last, partition, offset: offset.0 };
            self.branches.push(branch);
        }
        let (begins, ends) = match &event.body {
            Body::Control(Control::EpochBegin(begin)) => {
                (begin.cause == EpochCause::FullResync, false)
            }
            Body::Control(Control::SnapshotBegin(_)) => (id != 0, false),
            Body::Control(Control::SnapshotEnd(_)) => (false, true),
            _ => (false, false),
        };
        if id == 0 {
            self.pass(position, timestamp_ms);
        }
        if !begins && !ends && id == 0 {
            return Ok(());
        }
        let snapshot = self.snapshot((position.shard, position.epoch, id), partitions);
        // One made on demand begins where the stream has come to: what it shows is further on.
        if id == 0 || !begins {
            snapshot.at = Some(position.at_index(0));
        }
        snapshot.time_ms = snapshot.time_ms.max(timestamp_ms);
        if let Some(part) = snapshot.parts.get_mut(usize::from(partition)) {
            part.begin = if begins { Some(offset.0) } else { part.begin };
            part.end = if ends { Some(offset.0) } else { part.end };
        }
        Ok(())
    }

    /// A record of the stream.
    fn pass(&mut self, position: Position, time_ms: i64) {
        let reach = Reach { last: position, time_ms };
        let known = self.epochs.entry((position.shard, position.epoch)).or_insert(reach);
        if position.is_after(&known.last) {
            *known = reach;
        }
        // What was written before a snapshot was made on demand may have come after it was begun.
        let of = (position.shard, position.epoch);
        let beside = self.snapshots.iter_mut().filter(|of_epoch| of_epoch.id != 0);
        for snapshot in beside.filter(|snapshot| (snapshot.shard, snapshot.epoch) == of) {
            if snapshot.at.is_some_and(|at| position.offset <= at.offset) {
                snapshot.time_ms = snapshot.time_ms.max(time_ms);
            }
        }
    }

    fn snapshot(&mut self, of: (Shard, u64, u64), partitions: usize) -> &mut Snapshot {
        let (shard, epoch, id) = of;
        let is_it = |known: &Snapshot| (known.shard, known.epoch, known.id) == of;
        let index = self.snapshots.iter().position(is_it).unwrap_or_else(|| {
            let parts = vec![Part::default(); partitions];
            self.snapshots.push(Snapshot { shard, epoch, id, at: None, time_ms: 0, parts });
            self.snapshots.len() - 1
        });
        self.snapshots.get_mut(index).expect("it was found or put there")
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// Whether one can begin with it: one that is part of the stream may still be under way.
    pub(crate) fn may_be_begun_with(&self) -> bool {
        match self.id {
            0 => self.has_begun(),
            _ => self.is_complete(),
        }
    }

    /// Whether all of it is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.at.is_some()
            && self.parts.iter().all(|part| part.begin.is_some() && part.end.is_some())
    }

    /// Whether its end is in every partition.
    pub(crate) fn has_ended(&self) -> bool {
        self.parts.iter().all(|part| part.end.is_some())
    }

    /// Whether its beginning is in any partition.
    pub(crate) fn has_begun(&self) -> bool {
        self.parts.iter().any(|part| part.begin.is_some())
    }

    /// Where it begins in a partition, if it does there.
    pub(crate) fn begin(&self, partition: u16) -> Option<u64> {
        self.parts.get(usize::from(partition))?.begin
    }

    /// Its place among those of its shard: by what it shows.
    pub(crate) fn order(&self) -> (u64, u64) {
        (self.epoch, self.at.map_or(0, |at| at.offset))
    }
}

#[cfg(test)]
pub(crate) mod tests;
