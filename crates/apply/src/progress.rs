//! How far a lane has come: the part of a checkpoint that planning moves. Pure data.

use event::checkpoint::Resync;
use event::{Position, Shard};

/// How far a lane has come, at one point between two events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Per shard, the last event that has been dealt with.
    pub(crate) applied: Vec<Position>,
    /// Per partition of the lane, the first record that is still needed: the next one, or the first of an event
    /// that has not come completely.
    pub(crate) needed: Vec<u64>,
    /// The snapshot that is being applied.
    pub(crate) resync: Option<Resync>,
    /// While a resync needs marks: per partition, where its snapshot begins.
    pub(crate) snapshot_from: Option<Vec<u64>>,
}

// === impl Progress ===

impl Progress {
    /// The last event of a shard that has been dealt with.
    pub(crate) fn of(&self, shard: Shard) -> Option<&Position> {
        self.applied.iter().find(|position| position.shard == shard)
    }

    /// Reads again what a crash of the journal may have taken: behind it come other records at the same offsets.
    pub(crate) fn stay_before(&mut self, durable: &[u64]) {
        for (needed, durable) in self.needed.iter_mut().zip(durable) {
            *needed = (*needed).min(*durable);
        }
    }

    /// Notes that an event has been dealt with.
    pub(crate) fn advance(&mut self, position: Position) {
        match self.applied.iter_mut().find(|known| known.shard == position.shard) {
            Some(known) => *known = position,
            None => self.applied.push(position),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_position_per_shard() {
        let mut progress = Progress::default();
        let position = Position::new(Shard(0), 1, 100);
        progress.advance(position);
        progress.advance(Position::new(Shard(1), 7, 3));
        progress.advance(position.at_index(2));
        assert_eq!(progress.of(Shard(0)), Some(&position.at_index(2)));
        assert_eq!(progress.of(Shard(2)), None);
        assert_eq!(progress.applied.len(), 2);
    }
}
