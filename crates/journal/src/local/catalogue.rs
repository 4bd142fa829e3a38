//! What can be read at this moment: the segments in order, and the marks of the active one.
//!
//! Plain data; whoever shares it holds a lock for as long as it takes to look something up.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{mark_distance_bytes, segment_name};
use super::segment::{Mark, SegmentHeader};
use crate::{Offset, Partition};

/// All segments: sealed ones, oldest first, then the active one.
#[derive(Debug)]
pub(super) struct Catalogue {
    sealed: VecDeque<Sealed>,
    active: Active,
}

/// A segment that does not change any more.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) segment: Segment,
    /// Where its frames end.
    pub(super) end: Mark,
    pub(super) min_ms: i64,
    /// The length of the file.
    pub(super) file_bytes: u64,
}

/// The segment that is being written.
#[derive(Clone, Debug)]
pub(super) struct Active {
    pub(super) segment: Segment,
    /// Where its frames end so far.
    pub(super) end: Mark,
    pub(super) min_ms: i64,
    /// Places in it, the first frame's always among them.
    pub(super) marks: Vec<Mark>,
}

/// Which file, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) header: Arc<SegmentHeader>,
    pub(super) path: Arc<Path>,
}

/// A stretch of frames in one segment.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) segment: Segment,
    /// Where it ends, and what comes before that.
    pub(super) end: Mark,
}

/// Where a reader can begin.
#[derive(Debug)]
pub(super) enum Start {
    /// Here, in the active segment.
    Mark {
        /// The place.
        mark: Mark,
        /// The segment, by its first record.
        segment: u64,
    },
    /// In this sealed segment, whose marks are in its footer.
    Within(Sealed),
    /// The offset is no longer kept.
    Forgotten(Partition, Offset, Offset),
}

// === impl Catalogue ===

impl Catalogue {
    pub(super) fn new(sealed: VecDeque<Sealed>, active: Active) -> Self {
        Self { sealed, active }
    }

    pub(super) fn active(&self) -> &Active {
        &self.active
    }

    pub(super) fn active_mut(&mut self) -> &mut Active {
        &mut self.active
    }

    pub(super) fn sealed(&self) -> &VecDeque<Sealed> {
        &self.sealed
    }

    /// The active segment, now `file_bytes` long, is sealed; `next` takes its place.
    pub(super) fn roll(&mut self, file_bytes: u64, next: Active) {
        let Active { segment, end, min_ms, .. } = std::mem::replace(&mut self.active, next);
        self.sealed.push_back(Sealed { segment, end, min_ms, file_bytes });
    }

    /// Takes the oldest sealed segment away.
    pub(super) fn forget_oldest(&mut self) -> Option<Sealed> {
        self.sealed.pop_front()
    }

    /// Where the oldest segment begins.
    pub(super) fn start(&self) -> &SegmentHeader {
        let oldest = self.sealed.front().map(|sealed| &sealed.segment);
        &oldest.unwrap_or(&self.active.segment).header
    }

    /// The bytes of all files.
    pub(super) fn file_bytes(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.file_bytes).sum::<u64>() + self.active.end.position
    }

    /// The time of the oldest record, `None` when there is none.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        let sealed = self.sealed.iter().map(|sealed| sealed.min_ms);
        let oldest = sealed.chain([self.active.min_ms]).min()?;
        (oldest != i64::MAX).then_some(oldest)
    }

    /// The segment that holds the record, or will hold it when it is the next one; `None` when it
    /// has been forgotten.
    pub(super) fn extent_at(&self, seq: u64) -> Option<Extent> {
        if seq >= self.active.segment.header.base_seq {
            let Active { segment, end, .. } = &self.active;
            return Some(Extent { segment: segment.clone(), end: end.clone() });
        }
        let place = self.sealed.partition_point(|sealed| sealed.end.seq <= seq);
        let Sealed { segment, end, .. } = self.sealed.get(place)?;
        (segment.header.base_seq <= seq)
            .then(|| Extent { segment: segment.clone(), end: end.clone() })
    }

    /// The last known place that is before all the given offsets.
    pub(super) fn start_for(&self, wanted: &[(Partition, Offset)]) -> Start {
        let first = self.start().first_mark();
        for &(partition, offset) in wanted {
            let start = first.next.get(usize::from(partition.0)).copied().map_or(offset, Offset);
            if offset < start {
                return Start::Forgotten(partition, offset, start);
            }
        }
        let Active { segment, end, marks, .. } = &self.active;
        let mut marks = marks.iter().chain([end]);
        if let Some(mark) = marks.rfind(|mark| mark.is_before(wanted)) {
            return Start::Mark { mark: mark.clone(), segment: segment.header.base_seq };
        }
        let is_before = |sealed: &&Sealed| sealed.segment.header.first_mark().is_before(wanted);
        let sealed = self.sealed.iter().rfind(is_before).or(self.sealed.front());
        sealed.map_or_else(
            || Start::Mark { mark: first, segment: segment.header.base_seq },
            |sealed| Start::Within(sealed.clone()),
        )
    }
}

// === impl Active ===

impl Active {
    /// A segment without frames.
    pub(super) fn new(segment: Segment) -> Self {
        let end = segment.header.first_mark();
        let marks = vec![end.clone()];
        Self { segment, end, min_ms: i64::MAX, marks }
    }

    /// Notes that frames now end at `end`; a mark is kept when the last one is far enough away.
    pub(super) fn extend(&mut self, end: Mark, min_ms: i64) {
        let distance = mark_distance_bytes(end.next.len());
        let last = self.marks.last().map_or(0, |mark| mark.position);
        if self.end.position >= last + distance {
            self.marks.push(self.end.clone());
        }
        self.min_ms = self.min_ms.min(min_ms);
        self.end = end;
    }
}

// === impl Segment ===

impl Segment {
    pub(super) fn new(dir: &Path, header: SegmentHeader) -> Self {
        let path: PathBuf = dir.join(segment_name(header.base_seq));
        Self { header: Arc::new(header), path: path.into() }
    }
}
