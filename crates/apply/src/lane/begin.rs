//! Where a lane without a usable checkpoint begins: at the newest snapshot of every shard that the journal holds, or at
//! the one that it is told to begin with.

use event::checkpoint::Resync;
use event::{Position, Shard};
use journal::{Description, Journal, Offset};

use crate::error::Error;
use crate::progress::Progress;
use crate::replay::Beginning;
use crate::scope::{Line, Point, Scope};
use crate::survey::Survey;

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
        refuse_shared(&scope.stream, survey)?;
        let newest = |shard: &Shard| {
            let snapshots = survey.snapshots().filter(|of| of.shard == *shard);
            snapshots.filter(|of| of.may_be_begun_with()).max_by_key(|snapshot| snapshot.order())
        };
        let starts: Vec<u64> = description.partitions.iter().map(|range| range.start.0).collect();
        let found = shards.iter().filter_map(newest);
        let snapshots: Vec<_> = found.map(|found| Beginning::of(found, &starts)).collect();
        // What has held something begins in the middle of a history.
        let is_new = description.partitions.iter().all(|range| range.end == Offset(0));
        let has_snapshot = |shard: &&Shard| snapshots.iter().any(|of| of.position.shard == **shard);
        if let Some(shard) = shards.iter().find(|shard| !has_snapshot(shard)) {
            return Err(Error::NoSnapshot { stream: scope.stream.clone(), shard: *shard });
        }
        if snapshots.is_empty() && !is_new {
            return Err(Error::NoSnapshot { stream: scope.stream.clone(), shard: Shard(0) });
        }
        let missing = survey.slots().others();
        if !snapshots.is_empty() && !missing.is_empty() {
            let (stream, slots) = (scope.stream.clone(), missing.to_string());
            return Err(Error::AwaitsShards { stream, slots });
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

    /// A track begins so: with each snapshot where that begins, however far that is from where those of other shards do.
    pub(crate) fn begin(
        &self,
        progress: &mut Progress,
        (scope, track): (&Scope, usize),
        sweep: bool,
    ) {
        progress.begin(scope, track, &self.resyncs(sweep));
        for of in &self.snapshots {
            let line = Line { track, shard: of.position.shard };
            if progress.resyncs.get(&line).is_some_and(Resync::is_read_again) {
                let from = |number: &u16| of.offset(*number).unwrap_or_default();
                let from: Vec<u64> = scope.numbers.iter().map(from).collect();
                progress.read_again_from(scope, line, &from);
            }
        }
    }

    fn resyncs(&self, sweep: bool) -> Vec<Resync> {
        let resync = |of: &Beginning| {
            let Position { shard, epoch, .. } = of.position;
            Resync { shard, epoch, sweep, sweeping: false, snapshot_id: of.snapshot_id }
        };
        self.snapshots.iter().map(resync).collect()
    }

    /// The snapshot of a line's shard.
    pub(crate) fn of(&self, line: Line) -> Option<&Beginning> {
        self.snapshots.iter().find(|of| of.position.shard == line.shard)
    }

    /// Whether it leads on from everything that has been applied; where the history of a shard goes on without that
    /// (`beyond`), in a later epoch of it.
    pub(crate) fn leads_on(&self, applied: &[Point], beyond: Option<Shard>) -> bool {
        applied.iter().all(|point| {
            let applied = point.position;
            self.of(point.line()).is_some_and(|of| {
                let is_later = beyond != Some(applied.shard) || of.position.epoch > applied.epoch;
                of.position.is_after(&applied) && is_later
            })
        })
    }
}

/// Two shards that have the same slot: nothing tells which of two changes of a key comes first.
fn refuse_shared(stream: &str, survey: &Survey) -> Result<(), Error> {
    match survey.shared_slots() {
        None => Ok(()),
        Some((one, other, slots)) => {
            let (stream, slots) = (stream.to_owned(), slots.to_string());
            Err(Error::SharedSlots { stream, shards: (one, other), slots })
        }
    }
}

#[cfg(test)]
mod tests;
