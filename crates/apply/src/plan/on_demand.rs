//! A snapshot made on demand, beside the stream: who begins with it takes its records alone, and then the stream from
//! where it begins. Everybody else passes over it. Pure.
//!
//! Guarantees: what such a snapshot has moves nobody's position but of who applies it; who has applied it stands behind
//! everything that it shows, with all of its changes judged, and meets every change after that.

use event::control::{Control, EpochCause};
use event::{Body, Event, Position};

use super::{Need, Planner};
use crate::scope::Line;

// === impl Planner ===

impl Planner {
    /// Whether the line of a place in the track at hand applies a snapshot made on demand.
    pub(super) fn is_on_demand(&self, position: Position) -> bool {
        self.progress.on_demand(self.line(position)).is_some()
    }

    /// Whether an event is not for its line in the track at hand: of a snapshot that it does not apply, or of the stream beside the one
    /// that it does.
    pub(super) fn is_beside(&self, event: &Event) -> bool {
        let of = event.snapshot_id();
        let line = self.line(event.position);
        let Some(mine) = self.progress.on_demand(line) else { return of != 0 };
        // The stream begins anew: the end of the snapshot does not come any more.
        let supersedes = matches!(&event.body, Body::Control(Control::EpochBegin(begin))
            if begin.cause == EpochCause::FullResync)
            && self.progress.resyncs.get(&line).is_some_and(|resync| {
                (resync.shard, resync.epoch) < (event.position.shard, event.position.epoch)
            });
        // Its beginning stands where the stream was, not where the snapshot is.
        let begins = matches!(&event.body, Body::Control(Control::SnapshotBegin(_)));
        (of != mine || begins) && !supersedes
    }

    /// Whether a place is the first of a snapshot made on demand, which its line applies.
    pub(super) fn begins_on_demand(&self, position: Position) -> bool {
        let applied = self.progress.of(self.line(position));
        let (epoch, offset) = (position.epoch, position.offset);
        let is_first = applied.is_none_or(|at| (at.epoch, at.offset) != (epoch, offset));
        self.is_on_demand(position) && is_first
    }

    /// What the end of a snapshot made on demand needs: that everything before it has been judged.
    pub(super) fn end_on_demand(&self, position: Position) -> Option<Need> {
        self.is_on_demand(position).then_some(Need::Together)
    }

    /// The place behind the end of a snapshot.
    pub(super) fn behind_end(&self, event: &Event) -> Position {
        match event.snapshot_id() {
            0 => event.position,
            _ => event.position.at_index(Position::LAST_INDEX),
        }
    }

    /// A line that has applied a snapshot made on demand goes back to where that begins. What the track has of other
    /// shards from there on has been dealt with, and is known by its positions; what was gathered comes again, so reading
    /// begins before it. Where a snapshot of another is being read again for its marks, it goes back to the beginning of
    /// that one, if that is earlier: it may not meet a value in its middle.
    pub(super) fn go_back_to_stream(&mut self, line: Line) {
        if self.progress.on_demand(line).is_none() {
            return;
        }
        let rebuilds = self.marks.iter().any(|marks| marks.rebuilding.contains(&line.track));
        for index in self.scope.lane_indexes(line.track) {
            let from = match rebuilds {
                true => self.progress.snapshot_from(index),
                false => self.progress.snapshot_from.get(&(index, line.shard)).copied(),
            };
            let open = self.assembly.open().filter(|(of, _)| *of == index).map(|(_, first)| first);
            let from = from.map(|from| open.fold(from, u64::min));
            if let (Some(next), Some(from)) = (self.next.get_mut(index), from) {
                *next = from;
            }
            self.assembly.forget(index);
            self.passing.retain(|(_, of), _| *of != index);
        }
        self.goes_back = true;
    }

    /// Whether reading has to begin anew where [`Planner::next`] says.
    pub(crate) fn take_goes_back(&mut self) -> bool {
        std::mem::take(&mut self.goes_back)
    }

    /// Whether the partition with that index in the lane is of a track that applies a snapshot made on demand.
    pub(crate) fn reads_on_demand(&self, lane_index: usize) -> bool {
        self.progress.any_on_demand(self.scope.track(lane_index))
    }
}
