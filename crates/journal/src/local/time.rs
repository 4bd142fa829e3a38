//! Looking up offsets by time. Blocks.

use std::sync::Arc;

use super::catalogue::{Active, Sealed, Segment};
use super::files::read_footer;
use super::log::{Log, corrupt, unreadable};
use super::scan::{Frame, Scan, ScanError};
use super::segment::Mark;
use crate::{Offset, Partition, ReadError};

/// A segment that may hold what is looked for.
struct Candidate {
    segment: Segment,
    /// Where its frames end.
    end: Mark,
    /// Where to begin; `None` when the marks are in the footer.
    from: Option<Mark>,
}

/// The first offset of the partition with this time or a later one; its end when there is none.
pub(super) fn offset_at(log: &Log, partition: Partition, ms: i64) -> Result<Offset, ReadError> {
    let place = usize::from(partition.0);
    let end = log.catalogue.lock().active().end.next.get(place).copied().unwrap_or_default();
    for candidate in candidates(log, place, ms) {
        if let Some(offset) = candidate.find(log, place, ms)? {
            return Ok(Offset(offset));
        }
    }
    Ok(Offset(end))
}

/// The segments with a record of the partition and one that is late enough.
fn candidates(log: &Log, partition: usize, ms: i64) -> Vec<Candidate> {
    let has_records = |segment: &Segment, end: &Mark| {
        end.max_ms >= ms && segment.header.base.get(partition) != end.next.get(partition)
    };
    let catalogue = log.catalogue.lock();
    let sealed = catalogue.sealed().iter().filter(|s| has_records(&s.segment, &s.end));
    let mut found: Vec<Candidate> = sealed
        .map(|Sealed { segment, end, .. }| Candidate {
            segment: segment.clone(),
            end: end.clone(),
            from: None,
        })
        .collect();
    let Active { segment, end, marks, .. } = catalogue.active();
    if has_records(segment, end) {
        let from = Some(last_before(marks, ms).unwrap_or_else(|| segment.header.first_mark()));
        found.push(Candidate { segment: segment.clone(), end: end.clone(), from });
    }
    found
}

/// The last mark before which everything is too early.
fn last_before(marks: &[Mark], ms: i64) -> Option<Mark> {
    marks.iter().rfind(|mark| mark.max_ms < ms).cloned()
}

// === impl Candidate ===

impl Candidate {
    fn find(&self, log: &Log, partition: usize, ms: i64) -> Result<Option<u64>, ReadError> {
        let path = &self.segment.path;
        let header = &self.segment.header;
        let file = log.disk.open(path).map_err(|error| unreadable(path, &error))?;
        let from = match &self.from {
            Some(from) => from.clone(),
            None => read_footer(&*file, log.salt, header)
                .map_err(|error| unreadable(path, &error))?
                .and_then(|footer| last_before(&footer.marks, ms))
                // Without marks the search begins at the first frame.
                .unwrap_or_else(|| header.first_mark()),
        };
        let begin = (from.position, from.seq);
        let mut scan = Scan::new(Arc::clone(&file), log.salt, begin, self.end.position);
        let mut next = from.next.get(partition).copied().unwrap_or_default();
        loop {
            let frame = match scan.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    let reached = self.end.check_reached(scan.seq(), [(partition, next)]);
                    return match reached {
                        Ok(()) => Ok(None),
                        Err(what) => Err(corrupt(path, scan.position(), what)),
                    };
                }
                Err(ScanError::Io(error)) => return Err(unreadable(path, &error)),
                Err(ScanError::Defect { at, defect }) => return Err(corrupt(path, at, defect)),
            };
            let found = find_in(&frame, partition, ms, &mut next);
            if let Some(offset) = found.map_err(|what| corrupt(path, frame.end, what))? {
                return Ok(Some(offset));
            }
        }
    }
}

/// Looks through one frame; `next` is the offset of the partition's next record.
fn find_in(
    frame: &Frame,
    partition: usize,
    ms: i64,
    next: &mut u64,
) -> Result<Option<u64>, String> {
    let mut records = frame.records().map_err(|defect| defect.to_string())?;
    while let Some(record) = records.next_record()? {
        if usize::from(record.partition) == partition {
            if record.timestamp_ms >= ms {
                return Ok(Some(*next));
            }
            *next += 1;
        }
    }
    Ok(None)
}
