//! Events that are not about one key: epochs, snapshots, flushes. Pure.

use bytes::Bytes;
use event::Shard;
use event::checkpoint::Resync;
use event::control::{Control, EpochBegin, EpochCause};

use super::{Need, Place, Planner};
use crate::batch::Batch;
use crate::config::Existing;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::marks::Snapshot;
use crate::quarantine;
use crate::swap::Swap;

// === impl Planner ===

impl Planner {
    /// Plans a control event, or says what it needs first.
    pub(super) fn control(
        &mut self,
        place: &Place<'_>,
        control: &Control,
        batch: &mut Batch,
    ) -> Result<Option<Need>, Error> {
        match control {
            Control::EpochBegin(begin) => self.epoch(place, begin)?,
            Control::SnapshotEnd(end) if end.snapshot_id == 0 => {
                return Ok(self.snapshot_end(place));
            }
            Control::Flush { .. } | Control::SwapDb { .. } => {
                self.require_one_order(place)?;
                return Ok(Some(Need::Alone));
            }
            Control::Function(change) if self.first_partition == 0 => {
                self.function(place, change, batch)?;
            }
            Control::Barrier(_) => self.require_one_order(place)?,
            Control::SlotHandover(_) => {
                let what = "a slot that moves between shards";
                return Err(Error::Unsupported { what, position: place.position });
            }
            Control::SnapshotBegin(begin) if begin.snapshot_id == 0 => {
                self.forget_functions(place, batch)?;
            }
            Control::SnapshotBegin(_)
            | Control::SnapshotEnd(_)
            | Control::Function(_)
            | Control::Heartbeat(_) => {}
        }
        Ok(None)
    }

    /// Plans FLUSHALL, or FLUSHDB of the place's database, once it is known that nothing else lives there.
    pub(super) fn flush(
        &mut self,
        place: &Place<'_>,
        all: bool,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if !self.exact {
            return Ok(());
        }
        self.require_allowed(place, "FLUSHDB")?;
        let rules = &self.rules;
        let mut targets: Vec<u32> = match all {
            true => (0..rules.databases).filter(|db| self.is_target(*db)).collect(),
            false if rules.filters.db(place.db) => vec![rules.mapping.target(place.db)],
            false => Vec::new(),
        };
        // A database that is not there holds nothing: what came for it was set aside.
        self.held.release_where(|spot| spot.db >= rules.databases && targets.contains(&spot.db));
        targets.retain(|db| *db < rules.databases);
        targets.sort_unstable();
        targets.dedup();
        for db in targets {
            batch.flush(db, Self::sent(place));
            self.held.release_where(|spot| spot.db == db);
            self.deadlines.clear_db(db);
        }
        Ok(())
    }

    /// Databases and all libraries cannot be set aside: a destination that does not take the command stops the lane.
    pub(super) fn require_allowed(
        &self,
        place: &Place<'_>,
        command: &'static str,
    ) -> Result<(), Error> {
        match self.refusal(place, 0) {
            None => Ok(()),
            Some(said) => Err(Error::NotAllowed { command, position: place.position, said }),
        }
    }

    /// Plans SWAPDB, once it is known that nothing else lives there.
    pub(super) fn swap(
        &mut self,
        place: &Place<'_>,
        (first, second): (u32, u32),
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let target = |db| self.rules.mapping.target(db);
        let (first, second) = (target(first), target(second));
        if first == second || !self.exact {
            return Ok(());
        }
        self.require_allowed(place, "SWAPDB")?;
        batch.swap((first, second), self.rules.names.all().map(Bytes::as_ref), Self::sent(place));
        let swap = Swap::between(first, second);
        for (spot, why) in self.held.release_where(|spot| swap.moves(spot.db)) {
            self.held.hold(swap.follow(spot.db), &spot.key, &quarantine::moved(&why))?;
        }
        self.deadlines.exchange(first, second);
        Ok(())
    }

    /// Whether databases of the source that are taken go to this one.
    pub(crate) fn is_target(&self, db: u32) -> bool {
        self.rules.mapping.sources(db, |source| self.rules.filters.db(source)).next().is_some()
    }

    /// What a resync does to data that is not the stream's; the first one is to come if the lane is `fresh`.
    pub(crate) fn expect_existing(&mut self, existing: Existing, fresh: bool) {
        self.sweeps_first = fresh && existing == Existing::Sweep;
        self.spares_others = existing == Existing::Overwrite;
    }

    fn epoch(&mut self, place: &Place<'_>, begin: &EpochBegin) -> Result<(), Error> {
        let position = place.position;
        let applied = self.progress.of(position.shard).copied();
        match begin.cause {
            EpochCause::FullResync => {
                let sweep = (applied.is_some() && !self.spares_others) || self.sweeps_first;
                if applied.is_some() && !sweep {
                    tracing::warn!(
                        "everything is read again; what the source has removed meanwhile stays, since \
                         nothing tells it from what was there before (existing = overwrite)"
                    );
                }
                if sweep && self.progress.applied.iter().any(|other| other.shard != position.shard)
                {
                    let what = "a new snapshot of one of several shards";
                    return Err(Error::Unsupported { what, position });
                }
                self.begin_resync(place, sweep);
                Ok(())
            }
            EpochCause::Continued => match applied {
                Some(applied) if applied.offset > begin.branch_offset => {
                    Err(Error::ResyncNeeded { applied, branch_offset: begin.branch_offset })
                }
                _ => Ok(()),
            },
            EpochCause::SlotMoved => {
                let what = "a slot that moves between shards";
                Err(Error::Unsupported { what, position })
            }
        }
    }

    fn begin_resync(&mut self, place: &Place<'_>, sweep: bool) {
        let position = place.position;
        // Every key of the source comes again; others are not its.
        self.deadlines.clear();
        self.progress.resync =
            Some(Resync { shard: position.shard, epoch: position.epoch, sweep, sweeping: false });
        self.progress.snapshot_from = sweep.then(|| self.here());
        let of = Snapshot { shard: position.shard, epoch: position.epoch };
        self.marks = sweep.then(|| self.rules.marks(of));
    }

    /// Where to read from in order to meet the record at hand again, and all after it.
    fn here(&self) -> Vec<u64> {
        let mut needed = self.now().needed;
        let (lane_index, offset) = self.at;
        if let Some(here) = needed.get_mut(lane_index) {
            *here = offset.min(*here);
        }
        needed
    }

    /// Sees to it that the marks of a snapshot under way are all there, or that reading begins where it does.
    pub(super) fn require_marks(&mut self) {
        let (Some(resync), Some(from)) = (self.progress.resync, &self.progress.snapshot_from)
        else {
            self.marks = None;
            return;
        };
        let of = Snapshot { shard: resync.shard, epoch: resync.epoch };
        if self.marks.as_ref().is_some_and(|marks| marks.of == of && !marks.rebuilding) {
            return;
        }
        let mut marks = self.rules.marks(of);
        marks.rebuilding = true;
        self.marks = Some(marks);
        self.progress.needed.clone_from(from);
        self.next.clone_from(from);
    }

    /// Why a history cannot be begun in its middle.
    pub(super) fn no_snapshot(&self, shard: Shard) -> Error {
        Error::NoSnapshot { stream: self.stream.clone(), shard }
    }

    fn snapshot_end(&mut self, place: &Place<'_>) -> Option<Need> {
        let resync = self.progress.resync?;
        let position = place.position;
        if (resync.shard, resync.epoch) != (position.shard, position.epoch) {
            return None;
        }
        if resync.sweep {
            return Some(Need::Sweep);
        }
        self.end_resync();
        None
    }

    /// Goes on at a later snapshot, since what is before it cannot be read any more.
    pub(crate) fn skip_to(&mut self, offsets: Vec<u64>) {
        self.end_resync();
        self.deadlines.clear();
        self.doubt = Doubt::default();
        self.next.clone_from(&offsets);
        self.progress.needed = offsets;
    }

    /// Notes that the snapshot has ended and what it did not name is about to go. Says whether that is news.
    pub(crate) fn begin_sweep(&mut self) -> bool {
        let resync = self.progress.resync.as_mut().filter(|resync| !resync.sweeping);
        resync.map(|resync| resync.sweeping = true).is_some()
    }

    /// The snapshot is whole, and what it did not name is gone.
    pub(crate) fn end_resync(&mut self) {
        self.progress.resync = None;
        self.progress.snapshot_from = None;
        self.marks = None;
    }

    fn require_one_order(&self, place: &Place<'_>) -> Result<(), Error> {
        if self.one_order {
            return Ok(());
        }
        let what = "a change of all partitions of a journal without one order";
        Err(Error::Unsupported { what, position: place.position })
    }
}
