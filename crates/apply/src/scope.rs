//! Which partitions a lane has, and what of them comes in one order.
//!
//! A *track* is a set of partitions whose records come in one order, and which have one checkpoint: all of the lane,
//! where the journal has one order, else each partition by itself. A *line* is the history of one shard in one track:
//! positions of a line only grow, and those of different lines are not compared.

use std::sync::Arc;

use event::{Position, Shard};
use journal::{Description, Offset, Partition};
use wire::slot::{Slot, partition_of};

/// What a lane is of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The stream's name.
    pub(crate) stream: String,
    /// The number drawn when the stream was made.
    pub(crate) incarnation: u64,
    /// Its partitions, in ascending order.
    pub(crate) numbers: Arc<[u16]>,
    /// Partitions of the stream.
    pub(crate) partitions: u32,
    /// Whether records of all partitions of the stream come in one order.
    pub(crate) one_order: bool,
}

/// The history of a shard in one track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Line {
    /// Which track of the lane.
    pub(crate) track: usize,
    /// Which shard.
    pub(crate) shard: Shard,
}

/// A place in a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    /// Which track of the lane.
    pub(crate) track: usize,
    /// The place.
    pub(crate) position: Position,
}

// === impl Scope ===

impl Scope {
    /// All of a stream.
    pub(crate) fn all(description: &Description) -> Self {
        let count = u16::try_from(description.partitions.len()).unwrap_or(u16::MAX).max(1);
        Self::of(description, (0..count).collect())
    }

    /// Some partitions of the same stream, in ascending order.
    pub(crate) fn only(&self, numbers: Vec<u16>) -> Self {
        Self { numbers: numbers.into(), ..self.clone() }
    }

    /// Some partitions of a stream, in ascending order.
    pub(crate) fn of(description: &Description, numbers: Vec<u16>) -> Self {
        Self {
            stream: description.stream.clone(),
            incarnation: description.incarnation,
            numbers: numbers.into(),
            partitions: u32::try_from(description.partitions.len()).unwrap_or(u32::MAX).max(1),
            one_order: description.totally_ordered,
        }
    }

    /// The index of a partition in the lane.
    pub(crate) fn index_of(&self, partition: u16) -> Option<usize> {
        self.numbers.binary_search(&partition).ok()
    }

    /// The partitions that others have; none, where the journal has one order.
    pub(crate) fn elsewhere(&self) -> impl Iterator<Item = u16> {
        let count = if self.one_order { 0 } else { usize::try_from(self.partitions).unwrap_or(0) };
        (0..=u16::MAX).take(count).filter(|number| self.index_of(*number).is_none())
    }

    /// The partition of a key.
    pub(crate) fn partition_of(&self, key: &[u8]) -> u16 {
        u16::try_from(partition_of(Slot::of_key(key), self.partitions)).unwrap_or(u16::MAX)
    }

    /// How many tracks there are.
    pub(crate) fn tracks(&self) -> usize {
        if self.one_order { 1 } else { self.numbers.len() }
    }

    /// The track of the partition with that index in the lane.
    pub(crate) fn track(&self, lane_index: usize) -> usize {
        if self.one_order { 0 } else { lane_index }
    }

    /// The partitions of a track, by their indexes in the lane.
    pub(crate) fn lane_indexes(&self, track: usize) -> std::ops::Range<usize> {
        if self.one_order { 0..self.numbers.len() } else { track..track + 1 }
    }

    /// The first and the last partition of a track.
    pub(crate) fn span(&self, track: usize) -> (u16, u16) {
        let numbers = self.numbers.get(self.lane_indexes(track)).unwrap_or_default();
        (numbers.first().copied().unwrap_or_default(), numbers.last().copied().unwrap_or_default())
    }

    /// The partitions with, of each, an offset.
    pub(crate) fn offsets(&self, offsets: &[u64]) -> Vec<(Partition, Offset)> {
        let offsets = offsets.iter().copied().chain(std::iter::repeat(0));
        self.numbers.iter().zip(offsets).map(|(of, at)| (Partition(*of), Offset(at))).collect()
    }

    /// Where the journal ends, per partition.
    pub(crate) fn ends(&self, description: &Description) -> Vec<u64> {
        let range = |number: &u16| description.partitions.get(usize::from(*number));
        self.numbers.iter().map(|number| range(number).map_or(0, |of| of.end.0)).collect()
    }

    /// The partitions in words: `0-3,7`.
    pub(crate) fn shown(&self) -> String {
        let runs = self.numbers.chunk_by(|one, next| one + 1 == *next);
        let shown = runs.filter_map(|run| match (run.first()?, run.last()?) {
            (first, last) if first == last => Some(first.to_string()),
            (first, last) => Some(format!("{first}-{last}")),
        });
        shown.collect::<Vec<_>>().join(",")
    }

    /// Whether it has one of the partitions that [`Scope::shown`] has put in these words; what cannot be read has.
    pub(crate) fn overlaps(&self, shown: &str) -> bool {
        let mut runs = shown.split(',').map(run);
        runs.any(|run| run.is_none_or(|run| self.numbers.iter().any(|number| run.contains(number))))
    }
}

/// A run of partitions in words.
fn run(words: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = words.split_once('-').unwrap_or((words, words));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

// === impl Point ===

impl Point {
    /// The line that it is in.
    pub(crate) fn line(&self) -> Line {
        Line { track: self.track, shard: self.position.shard }
    }
}

#[cfg(test)]
impl From<Position> for Point {
    /// Where there is one track.
    fn from(position: Position) -> Self {
        Self { track: 0, position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(numbers: &[u16], one_order: bool) -> Scope {
        let (stream, numbers) = ("shop".into(), numbers.into());
        Scope { stream, incarnation: 1, numbers, partitions: 16, one_order }
    }

    #[test]
    fn partitions_without_one_order_have_a_track_each() {
        let lane = scope(&[1, 4, 5], false);
        assert_eq!((lane.tracks(), lane.track(2), lane.lane_indexes(2)), (3, 2, 2..3));
        assert_eq!((lane.span(1), lane.index_of(5), lane.index_of(2)), ((4, 4), Some(2), None));
        assert_eq!(lane.shown(), "1,4-5");
        assert!(lane.overlaps("2-4,9") && lane.overlaps("1") && !lane.overlaps("0,2-3,6"));
        assert_eq!(
            lane.offsets(&[7, 8])[1..],
            [(Partition(4), Offset(8)), (Partition(5), Offset(0))]
        );
    }

    #[test]
    fn partitions_in_one_order_have_one_track() {
        let lane = scope(&[0, 1, 2], true);
        assert_eq!((lane.tracks(), lane.track(2), lane.lane_indexes(0)), (1, 0, 0..3));
        assert_eq!((lane.span(0), lane.shown().as_str()), ((0, 2), "0-2"));
    }
}
