//! Telling a torn tail from damage.
//!
//! A crash may leave anything where writes were not durable yet: half a frame, or a whole one
//! behind one that is lost. All of that is cut. But each frame says what had been reported durable
//! when it was written: if a later frame shows that the invalid one had been, then it is damage,
//! and nothing is cut.

use std::sync::Arc;

use super::catalogue::{Active, Segment};
use super::disk::{DiskFile, read_up_to, to_u64};
use super::files::{corrupt_at, io_error};
use super::format::{FRAME_HEADER_BYTES, FRAME_MAGIC};
use super::frame::{Defect, FrameHeader};
use super::report::Cut;
use super::scan::{Scan, ScanError};
use super::segment::Mark;
use crate::OpenError;

/// How much is searched at once for frames behind an invalid one.
const SEARCH_BYTES: usize = 1024 * 1024;

/// A segment's frames as found.
pub(super) struct Walked {
    pub(super) active: Active,
    /// Where the first invalid one begins and why, if that is not the end of the file.
    pub(super) stopped: Option<(u64, Defect)>,
}

/// Walks over all frames of a segment, up to the first that is invalid.
pub(super) fn walk(
    file: &Arc<dyn DiskFile>,
    segment: Segment,
    salt: u32,
) -> Result<Walked, ScanError> {
    let mut active = Active::new(segment);
    let end = file.bytes().map_err(ScanError::Io)?;
    let stopped = walk_on(file, &mut active, salt, end)?;
    Ok(Walked { active, stopped })
}

/// Walks on from where the known frames end, and adds what is found.
pub(super) fn walk_on(
    file: &Arc<dyn DiskFile>,
    active: &mut Active,
    salt: u32,
    end: u64,
) -> Result<Option<(u64, Defect)>, ScanError> {
    let from = (active.end.position, active.end.seq);
    let mut scan = Scan::new(Arc::clone(file), salt, from, end);
    let mut next = active.end.next.to_vec();
    loop {
        let frame = match scan.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(ScanError::Defect { at, defect }) => return Ok(Some((at, defect))),
            Err(error) => return Err(error),
        };
        // The checksum matches, so this is what was written: not a matter of a torn tail.
        frame.count_into(&mut next).map_err(|defect| {
            let at = scan.position() - to_u64(frame.header.frame_bytes());
            ScanError::Defect { at, defect }
        })?;
        let end = Mark {
            position: frame.end,
            seq: frame.header.end_seq(),
            max_ms: active.end.max_ms.max(frame.header.max_ms),
            next: next.as_slice().into(),
        };
        active.extend(end, frame.header.min_ms);
    }
}

/// Cuts what is behind the last whole frame, if anything; refuses when it had been durable. The
/// caller syncs.
pub(super) fn cut(
    file: &dyn DiskFile,
    walked: &Walked,
    salt: u32,
) -> Result<Option<Cut>, OpenError> {
    let path = &walked.active.segment.path;
    let Some((at, defect)) = walked.stopped else { return Ok(None) };
    let failed = || io_error("cut the unfinished end of", path);
    let length = file.bytes().map_err(failed())?;
    let lost_seq = walked.active.end.seq;
    if let Some(witness) = find_witness(file, at + 1, salt, lost_seq).map_err(failed())? {
        let what = format!("{defect}, and the frame at byte {witness} shows that it was durable");
        return Err(corrupt_at(path, at, what));
    }
    file.set_bytes(at).map_err(failed())?;
    let (path, what) = (path.to_path_buf(), defect.to_string());
    tracing::warn!(path = %path.display(), at, bytes = length - at, what, "cut a torn tail");
    Ok(Some(Cut { path, at, bytes: length - at, what }))
}

/// Looks for a frame header, from byte `from` on, that was written when record `lost_seq` had been
/// reported durable.
fn find_witness(
    file: &dyn DiskFile,
    from: u64,
    salt: u32,
    lost_seq: u64,
) -> std::io::Result<Option<u64>> {
    let mut position = from;
    loop {
        let piece = read_up_to(file, position, SEARCH_BYTES)?;
        for (at, _) in
            piece.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, w)| *w == FRAME_MAGIC)
        {
            let bytes = piece.get(at..).unwrap_or_default();
            let header = FrameHeader::parse(bytes, salt);
            if header.is_ok_and(|header| header.durable_seq > lost_seq) {
                return Ok(Some(position + to_u64(at)));
            }
        }
        if piece.len() < SEARCH_BYTES {
            return Ok(None);
        }
        // The pieces overlap, so that a header between two of them is seen whole.
        position += to_u64(SEARCH_BYTES - FRAME_HEADER_BYTES);
    }
}
