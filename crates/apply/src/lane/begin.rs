//! Where a lane without a usable checkpoint begins: at the newest snapshot of every shard that the journal holds, or at
//! the one that it is told to begin with.

use event::checkpoint::Resync;
use event::{Position, Shard};
use journal::{Description, Journal, Offset};

use crate::error::Error;
use crate::replay::Beginning;
use crate::scope::{Line, Scope};
use crate::survey::{Snapshot, Survey};

/// Where to begin.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// Per partition of the lane, the first record to read.
    pub(crate) offsets: Vec<u64>,
    /// Per shard, the snapshot.
    pub(crate) snapshots: Vec<Beginning>,
}

// === impl Begin ===

impl Begin {
    /// Finds the newest snapshots in what the journal holds now: one that is part of the stream may still be under way,
    /// one made on demand is complete.
    ///
    /// # Errors
    /// When the journal cannot be read, or holds no snapshot although it holds something.
    pub(crate) async fn newest(
        survey: &mut Survey,
        (journal, description): (&dyn Journal, &Description),
        scope: &Scope,
    ) -> Result<Self, Error> {
        survey.read(journal, description).await?;
        let shards = survey.shards();
        // Those made on demand are told apart in a track, and of several shards not.
        let may_begin = |snapshot: &&Snapshot| match snapshot.id {
            0 => snapshot.has_begun(),
            _ => snapshot.is_complete() && shards.len() == 1,
        };
        let newest = |shard: &Shard| {
            let snapshots = survey.snapshots().filter(|of| of.shard == *shard);
            snapshots.filter(may_begin).max_by_key(|snapshot| snapshot.order())
        };
        let starts: Vec<u64> = description.partitions.iter().map(|range| range.start.0).collect();
        let found = shards.iter().filter_map(newest);
        let snapshots: Vec<_> = found.map(|found| Beginning::of(found, &starts)).collect();
        // What has held something begins in the middle of a history.
        let is_new = description.partitions.iter().all(|range| range.end == Offset(0));
        if snapshots.is_empty() && !is_new {
            return Err(Error::NoSnapshot { stream: scope.stream.clone(), shard: Shard(0) });
        }
        let begin = Self::at(snapshots, scope);
        Ok(if begin.snapshots.is_empty() {
            let of = |number: &u16| starts.get(usize::from(*number)).copied().unwrap_or_default();
            Self { offsets: scope.numbers.iter().map(of).collect(), ..begin }
        } else {
            begin
        })
    }

    /// With these snapshots, one of each shard.
    pub(crate) fn at(snapshots: Vec<Beginning>, scope: &Scope) -> Self {
        let first = |number: &u16| {
            let offsets = snapshots.iter().filter_map(|of| of.offset(*number));
            offsets.min().unwrap_or_default()
        };
        Self { offsets: scope.numbers.iter().map(first).collect(), snapshots }
    }

    /// What a track applies that begins so; none where there is no snapshot, or one of each of several shards.
    pub(crate) fn resync(&self, sweep: bool) -> Option<Resync> {
        let [only] = self.snapshots.as_slice() else { return None };
        let Position { shard, epoch, .. } = only.position;
        Some(Resync { shard, epoch, sweep, sweeping: false, snapshot_id: only.snapshot_id })
    }

    /// The snapshot of a line's shard.
    pub(crate) fn of(&self, line: Line) -> Option<&Beginning> {
        self.snapshots.iter().find(|of| of.position.shard == line.shard)
    }

    /// Whether it leads on from everything that has been applied; where the source's history goes on without that, in a
    /// later epoch.
    pub(crate) fn leads_on(&self, line: Line, applied: Position, is_beyond: bool) -> bool {
        self.of(line).is_some_and(|of| {
            of.position.is_after(&applied) && (!is_beyond || of.position.epoch > applied.epoch)
        })
    }
}

#[cfg(test)]
mod tests;
