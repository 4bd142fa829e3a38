//! Meetings with tracks of other lanes, in other processes: all that either side needs to know stands in checkpoints.
//! Pure.
//!
//! - A track at a barrier whose home another lane has *waits*: its checkpoint says so (`waits_at`) once everything before
//!   it has been executed and judged.
//! - The home executes the change when the checkpoints of all others say that they wait there. What it writes of their
//!   keys beside the data (keys set aside, suspects) goes where their lanes look for it.
//! - The others go on when the home's checkpoint says that the change was judged: until then a successor of the home may
//!   have to execute parts of it again.
//!
//! Neither waits for a process, only for a place at the destination: whoever takes partitions over finds it there.
//!
//! Deadlines that were put off are known to the lane alone that did so. Where the change may have touched them they are
//! forgotten, on both sides: such keys live on until the source's own delete, as those do of which there are too many.

use std::collections::BTreeMap;

use event::Position;
use event::checkpoint::Checkpoint;

use super::{Home, Planner, is_behind, is_beside, is_jump};
use crate::batch::Batch;
use crate::error::Error;
use crate::plan::Barrier;

/// What is known of partitions that other lanes have: as their checkpoints said last.
#[derive(Debug, Default)]
pub(crate) struct Others(BTreeMap<u16, Checkpoint>);

// === impl Others ===

impl Others {
    /// Whether all of these partitions stand at a change, or have left it behind with a later snapshot of the stream.
    pub(super) fn are_at(&self, partitions: &[u16], change: Position) -> Result<bool, Error> {
        let mut all = true;
        for partition in partitions {
            all &= self.is_at(*partition, change)?;
        }
        Ok(all)
    }

    fn is_at(&self, partition: u16, change: Position) -> Result<bool, Error> {
        let Some(known) = self.0.get(&partition) else { return Ok(false) };
        if known.waits_at.is_some_and(|at| is_beside(at, change)) {
            return Ok(true);
        }
        let is_past = known.applied.iter().any(|applied| is_behind(applied.position, change));
        if is_past && jumped(known, change) {
            return Err(Error::LeftBehind { position: change });
        }
        Ok(is_past)
    }

    /// Whether a partition has begun a later epoch than that of a change: its keys are those of a later snapshot.
    pub(super) fn is_in_later_epoch(&self, partition: u16, change: Position) -> bool {
        let applied = self.0.get(&partition).and_then(|known| known.applied(change.shard));
        applied.is_some_and(|applied| applied.position.epoch > change.epoch)
    }

    /// Whether all of a change has been judged at its home.
    fn have_judged(&self, home: u16, change: Position) -> Result<bool, Error> {
        let Some(known) = self.0.get(&home) else { return Ok(false) };
        let is_past = |at: Position| is_behind(at, change);
        if known.applied.iter().any(|of| is_past(of.position)) && jumped(known, change) {
            return Err(Error::LeftBehind { position: change });
        }
        Ok(known.applied.iter().any(|applied| is_past(applied.judged)))
    }
}

/// Whether a history has left out a change by a snapshot made on demand, which it applies or has applied.
fn jumped(known: &Checkpoint, change: Position) -> bool {
    let mut of_shard = known.resyncs.iter().filter(|resync| resync.shard == change.shard);
    of_shard.any(|resync| resync.snapshot_id != 0)
        || known.begun_at.is_some_and(|begun| is_jump(begun, change))
}

// === impl Planner ===

impl Planner {
    /// Partitions of other lanes whose checkpoints say whether tracks may go on.
    pub(crate) fn asks_about(&self) -> Vec<u16> {
        let mut asked = Vec::new();
        for gate in self.gates.values() {
            match gate.meeting.home {
                Home::Elsewhere(home) => asked.push(home),
                Home::Here(_) if gate.change.is_some() => {
                    let there =
                        |of: &u16| matches!(self.others.is_at(*of, gate.position), Ok(true));
                    asked.extend(gate.meeting.elsewhere.iter().copied().filter(|of| !there(of)));
                }
                Home::Here(_) => {}
            }
        }
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// Takes note of what a checkpoint of another lane says.
    pub(crate) fn hear(&mut self, partition: u16, checkpoint: Checkpoint) {
        self.others.0.insert(partition, checkpoint);
    }

    /// A change of the lane for which all have come, if nothing else is waited for.
    ///
    /// # Errors
    /// When one of them has left it out.
    pub(crate) fn met(&mut self) -> Result<Option<Box<Barrier>>, Error> {
        let homes: Vec<usize> = self.gates.keys().copied().collect();
        for home in homes {
            if let Some(barrier) = self.open_home(home)? {
                return Ok(Some(barrier));
            }
        }
        Ok(None)
    }

    /// Whether all that a change concerns in other lanes are there, as far as was heard last.
    pub(crate) fn are_there(&self, barrier: &Barrier) -> Result<bool, Error> {
        self.others.are_at(&barrier.guests, barrier.event.position)
    }

    /// The tracks that may go on, since what they waited for was judged at its home.
    ///
    /// # Errors
    /// When a home has left it out.
    pub(crate) fn released(&self) -> Result<Vec<usize>, Error> {
        let mut released = Vec::new();
        for (track, gate) in &self.gates {
            if let Home::Elsewhere(home) = gate.meeting.home
                && self.others.have_judged(home, gate.position)?
            {
                released.push(*track);
            }
        }
        Ok(released)
    }

    /// Lets a track go on behind what it waited for.
    pub(crate) fn release(&mut self, track: usize, batch: &mut Batch) {
        let Some(position) = self.gates.get(&track).map(|gate| gate.position) else { return };
        self.pass_gate(track, position, batch);
        let (scope, mine) = (&self.scope, self.scope.lane_indexes(track));
        let is_mine = |key: &[u8]| {
            scope.index_of(scope.partition_of(key)).is_some_and(|index| mine.contains(&index))
        };
        self.deadlines.forget_where(is_mine);
    }

    /// Forgets the deadlines of keys that other lanes have.
    pub(crate) fn forget_deadlines_elsewhere(&mut self) {
        let scope = &self.scope;
        self.deadlines.forget_where(|key| scope.index_of(scope.partition_of(key)).is_none());
    }
}
