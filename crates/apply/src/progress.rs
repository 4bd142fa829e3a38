//! How far a lane has come: the part of its checkpoints that planning moves. Pure data.

use std::collections::BTreeMap;

use event::checkpoint::Resync;
use event::{Position, Shard};

use crate::scope::{Line, Point, Scope};

/// How far a lane has come, at one point between two events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Per line, in order, the last event that has been dealt with.
    pub(crate) applied: Vec<Point>,
    /// Per partition of the lane, the first record that is still needed: the next one, or the first of an event
    /// that has not come completely.
    pub(crate) needed: Vec<u64>,
    /// Per line, the snapshot that is being applied.
    pub(crate) resyncs: BTreeMap<Line, Resync>,
    /// Where a snapshot is read again from its beginning, for its marks or for the stream beside it: per partition, by
    /// its index in the lane, and shard, where it begins.
    pub(crate) snapshot_from: BTreeMap<(usize, Shard), u64>,
    /// Per track that waits for a change whose home another lane has: the place of that change.
    pub(crate) waits: BTreeMap<usize, Position>,
    /// Per track, where its history began here: at a snapshot that is part of the stream, or behind one made on demand.
    pub(crate) begun: BTreeMap<usize, Position>,
}

// === impl Progress ===

impl Progress {
    /// Nothing has been dealt with; reading begins at `needed`.
    pub(crate) fn from(needed: Vec<u64>) -> Self {
        Self { needed, ..Self::default() }
    }

    /// The last event of a line that has been dealt with.
    pub(crate) fn of(&self, line: Line) -> Option<&Position> {
        self.applied.get(self.index_of(line)?).map(|point| &point.position)
    }

    /// Where the last event of a line stands in `applied`.
    pub(crate) fn index_of(&self, line: Line) -> Option<usize> {
        self.applied.binary_search_by_key(&line, Point::line).ok()
    }

    /// What has been dealt with of the lines of a track.
    pub(crate) fn of_track(&self, track: usize) -> &[Point] {
        let first = self.applied.partition_point(|point| point.track < track);
        let behind = self.applied.partition_point(|point| point.track <= track);
        self.applied.get(first..behind).unwrap_or_default()
    }

    /// Whether nothing is known of other shards in the track of a line: neither changes nor a snapshot.
    pub(crate) fn is_alone(&self, Line { track, shard }: Line) -> bool {
        let applied = self.of_track(track).iter().map(|point| point.position.shard);
        applied.chain(self.resyncs_of(track).map(|of| of.shard)).all(|other| other == shard)
    }

    /// A track begins with snapshots, at the records that it needs.
    pub(crate) fn begin(&mut self, scope: &Scope, track: usize, resyncs: &[Resync]) {
        for resync in resyncs {
            let line = Line { track, shard: resync.shard };
            self.resyncs.insert(line, *resync);
            if resync.is_read_again() {
                let needed = self.needed.clone();
                self.read_again_from(scope, line, &needed);
            }
        }
    }

    /// The snapshot of a line is read again from there once it was interrupted.
    pub(crate) fn read_again_from(&mut self, scope: &Scope, line: Line, from: &[u64]) {
        let from = from.iter().copied().enumerate();
        let mine = scope.lane_indexes(line.track);
        let mine = from.filter(|(index, _)| mine.contains(index));
        self.snapshot_from.extend(mine.map(|(index, from)| ((index, line.shard), from)));
    }

    /// Where a partition is read from on once it was interrupted, if a snapshot is read again.
    pub(crate) fn snapshot_from(&self, lane_index: usize) -> Option<u64> {
        let shards = (lane_index, Shard(0))..=(lane_index, Shard(u32::MAX));
        self.snapshot_from.range(shards).map(|(_, from)| *from).min()
    }

    /// The snapshots that a track applies.
    pub(crate) fn resyncs_of(&self, track: usize) -> impl Iterator<Item = &Resync> {
        let line = |shard| Line { track, shard: Shard(shard) };
        let lines = line(0)..=line(u32::MAX);
        self.resyncs.range(lines).map(|(_, resync)| resync)
    }

    /// The id of the snapshot made on demand that a line applies; none: it follows the stream.
    pub(crate) fn on_demand(&self, line: Line) -> Option<u64> {
        self.resyncs.get(&line).map(|resync| resync.snapshot_id).filter(|id| *id != 0)
    }

    /// Whether any line of a track applies a snapshot made on demand.
    pub(crate) fn any_on_demand(&self, track: usize) -> bool {
        self.resyncs_of(track).any(|resync| resync.snapshot_id != 0)
    }

    /// Any place that it has reached, for messages.
    pub(crate) fn somewhere(&self) -> Position {
        self.applied.first().map(|point| point.position).unwrap_or_default()
    }

    /// Reads again what a crash of the journal may have taken: behind it come other records at the same offsets.
    pub(crate) fn stay_before(&mut self, durable: &[u64]) {
        for (needed, durable) in self.needed.iter_mut().zip(durable) {
            *needed = (*needed).min(*durable);
        }
    }

    /// Notes that an event of a track has been dealt with.
    pub(crate) fn advance(&mut self, track: usize, position: Position) {
        if self.waits.get(&track).is_some_and(|at| !at.is_after(&position)) {
            self.waits.remove(&track);
        }
        let point = Point { track, position };
        match self.applied.binary_search_by_key(&point.line(), Point::line) {
            Ok(known) => self.applied.iter_mut().skip(known).take(1).for_each(|of| *of = point),
            Err(at) => self.applied.insert(at, point),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_position_per_line() {
        let mut progress = Progress::default();
        let position = Position::new(Shard(0), 1, 100);
        progress.advance(0, position);
        progress.advance(0, Position::new(Shard(1), 7, 3));
        progress.advance(1, Position::new(Shard(0), 1, 90));
        progress.advance(0, position.at_index(2));
        let of = |track, shard| progress.of(Line { track, shard: Shard(shard) }).copied();
        assert_eq!(of(0, 0), Some(position.at_index(2)));
        assert_eq!(of(1, 0), Some(Position::new(Shard(0), 1, 90)));
        assert_eq!((of(0, 2), of(1, 1)), (None, None));
        assert_eq!(progress.applied.len(), 3);
    }

    #[test]
    fn a_shard_is_alone_where_no_other_has_anything_in_the_track() {
        let line = |track, shard| Line { track, shard: Shard(shard) };
        let mut progress = Progress::default();
        progress.advance(0, Position::new(Shard(0), 1, 100));
        progress.advance(1, Position::new(Shard(1), 1, 100));
        assert!(progress.is_alone(line(0, 0)) && progress.is_alone(line(1, 1)));
        assert!(!progress.is_alone(line(0, 1)) && !progress.is_alone(line(1, 0)));
        let shard = Shard(2);
        let resync = Resync { shard, epoch: 1, sweep: true, sweeping: false, snapshot_id: 0 };
        progress.resyncs.insert(line(0, 2), resync);
        assert!(!progress.is_alone(line(0, 0)), "the snapshot of another is under way");
    }
}
