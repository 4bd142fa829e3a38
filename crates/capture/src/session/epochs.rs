//! Which epoch an offset belongs to, and which epochs are known to begin further on.
//!
//! Pure. Guarantees: epochs only grow, also past those that a crash or retention has taken from the
//! journal while a destination may have seen them, since none is smaller than the time at which it
//! began; what is common to two histories keeps the epoch that it had, so that it is recognised
//! when it is read again, whether the journal still holds it or only a destination has seen it.

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
    /// The replication id of the current epoch.
    replication_id: String,
    /// The largest epoch given so far.
    last: u64,
    /// The largest epoch that was in the journal at the start.
    known: u64,
    /// The largest offset that any partition held at the start, in the history that goes on.
    held_offset: u64,
    /// In the order of their offsets.
    ahead: VecDeque<(Position, EpochBegin)>,
}

/// What is known of the next epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Some partition already had its beginning at the start.
    Known,
    /// None had.
    New,
}

// === impl Epochs ===

impl Epochs {
    pub(super) fn new(shard: Shard, tail: &Tail) -> Self {
        let (current, replication_id, ahead) = match &tail.point {
            Some(point) => (point.epoch, point.epoch_id.clone(), point.ahead.clone().into()),
            None => (tail.last_epoch, String::new(), VecDeque::new()),
        };
        Self {
            shard,
            current,
            replication_id,
            last: tail.last_epoch,
            known: tail.last_epoch,
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

    /// The stream goes on under another replication id. The new epoch begins where the histories
    /// part, which may be further on: up to there a destination may have seen what the journal has
    /// lost.
    pub(super) fn continued(&mut self, begin: EpochBegin, now_ms: i64) {
        let epoch = self.take_next(now_ms);
        let branch = begin.branch_offset.max(self.held_offset);
        // A history that parts earlier never comes to where others were known to part.
        self.ahead.retain(|(at, _)| at.offset <= branch);
        self.ahead.push_back((Position::new(self.shard, epoch, branch), begin));
    }

    /// The place of a command that ends at `offset`.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position::new(self.shard, self.current, offset)
    }

    /// The place behind everything that any partition holds, when the stream has come to `offset`.
    pub(super) fn end(&self, offset: u64) -> Position {
        let held = self.ahead.iter().map(|(at, _)| at.epoch).filter(|epoch| *epoch <= self.known);
        let epoch = held.max().unwrap_or(self.current);
        let at = Position::new(self.shard, epoch, offset.max(self.held_offset));
        at.at_index(Position::LAST_INDEX)
    }

    /// The epoch that begins at or before `offset` and has not been entered.
    pub(super) fn next(&self, offset: u64) -> Option<Next> {
        let (at, _) = self.ahead.front().filter(|(at, _)| at.offset <= offset)?;
        Some(if at.epoch <= self.known { Next::Known } else { Next::New })
    }

    /// The epoch that begins at or before `offset`, once each, before anything after that offset is
    /// recorded.
    pub(super) fn enter(&mut self, offset: u64) -> Option<(Position, EpochBegin)> {
        self.next(offset)?;
        let (at, begin) = self.ahead.pop_front()?;
        self.current = at.epoch;
        self.replication_id.clone_from(&begin.replication_id);
        Some((at, begin))
    }

    /// The replication id of the place that the stream has reached.
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

    fn begin(id: &str, branch_offset: u64) -> EpochBegin {
        EpochBegin {
            cause: EpochCause::Continued,
            shard_name: "0".to_owned(),
            replication_id: id.to_owned(),
            branch_offset,
            server: String::new(),
            slots: None,
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
        let point = ResumePoint {
            replication_id,
            offset: 100,
            epoch: 7,
            epoch_id: "a".to_owned(),
            selected_db: 0,
            ahead,
        };
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
    fn another_replication_id_begins_an_epoch_where_the_histories_part() {
        let mut epochs = Epochs::new(SHARD, &Tail::default());
        epochs.full_resync(&lineage("a", 50), 7);
        epochs.continued(begin("b", 90), 7);
        assert_eq!((epochs.position(90), epochs.replication_id()), (at(7, 90), "a"));
        assert_eq!(epochs.enter(89), None);
        assert_eq!(epochs.enter(90), Some((at(8, 90), begin("b", 90))));
        assert_eq!(epochs.enter(90), None);
        assert_eq!((epochs.position(120), epochs.replication_id()), (at(8, 120), "b"));
    }

    #[test]
    fn what_was_recorded_before_keeps_its_epoch_when_it_is_read_again() {
        let mut epochs = Epochs::new(SHARD, &tail(Vec::new()));
        epochs.continued(begin("b", 100), 0);
        assert_eq!(epochs.enter(100), None);
        assert_eq!(epochs.position(180), at(7, 180), "one partition holds this as of epoch 7");
        assert_eq!(epochs.enter(180), Some((at(8, 180), begin("b", 100))));
    }

    #[test]
    fn epochs_that_some_partition_knows_begin_at_the_same_place_again() {
        let known = vec![(at(8, 120), begin("b", 120)), (at(9, 150), begin("c", 150))];
        let mut epochs = Epochs::new(SHARD, &tail(known.clone()));
        assert_eq!(epochs.replication_id(), "a");
        epochs.continued(begin("d", 400), 0);
        assert_eq!(epochs.enter(120), Some(known[0].clone()));
        assert_eq!(epochs.replication_id(), "b");
        assert_eq!(epochs.enter(120), None);
        assert_eq!(epochs.enter(160), Some(known[1].clone()));
        assert_eq!(epochs.enter(180), None);
        assert_eq!(epochs.enter(400), Some((at(10, 400), begin("d", 400))));
    }

    #[test]
    fn the_end_is_behind_everything_that_is_held() {
        let mut epochs = Epochs::new(SHARD, &tail(Vec::new()));
        assert_eq!(epochs.end(110), at(7, 180).at_index(Position::LAST_INDEX));
        assert_eq!(epochs.end(190), at(7, 190).at_index(Position::LAST_INDEX));
        epochs.continued(begin("b", 200), 0);
        assert_eq!(epochs.end(190), at(7, 190).at_index(Position::LAST_INDEX));
        let epochs = Epochs::new(SHARD, &tail(vec![(at(8, 120), begin("b", 120))]));
        assert_eq!(epochs.end(110), at(8, 180).at_index(Position::LAST_INDEX));
    }

    #[test]
    fn what_some_partition_has_is_not_new() {
        let mut epochs = Epochs::new(SHARD, &tail(vec![(at(8, 120), begin("b", 120))]));
        epochs.continued(begin("c", 200), 0);
        assert_eq!((epochs.next(110), epochs.next(120)), (None, Some(Next::Known)));
        epochs.enter(120);
        assert_eq!((epochs.next(190), epochs.next(200)), (None, Some(Next::New)));
    }

    #[test]
    fn a_history_that_parts_earlier_takes_the_place_of_those_ahead() {
        let mut epochs = Epochs::new(SHARD, &Tail::default());
        epochs.full_resync(&lineage("a", 50), 7);
        epochs.continued(begin("b", 500), 7);
        epochs.continued(begin("c", 300), 7);
        assert_eq!(epochs.enter(400), Some((at(9, 300), begin("c", 300))));
        assert_eq!(epochs.enter(600), None);
    }

    #[test]
    fn a_full_transfer_forgets_what_was_ahead() {
        let mut epochs = Epochs::new(SHARD, &tail(vec![(at(8, 120), begin("b", 120))]));
        assert_eq!(epochs.full_resync(&lineage("c", 10), 0), at(9, 10));
        assert_eq!(epochs.enter(500), None);
        epochs.continued(begin("d", 20), 0);
        assert_eq!(epochs.enter(20), Some((at(10, 20), begin("d", 20))));
    }
}
