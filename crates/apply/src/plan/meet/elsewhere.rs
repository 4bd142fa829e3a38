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

use super::{Home, Planner, is_behind, is_beside};
use crate::batch::Batch;
use crate::plan::Barrier;

/// What is known of partitions that other lanes have: as their checkpoints said last.
#[derive(Debug, Default)]
pub(crate) struct Others(BTreeMap<u16, Checkpoint>);

// === impl Others ===

impl Others {
    /// Whether all of these partitions stand at a change, or are past it.
    pub(super) fn are_at(&self, partitions: &[u16], change: Position) -> bool {
        partitions.iter().all(|partition| self.is_at(*partition, change))
    }

    fn is_at(&self, partition: u16, change: Position) -> bool {
        let Some(known) = self.0.get(&partition) else { return false };
        let is_past = || known.applied.iter().any(|applied| is_behind(applied.position, change));
        known.waits_at.is_some_and(|at| is_beside(at, change)) || is_past()
    }

    /// Whether a partition has begun a later epoch than that of a change: its keys are those of a later snapshot.
    pub(super) fn is_in_later_epoch(&self, partition: u16, change: Position) -> bool {
        let applied = self.0.get(&partition).and_then(|known| known.applied(change.shard));
        applied.is_some_and(|applied| applied.position.epoch > change.epoch)
    }

    /// Whether all of a change has been judged at its home.
    fn have_judged(&self, home: u16, change: Position) -> bool {
        let known = self.0.get(&home);
        known.is_some_and(|known| {
            known.applied.iter().any(|applied| is_behind(applied.judged, change))
        })
    }
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
                    let there = |of: &u16| self.others.is_at(*of, gate.position);
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

    /// A change of the lane for which all of other lanes have come, if nothing else is waited for.
    pub(crate) fn met(&mut self) -> Option<Box<Barrier>> {
        let homes: Vec<usize> = self.gates.keys().copied().collect();
        homes.into_iter().find_map(|home| self.open_home(home))
    }

    /// The tracks that may go on, since what they waited for was judged at its home.
    pub(crate) fn released(&self) -> Vec<usize> {
        let may_go = |home: u16, at: Position| self.others.have_judged(home, at);
        let gates = self.gates.iter().filter(|(_, gate)| match gate.meeting.home {
            Home::Elsewhere(home) => may_go(home, gate.position),
            Home::Here(_) => false,
        });
        gates.map(|(track, _)| *track).collect()
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
