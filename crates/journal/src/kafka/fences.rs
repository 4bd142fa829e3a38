//! Which writer's records count where: the table of fences.
//!
//! A stream may have several writers side by side; each has a table of its own, and none says anything about the
//! records of another. The holders of a writer are numbered, and their numbers tell which writer's they are. Each begins
//! by a fence in every partition, and notes where those are; behind a fence only records of its number, or of one with a
//! later fence, count. So what a writer sends that was believed
//! dead and wakes up is passed over by everybody in the same way. Pure; no I/O.

use serde::{Deserialize, Serialize};

use crate::Writer;

/// A number has its writer in the bits from here on: so those of the first are small, and a build that knows of one
/// writer only meets numbers that it has never heard of, and stops. 2^32 holders are enough for each writer.
const WRITER_SHIFT: u32 = 32;

/// Where one writer begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fence {
    /// The writer's number.
    pub(super) lease: u64,
    /// By partition, the offset of the fence itself: what comes after it may be the writer's.
    pub(super) at: Vec<u64>,
}

/// All of them, in ascending order of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Fences(Vec<Fence>);

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    Counts,
    /// It is passed over.
    Void,
    /// The table does not know its writer yet: ask again when it has grown.
    Unknown,
}

/// The number before that of the first holder of a writer.
pub(super) fn before_first_of(writer: Writer) -> u64 {
    u64::from(writer.0) << WRITER_SHIFT
}

/// The writer that a number is of.
pub(super) fn writer_of(lease: u64) -> Option<Writer> {
    u16::try_from(lease >> WRITER_SHIFT).ok().map(Writer)
}

// === impl Fences ===

impl Fences {
    /// Adds a newer one; an older one changes nothing.
    pub(super) fn add(&mut self, fence: Fence) {
        if fence.lease > self.newest() {
            self.0.push(fence);
        }
    }

    /// All of them, in ascending order of numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Fence> {
        self.0.iter()
    }

    /// The highest number; 0 where there is none.
    pub(super) fn newest(&self) -> u64 {
        self.0.last().map_or(0, |fence| fence.lease)
    }

    /// What becomes of a record of a writer at a place.
    pub(super) fn verdict(&self, partition: usize, offset: u64, lease: u64) -> Verdict {
        if lease > self.newest() {
            return Verdict::Unknown;
        }
        let before = self.0.iter().rev().find(|fence| {
            fence.at.get(partition).is_some_and(|fence_offset| *fence_offset < offset)
        });
        match before {
            Some(fence) if fence.lease == lease => Verdict::Counts,
            _ => Verdict::Void,
        }
    }

    /// Whether a fence stands at this place.
    pub(super) fn stands_at(&self, partition: usize, offset: u64) -> bool {
        self.0.iter().any(|fence| fence.at.get(partition) == Some(&offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Fences {
        let mut fences = Fences::default();
        fences.add(Fence { lease: 1, at: vec![0, 0] });
        fences.add(Fence { lease: 3, at: vec![10, 20] });
        fences
    }

    #[test]
    fn records_count_between_their_own_fence_and_the_next() {
        let fences = table();
        for (partition, offset, lease, verdict) in [
            (0, 1, 1, Verdict::Counts),
            (0, 9, 1, Verdict::Counts),
            (0, 11, 1, Verdict::Void),
            (1, 11, 1, Verdict::Counts),
            (0, 11, 3, Verdict::Counts),
            (0, 5, 3, Verdict::Void),
            (0, 11, 2, Verdict::Void),
            (0, 11, 4, Verdict::Unknown),
            (0, 5, 0, Verdict::Void),
        ] {
            let found = fences.verdict(partition, offset, lease);
            assert_eq!(found, verdict, "partition {partition}, offset {offset}, writer {lease}");
        }
    }

    #[test]
    fn a_number_tells_its_writer() {
        for writer in [0, 1, 7, u16::MAX].map(Writer) {
            let first = before_first_of(writer) + 1;
            assert_eq!([first, first + 1_000_000].map(writer_of), [Some(writer); 2]);
        }
        assert_eq!((before_first_of(Writer::FIRST), writer_of(u64::MAX)), (0, None));
    }

    #[test]
    fn a_fence_that_comes_late_changes_nothing() {
        let mut fences = table();
        fences.add(Fence { lease: 2, at: vec![15, 25] });
        assert_eq!(fences, table());
        assert!(fences.stands_at(1, 20) && !fences.stands_at(1, 25));
    }
}
