//! What has been read and not been planned: for each track in its order, so that those that wait for others hold up none
//! of the rest.
//!
//! Guarantees: of each track, what is given is in its order and whole up to where reading goes on. What tracks that wait
//! take in memory is bounded: the reader holds those of which enough has been read. What comes all the same, beyond the
//! bound, is forgotten, the longest first, and read again when its turn comes.

use std::collections::VecDeque;

use journal::{Entry, Partition};

use super::pump::Pump;
use crate::error::Error;
use crate::limits;

/// Records that have been read, by track.
#[derive(Debug, Default)]
pub(super) struct Intake {
    queues: Vec<Queue>,
    /// The track whose records are given.
    at: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Whether some did not fit: from there on all of it is read again.
    overflowed: bool,
    /// Whether the reader brings no more of it for now.
    held: bool,
}

// === impl Intake ===

impl Intake {
    /// Room for so many tracks.
    pub(super) fn of(tracks: usize) -> Self {
        Self {
            queues: std::iter::repeat_with(Queue::default).take(tracks).collect(),
            ..Self::default()
        }
    }

    /// Takes a record behind those of its track.
    pub(super) fn push(&mut self, track: usize, entry: Entry) {
        let Some(queue) = self.queues.get_mut(track) else { return };
        if queue.overflowed {
            return;
        }
        let bytes = cost(&entry);
        (queue.bytes, self.bytes) = (queue.bytes + bytes, self.bytes + bytes);
        queue.entries.push_back(entry);
    }

    /// Puts a record back before all others of its track.
    pub(super) fn put_back(&mut self, track: usize, entry: Entry) {
        let Some(queue) = self.queues.get_mut(track) else { return };
        let bytes = cost(&entry);
        (queue.bytes, self.bytes) = (queue.bytes + bytes, self.bytes + bytes);
        queue.entries.push_front(entry);
    }

    /// The next record of a track that does not wait; those of one track come as long as there are any.
    pub(super) fn next(&mut self, waits: impl Fn(usize) -> bool) -> Option<Entry> {
        let track = self.ready(waits)?;
        self.at = track;
        let queue = self.queues.get_mut(track)?;
        let entry = queue.entries.pop_front()?;
        let bytes = cost(&entry);
        (queue.bytes, self.bytes) = (queue.bytes - bytes, self.bytes - bytes);
        Some(entry)
    }

    /// A track that does not wait and has a record.
    fn ready(&self, waits: impl Fn(usize) -> bool) -> Option<usize> {
        let has_one =
            |track: &usize| self.queues.get(*track).is_some_and(|queue| !queue.entries.is_empty());
        let tracks = (self.at..self.queues.len()).chain(0..self.at);
        tracks.filter(has_one).find(|track| !waits(*track))
    }

    /// Whether no track has anything that could be planned.
    pub(super) fn is_idle(&self, waits: impl Fn(usize) -> bool) -> bool {
        self.bytes == 0 || self.ready(waits).is_none()
    }

    /// The tracks of which enough has been read while they wait, where these are others than before.
    fn held_anew(&mut self, waits: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
        let part = limits::AHEAD_BYTES / self.queues.len().max(1);
        let mut is_news = false;
        for (track, queue) in self.queues.iter_mut().enumerate() {
            // Not again and again for little.
            let enough = if queue.held { part / 2 } else { part };
            let held = queue.overflowed || (queue.bytes > enough && waits(track));
            is_news |= std::mem::replace(&mut queue.held, held) != held;
        }
        let held = self.queues.iter().enumerate().filter(|(_, queue)| queue.held);
        is_news.then(|| held.map(|(track, _)| track).collect())
    }

    /// Whether the reader brings no more of a track for now.
    pub(super) fn holds(&self, track: usize) -> bool {
        self.queues.get(track).is_some_and(|queue| queue.held)
    }

    /// Forgets the longest of those that wait, while together they take more than they may.
    fn keep_bound(&mut self) {
        while self.bytes > limits::STASH_BYTES {
            let Some(longest) = self.queues.iter_mut().max_by_key(|queue| queue.bytes) else {
                return;
            };
            self.bytes -= longest.bytes;
            *longest = Queue { overflowed: true, held: longest.held, ..Queue::default() };
        }
    }

    /// Whether it is the turn of a track of which some was forgotten, and nothing is left.
    fn lacks(&self, waits: impl Fn(usize) -> bool) -> bool {
        let mut tracks = self.queues.iter().enumerate();
        tracks.any(|(track, queue)| queue.overflowed && !waits(track))
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::of(self.queues.len());
    }
}

/// What a record takes in memory.
fn cost(entry: &Entry) -> usize {
    entry.payload.len() + limits::STASHED_RECORD_BYTES
}

// === impl Pump ===

impl Pump<'_> {
    /// The next record that may be planned.
    pub(super) fn next_input(&mut self) -> Option<Entry> {
        self.intake.next(|track| self.planner.waits(track))
    }

    /// Whether nothing that has been read may be planned now.
    pub(super) fn is_out_of_input(&self) -> bool {
        self.intake.is_idle(|track| self.planner.waits(track))
    }

    /// The track of a record.
    pub(super) fn track_of(&self, entry: &Entry) -> usize {
        self.scope.track(self.scope.index_of(entry.partition.0).unwrap_or_default())
    }

    /// Reads again what was forgotten of a track whose turn has come.
    pub(super) async fn read_forgotten(&mut self) -> Result<(), Error> {
        // What else is there has been planned, or waits: it is bounded, and read again as well.
        if !self.is_out_of_input() || !self.lacks_input() {
            return Ok(());
        }
        tracing::debug!(
            bound = limits::STASH_BYTES,
            "reads again what was forgotten of partitions that waited"
        );
        self.read_on().await
    }

    /// Whether something was forgotten that may be planned now.
    pub(super) fn lacks_input(&self) -> bool {
        self.intake.lacks(|track| self.planner.waits(track))
    }

    /// Nothing that is left may be planned: what waits is kept within its bound.
    pub(super) fn bound_intake(&mut self) {
        self.intake.keep_bound();
        if let Some(held) = self.intake.held_anew(|track| self.planner.waits(track)) {
            let numbers = held.into_iter().flat_map(|track| self.scope.lane_indexes(track));
            let numbers = numbers.filter_map(|index| self.scope.numbers.get(index));
            self.reader.hold(numbers.map(|number| Partition(*number)).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::Offset;

    use super::*;

    fn entry(partition: u16, offset: u64, bytes: usize) -> Entry {
        let (partition, offset) = (Partition(partition), Offset(offset));
        Entry { partition, offset, timestamp_ms: 0, payload: Bytes::from(vec![0; bytes]) }
    }

    fn place(entry: Option<Entry>) -> Option<(u16, u64)> {
        entry.map(|entry| (entry.partition.0, entry.offset.0))
    }

    #[test]
    fn a_track_that_waits_holds_up_no_other() {
        let mut intake = Intake::of(2);
        for offset in 0..2 {
            intake.push(0, entry(0, offset, 1));
            intake.push(1, entry(1, offset, 1));
        }
        assert_eq!(place(intake.next(|_| false)), Some((0, 0)));
        assert_eq!(place(intake.next(|track| track == 0)), Some((1, 0)));
        assert_eq!(place(intake.next(|track| track == 0)), Some((1, 1)));
        assert!(intake.is_idle(|track| track == 0) && !intake.is_idle(|_| false));
        assert_eq!(place(intake.next(|track| track == 0)), None);
        assert_eq!(place(intake.next(|_| false)), Some((0, 1)));
        assert!(intake.is_idle(|_| false));
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut intake = Intake::of(1);
        (0..2).for_each(|offset| intake.push(0, entry(0, offset, 1)));
        let first = intake.next(|_| false).unwrap();
        intake.put_back(0, first);
        assert_eq!(place(intake.next(|_| false)), Some((0, 0)));
        assert_eq!(place(intake.next(|_| false)), Some((0, 1)));
    }

    #[test]
    fn of_a_track_that_waits_enough_is_read_until_half_of_it_is_planned() {
        let mut intake = Intake::of(2);
        let part = limits::AHEAD_BYTES / 2;
        for offset in 0..4 {
            intake.push(0, entry(0, offset, part / 3));
            intake.push(1, entry(1, offset, 1));
        }
        assert_eq!(intake.held_anew(|_| false), None, "they are about to be planned");
        assert_eq!(intake.held_anew(|_| true), Some(vec![0]));
        assert_eq!(intake.held_anew(|_| true), None, "that is no news");
        (0..2).for_each(|_| drop(intake.next(|track| track == 1)));
        assert_eq!(intake.held_anew(|_| true), None, "it is still half full");
        drop(intake.next(|track| track == 1));
        assert_eq!(intake.held_anew(|_| true), Some(vec![]));
        intake.push(1, entry(1, 4, limits::STASH_BYTES));
        intake.keep_bound();
        assert_eq!(intake.held_anew(|_| false), Some(vec![1]), "nothing of it can be taken");
    }

    #[test]
    fn the_longest_is_forgotten_from_its_first_record_on_and_missed_when_its_turn_comes() {
        let mut intake = Intake::of(3);
        intake.push(0, entry(0, 0, limits::STASH_BYTES / 2));
        intake.push(1, entry(1, 0, limits::STASH_BYTES));
        intake.push(2, entry(2, 0, 1));
        intake.keep_bound();
        intake.push(1, entry(1, 1, 1));
        assert!(!intake.lacks(|track| track == 1) && intake.lacks(|_| false));
        assert_eq!(place(intake.next(|track| track == 1)), Some((0, 0)));
        assert_eq!(place(intake.next(|track| track == 1)), Some((2, 0)));
        assert!(intake.is_idle(|_| false));
        intake.clear();
        assert!(!intake.lacks(|_| false));
    }
}
