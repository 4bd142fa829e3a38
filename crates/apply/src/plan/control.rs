//! Events that are not about one key: epochs, snapshots, flushes. Pure.

use event::checkpoint::Resync;
use event::control::{Control, EpochBegin, EpochCause};
use event::{Position, Shard};

use super::{AppliedFunctions, Need, Place, Planner};
use crate::batch::Batch;
use crate::config::Existing;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::lane::begin::Begin;
use crate::marks::{Marks, Snapshot};
use crate::quarantine;
use crate::scope::Line;
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
            Control::SnapshotEnd(_) => return Ok(self.snapshot_end(place)),
            // Of several tracks one does it, and this one has met that.
            Control::Flush { .. } | Control::SwapDb { .. } if self.scope.tracks() == 1 => {
                return Ok(Some(Need::Alone));
            }
            Control::FlushSlots { .. } => return Ok(Some(Need::Slots)),
            Control::Function(change)
                if self.applied_functions(place.position.shard) == AppliedFunctions::All =>
            {
                self.function(place, change, batch)?;
            }
            Control::SlotHandover(_) => {
                let what = "a slot that moves between shards";
                return Err(Error::Unsupported { what, position: place.position });
            }
            Control::SnapshotBegin(_)
            | Control::Function(_)
            | Control::Barrier(_)
            | Control::Flush { .. }
            | Control::SwapDb { .. }
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
        let names = &self.rules.names;
        let own = names.all().chain(names.all_of(&self.guests));
        batch.swap((first, second), own, Self::sent(place));
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

    fn epoch(&mut self, place: &Place<'_>, begin: &EpochBegin) -> Result<(), Error> {
        let position = place.position;
        let applied = self.progress.of(self.line(position)).copied();
        match begin.cause {
            EpochCause::FullResync => {
                let sweep = match self.rules.existing {
                    Existing::Sweep => true,
                    Existing::Overwrite => false,
                    Existing::Fail => applied.is_some(),
                };
                if applied.is_some() && !sweep {
                    tracing::warn!(
                        "everything is read again; what the source has removed meanwhile stays, since \
                         nothing tells it from what was there before (existing = overwrite)"
                    );
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
        let Position { shard, epoch, .. } = place.position;
        self.forget_deadlines_of(shard);
        let (line, here) = (self.line(place.position), self.here());
        self.end_resync(line);
        self.progress.begun.insert(line.track, place.position);
        let resync = Resync { shard, epoch, sweep, sweeping: false, snapshot_id: 0 };
        self.progress.resyncs.insert(line, resync);
        if sweep {
            self.progress.read_again_from(&self.scope, line, &here);
            self.marks_of(Snapshot { shard, epoch });
        }
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

    /// The marks of a snapshot, which are begun if there are none.
    fn marks_of(&mut self, of: Snapshot) -> &mut Marks {
        let known = self.marks.iter().position(|marks| marks.of == of);
        let index = known.unwrap_or_else(|| {
            let slots = self.slots.get(&of.shard).cloned();
            let mut marks = self.rules.marks(of);
            marks.slots = slots;
            self.marks.push(marks);
            self.marks.len() - 1
        });
        self.marks.get_mut(index).expect("it was found or put there")
    }

    /// The marks of the snapshot that a line applies.
    pub(super) fn marks_of_line(&mut self, line: Line) -> Option<&mut Marks> {
        let of = self.progress.resyncs.get(&line).map(Snapshot::of)?;
        self.marks.iter_mut().find(|marks| marks.of == of)
    }

    /// Takes out the marks that the sweep of a line goes by.
    pub(crate) fn take_marks(&mut self, line: Line) -> Option<Marks> {
        let of = self.progress.resyncs.get(&line).map(Snapshot::of)?;
        let index = self.marks.iter().position(|marks| marks.of == of)?;
        Some(self.marks.swap_remove(index))
    }

    /// Notes that a line has come to what was not applied before: its marks are all there are up to here.
    pub(super) fn note_new(&mut self, line: Line) {
        for marks in self.marks.iter_mut().filter(|marks| marks.of.shard == line.shard) {
            marks.rebuilding.remove(&line.track);
        }
        self.forget_passing(line);
    }

    /// Sees to it that the marks of snapshots under way are all there, or that reading begins where they do.
    pub(super) fn require_marks(&mut self) {
        let sweeping = self.progress.resyncs.iter().filter(|(_, resync)| resync.sweep);
        let sweeping: Vec<(Line, Snapshot)> =
            sweeping.map(|(line, resync)| (*line, Snapshot::of(resync))).collect();
        self.marks.retain(|marks| sweeping.iter().any(|(_, of)| *of == marks.of));
        for (line, of) in sweeping {
            let tracks = self.scope.tracks();
            let is_new = !self.marks.iter().any(|marks| marks.of == of);
            let marks = self.marks_of(of);
            if is_new {
                // Those of other tracks are not there either.
                marks.rebuilding = (0..tracks).collect();
            }
            if !self.marks_of(of).rebuilding.contains(&line.track) {
                continue;
            }
            for index in self.scope.lane_indexes(line.track) {
                let from = self.progress.snapshot_from.get(&(index, line.shard)).copied();
                let places = [self.progress.needed.get_mut(index), self.next.get_mut(index)];
                for (place, from) in places.into_iter().flatten().zip(from.into_iter().cycle()) {
                    // That of another shard may begin earlier.
                    *place = from.min(*place);
                }
            }
        }
    }

    /// Why a history cannot be begun in its middle.
    pub(super) fn no_snapshot(&self, shard: Shard) -> Error {
        Error::NoSnapshot { stream: self.scope.stream.clone(), shard }
    }

    fn snapshot_end(&mut self, place: &Place<'_>) -> Option<Need> {
        let position = place.position;
        let line = self.line(position);
        let resync = *self.progress.resyncs.get(&line)?;
        if resync.epoch != position.epoch {
            return None;
        }
        if resync.sweep {
            return Some(Need::Sweep);
        }
        if let Some(need) = self.end_on_demand(position) {
            return Some(need);
        }
        self.end_resync(line);
        None
    }

    /// Goes on at a later snapshot, since what is before it cannot be read any more.
    pub(crate) fn skip_to(&mut self, begin: Begin) {
        let sweep = self.rules.existing != Existing::Overwrite;
        let offsets = begin.offsets.clone();
        self.progress.resyncs.clear();
        self.progress.snapshot_from.clear();
        self.progress.waits.clear();
        self.marks.clear();
        self.deadlines.clear();
        self.doubt = Doubt::default();
        self.next.clone_from(&offsets);
        self.progress.needed = offsets;
        let scope = self.scope.clone();
        for track in 0..scope.tracks() {
            begin.begin(&mut self.progress, (&scope, track), sweep);
        }
        self.require_marks();
    }

    /// Whether what the snapshot of a line did not name has begun to go.
    pub(crate) fn is_sweeping(&self, line: Line) -> bool {
        self.progress.resyncs.get(&line).is_some_and(|resync| resync.sweeping)
    }

    /// Notes that the snapshot of a line has ended and what it did not name is about to go. Says whether that is news.
    pub(crate) fn begin_sweep(&mut self, line: Line) -> bool {
        let resync = self.progress.resyncs.get_mut(&line).filter(|resync| !resync.sweeping);
        resync.map(|resync| resync.sweeping = true).is_some()
    }

    /// The snapshot of a line is whole, and what it did not name is gone.
    pub(crate) fn end_resync(&mut self, line: Line) {
        self.progress.resyncs.remove(&line);
        let mine = self.scope.lane_indexes(line.track);
        let is_mine =
            |(index, shard): &(usize, Shard)| *shard == line.shard && mine.contains(index);
        self.progress.snapshot_from.retain(|of, _| !is_mine(of));
        let needed: Vec<Snapshot> = self.progress.resyncs.values().map(Snapshot::of).collect();
        self.marks.retain(|marks| needed.contains(&marks.of));
    }
}
