//! Which epoch an offset belongs to, and which epochs are known to begin further on.
//!
//! Pure. Guarantees: epochs only grow, also past those that a crash or retention has taken from the
//! journal while a destination may have seen them, since none is smaller than the time at which it
//! began; a change below the place where two histories part keeps the epoch that it had when it was
//! first recorded, so that it is recognised when it is read again.

use std::collections::VecDeque;

use event::control::EpochBegin;
use event::{Position, Shard};

use crate::piece::Lineage;
use crate::resume::Tail;

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
    pub(super) fn full_resync(&mut self, lineage: &Lineage, now_ms: i64) -> Position {
        self.ahead.clear();
        self.current = self.take_next(now_ms);
        self.held_offset = 0;
        self.replication_id.clone_from(&lineage.replication_id);
        self.position(lineage.offset)
    }

    /// The stream goes on under another replication id. The new epoch begins where everything that
    /// was recorded before has been passed.
    pub(super) fn continued(&mut self, offset: u64, begin: EpochBegin, now_ms: i64) {
        let epoch = self.take_next(now_ms);
        self.replication_id.clone_from(&begin.replication_id);
        let known = self.ahead.back().map_or(0, |(at, _)| at.offset);
        let offset = offset.max(self.held_offset).max(known);
        let at = Position::new(self.shard, epoch, offset);
        self.ahead.push_back((at, begin));
    }

    /// The place of a command that ends at `offset`.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position::new(self.shard, self.current, offset)
    }

    /// The epoch that begins at or before `offset`, once each, before anything after that offset is
    /// recorded.
    pub(super) fn enter(&mut self, offset: u64) -> Option<(Position, EpochBegin)> {
        if self.ahead.front().is_none_or(|(at, _)| at.offset > offset) {
            return None;
        }
        let next = self.ahead.pop_front()?;
        self.current = next.0.epoch;
        Some(next)
    }

    /// Whether an epoch is known that begins further on. The replication id is already its own, so
    /// this is no place that a heartbeat could name.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The replication id that the newest offsets belong to.
    pub(super) fn replication_id(&self) -> &str {
        &self.replication_id
    }

    fn take_next(&mut self, now_ms: i64) -> u64 {
        self.last = (self.last + 1).max(u64::try_from(now_ms).unwrap_or(0));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use event::control::EpochCause;

    use super::*;
    use crate::resume::ResumePoint;

    const SHARD: Shard = Shard(0);

    fn begin(id: &str) -> EpochBegin {
        EpochBegin {
            cause: EpochCause::Continued,
            shard_name: "0".to_owned(),
            replication_id: id.to_owned(),
            branch_offset: 0,
            server: String::new(),
        }
    }

    fn lineage(id: &str, offset: u64) -> Lineage {
        Lineage { replication_id: id.to_owned(), offset }
    }

    fn at(epoch: u64, offset: u64) -> Position {
        Position::new(SHARD, epoch, offset)
    }

    /// A tail whose partitions are complete up to 100 in epoch 7, one of them up to 180.
    fn tail(ahead: Vec<(Position, EpochBegin)>) -> Tail {
        let last_epoch = ahead.last().map_or(7, |(at, _)| at.epoch);
        let held = vec![Some(at(7, 100)), Some(at(last_epoch, 180))];
        let replication_id = ahead.last().map_or("a".to_owned(), |(_, b)| b.replication_id.clone());
        let point = ResumePoint { replication_id, offset: 100, epoch: 7, selected_db: 0, ahead };
        Tail { held, last_epoch, point: Some(point), ..Tail::default() }
    }

    #[test]
    fn a_full_transfer_begins_an_epoch_that_no_earlier_one_had() {
        let mut epochs = Epochs::new(SHARD, &Tail { last_epoch: 7, ..Tail::default() });
        assert_eq!(epochs.full_resync(&lineage("a", 500), 5), at(8, 500));
        assert_eq!(epochs.full_resync(&lineage("b", 0), 5), at(9, 0), "the clock stands still");
        let now_ms = 1_700_000_000_000;
        assert_eq!(epochs.full_resync(&lineage("c", 3), now_ms), at(1_700_000_000_000, 3));
        assert_eq!(epochs.full_resync(&lineage("d", 3), 5), at(1_700_000_000_001, 3));
        assert_eq!(epochs.replication_id(), "d");
    }

    #[test]
    fn another_replication_id_begins_an_epoch_where_the_stream_stands() {
        let mut epochs = Epochs::new(SHARD, &Tail::default());
        epochs.full_resync(&lineage("a", 50), 7);
        epochs.continued(90, begin("b"), 7);
        assert!(epochs.has_ahead());
        assert_eq!(epochs.position(90), at(7, 90), "what ends here is of before");
        assert_eq!(epochs.enter(89), None);
        assert_eq!(epochs.enter(90), Some((at(8, 90), begin("b"))));
        assert!(!epochs.has_ahead());
        assert_eq!(epochs.position(120), at(8, 120));
    }

    #[test]
    fn what_was_recorded_before_keeps_its_epoch_when_it_is_read_again() {
        let mut epochs = Epochs::new(SHARD, &tail(Vec::new()));
        epochs.continued(100, begin("b"), 0);
        assert_eq!(epochs.enter(100), None);
        assert_eq!(epochs.position(180), at(7, 180), "one partition holds this as of epoch 7");
        assert_eq!(epochs.enter(180), Some((at(8, 180), begin("b"))));
    }

    #[test]
    fn epochs_that_some_partition_knows_begin_at_the_same_place_again() {
        let known = vec![(at(8, 120), begin("b")), (at(9, 150), begin("c"))];
        let mut epochs = Epochs::new(SHARD, &tail(known.clone()));
        assert_eq!(epochs.replication_id(), "c");
        epochs.continued(100, begin("d"), 0);
        assert_eq!(epochs.enter(120), Some(known[0].clone()));
        assert_eq!(epochs.enter(120), None);
        assert_eq!(epochs.enter(160), Some(known[1].clone()));
        assert_eq!(epochs.enter(180), Some((at(10, 180), begin("d"))));
    }

    #[test]
    fn a_full_transfer_forgets_what_was_ahead() {
        let mut epochs = Epochs::new(SHARD, &tail(vec![(at(8, 120), begin("b"))]));
        assert_eq!(epochs.full_resync(&lineage("c", 10), 0), at(9, 10));
        assert_eq!(epochs.enter(500), None);
        epochs.continued(20, begin("d"), 0);
        assert_eq!(epochs.enter(20), Some((at(10, 20), begin("d"))));
    }
}
