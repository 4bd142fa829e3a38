//! Which epoch an offset belongs to, and which epochs are known to begin further on.
//!
//! Pure. Guarantees: epochs only grow; a change below the place where two histories part keeps the epoch that it
//! had when it was first recorded, so that it is recognised when it is read again.

use std::collections::VecDeque;

use event::control::EpochBegin;
use event::{Position, Shard};

use crate::resume::Tail;
use crate::spool::Lineage;

/// The epochs of one shard, as seen from the place that the stream has reached.
#[derive(Debug)]
pub(super) struct Epochs {
    shard: Shard,
    current: u64,
    /// The largest epoch given so far.
    last: u64,
    replication_id: String,
    /// The largest offset that any partition held at the start, in the history that goes on.
    held_offset: u64,
    ahead: VecDeque<(Position, EpochBegin)>,
}

// === impl Epochs ===

impl Epochs {
    pub(super) fn new(shard: Shard, tail: &Tail) -> Self {
        let (current, replication_id, ahead) = match &tail.point {
            Some(point) => (point.epoch, point.replication_id.clone(), point.ahead.clone().into()),
            None => (tail.last_epoch, String::new(), VecDeque::new()),
        };
        Self {
            shard,
            current,
            last: tail.last_epoch,
            replication_id,
            held_offset: tail.held_offset(),
            ahead,
        }
    }

    /// A full transfer begins: a new epoch at once.
    pub(super) fn full_resync(&mut self, lineage: &Lineage) -> Position {
        self.ahead.clear();
        self.last += 1;
        self.current = self.last;
        self.held_offset = 0;
        self.replication_id.clone_from(&lineage.replication_id);
        self.position(lineage.offset)
    }

    /// The stream goes on under another replication id. The new epoch begins where everything that was recorded
    /// before has been passed.
    pub(super) fn continued(&mut self, offset: u64, begin: EpochBegin) {
        self.last += 1;
        self.replication_id.clone_from(&begin.replication_id);
        let at = Position::new(self.shard, self.last, offset.max(self.held_offset));
        self.ahead.push_back((at, begin));
    }

    /// The place of a command that ends at `offset`.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position::new(self.shard, self.current, offset)
    }

    /// The epoch that begins at or before `offset`, once each, before anything after that offset is recorded.
    pub(super) fn enter(&mut self, offset: u64) -> Option<(Position, EpochBegin)> {
        if self.ahead.front().is_none_or(|(at, _)| at.offset > offset) {
            return None;
        }
        let next = self.ahead.pop_front()?;
        self.current = next.0.epoch;
        Some(next)
    }

    /// Whether an epoch is known that begins further on. The replication id is already its own, so this is no
    /// place that a heartbeat could name.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The replication id that the newest offsets belong to.
    pub(super) fn replication_id(&self) -> &str {
        &self.replication_id
    }
}
