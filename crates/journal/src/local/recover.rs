//! Opening what a run before, or a crash, has left.
//!
//! Guarantees: what was reported durable is there afterwards, or opening fails and names file and
//! byte; only the end of the last segment is ever cut, and the report says so; reads the headers
//! and trailers of sealed segments and the whole of the last one.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::catalogue::{Active, Catalogue, Sealed, Segment};
use super::disk::{Disk, DiskFile, to_u64, write_all};
use super::files::{
    Header, corrupt_at, create_segment, io_error, list, other_version, read_footer, read_header,
    read_meta, read_trailer, scan_error,
};
use super::format::{salt_of, segment_name};
use super::meta::{self, Meta, Releases};
use super::report::OpenReport;
use super::segment::{Footer, HeaderDefect, Mark, SegmentHeader};
use super::torn::{self, Walked};
use crate::OpenError;

/// An open stream.
pub(super) struct Opened {
    pub(super) meta: Meta,
    pub(super) catalogue: Catalogue,
    /// The file of the active segment.
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) report: OpenReport,
}

/// Opens streams in one directory.
pub(super) struct Recovery<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) now_ms: i64,
}

/// The segment that is to be written on, and its file.
type Tail = (Active, Arc<dyn DiskFile>);

// === impl Recovery ===

impl Recovery<'_> {
    /// Opens the stream, or makes it when there is none.
    pub(super) fn open(&self, stream: &str, partitions: u16) -> Result<Opened, OpenError> {
        let (segments, has_meta) = list(self.disk, self.dir)?;
        if !has_meta {
            self.check_nothing_is_there(&segments, partitions)?;
            return self.create(stream, partitions);
        }
        let meta = read_meta(self.disk, self.dir)?;
        let mismatch = |what| Err(OpenError::Mismatch { stream: stream.to_owned(), what });
        if meta.stream != stream {
            return mismatch(format!("{} holds stream {}", self.dir.display(), meta.stream));
        }
        if meta.partitions != partitions {
            let made = meta.partitions;
            return mismatch(format!("it was made with {made} partitions, not {partitions}"));
        }
        self.recover(meta, &segments)
    }

    /// Without a `meta` file there may be a first segment that was being made, nothing else.
    fn check_nothing_is_there(&self, segments: &[u64], partitions: u16) -> Result<(), OpenError> {
        let missing = || {
            let what = "the file is missing beside segments".to_owned();
            OpenError::Corrupt { path: self.dir.join(meta::FILE_NAME), what }
        };
        match segments {
            [] => Ok(()),
            [0] => {
                let path = self.dir.join(segment_name(0));
                let length = self.disk.open(&path).and_then(|file| file.bytes());
                let length = length.map_err(io_error("read", &path))?;
                let empty = length <= SegmentHeader::bytes_for(usize::from(partitions));
                empty.then_some(()).ok_or_else(missing)
            }
            _ => Err(missing()),
        }
    }

    fn create(&self, stream: &str, partitions: u16) -> Result<Opened, OpenError> {
        let incarnation = getrandom::u64().map_err(|error| OpenError::Io {
            what: "draw an incarnation for",
            path: self.dir.to_owned(),
            source: io::Error::other(error.to_string()),
        })?;
        let base: Arc<[u64]> = vec![0; usize::from(partitions)].into();
        let (active, file) = self.create_active(incarnation, 0, base)?;
        let stream = stream.to_owned();
        let meta = Meta { stream, incarnation, partitions, readers: Releases::new() };
        meta.store(self.disk, self.dir).map_err(io_error("write the description in", self.dir))?;
        let catalogue = Catalogue::new(VecDeque::new(), active);
        let report = OpenReport { created: true, ..OpenReport::default() };
        Ok(Opened { meta, catalogue, file, report })
    }

    fn create_active(
        &self,
        incarnation: u64,
        base_seq: u64,
        base: Arc<[u64]>,
    ) -> Result<Tail, OpenError> {
        let header = SegmentHeader { incarnation, base_seq, created_ms: self.now_ms, base };
        let segment = Segment::new(self.dir, header);
        let file = create_segment(self.disk, &segment.path, &segment.header)
            .map_err(io_error("make segment", &segment.path))?;
        Ok((Active::new(segment), file))
    }

    fn recover(&self, meta: Meta, base_seqs: &[u64]) -> Result<Opened, OpenError> {
        let mut report = OpenReport::default();
        let mut segments = self.segments(&meta, base_seqs)?;
        let Some(last) = segments.pop() else {
            let what = "no segment is left".to_owned();
            return Err(OpenError::Corrupt { path: self.dir.to_owned(), what });
        };
        let salt = salt_of(meta.incarnation);
        let mut sealed = VecDeque::new();
        let nexts = segments.iter().skip(1).chain([&last]);
        for (segment, next) in segments.iter().zip(nexts) {
            sealed.push_back(self.open_sealed(segment, next, salt, &mut report)?);
        }
        let (active, file) = self.open_last(last, salt, &mut sealed, &mut report)?;
        let catalogue = Catalogue::new(sealed, active);
        Ok(Opened { meta, catalogue, file, report })
    }

    /// All segments by their headers. One that was being made when the process died is removed.
    fn segments(&self, meta: &Meta, base_seqs: &[u64]) -> Result<Vec<Segment>, OpenError> {
        let mut segments: Vec<Segment> = Vec::new();
        for (place, &base_seq) in base_seqs.iter().enumerate() {
            let path = self.dir.join(segment_name(base_seq));
            let header = self
                .disk
                .open(&path)
                .and_then(|file| read_header(&*file, usize::from(meta.partitions)))
                .map_err(io_error("read", &path))?;
            let is_last = place + 1 == base_seqs.len();
            if matches!(header, Header::Unfinished) && is_last && place > 0 {
                let remove = self.disk.remove(&path).and_then(|()| self.disk.sync_dir(self.dir));
                remove.map_err(io_error("remove the unfinished segment", &path))?;
                break;
            }
            let header = check_header(meta, &path, base_seq, header)?;
            segments.push(Segment::new(self.dir, header));
        }
        Ok(segments)
    }

    /// A segment that `next` follows.
    fn open_sealed(
        &self,
        segment: &Segment,
        next: &Segment,
        salt: u32,
        report: &mut OpenReport,
    ) -> Result<Sealed, OpenError> {
        let failed = || io_error("read", &segment.path);
        let file = self.disk.open(&segment.path).map_err(failed())?;
        let file_bytes = file.bytes().map_err(failed())?;
        let trailer = read_trailer(&*file, salt).map_err(failed())?;
        let Some(trailer) = trailer.filter(|t| t.end_seq == next.header.base_seq) else {
            let sealed = self.rebuild_footer(segment, next, salt)?;
            let path = segment.path.to_path_buf();
            tracing::warn!(path = %path.display(), "made the damaged index of a segment again");
            report.rebuilt.push(path);
            return Ok(sealed);
        };
        let end = Mark {
            position: file_bytes.saturating_sub(u64::from(trailer.footer_len)),
            seq: trailer.end_seq,
            max_ms: trailer.max_ms,
            next: Arc::clone(&next.header.base),
        };
        Ok(Sealed { segment: segment.clone(), end, min_ms: trailer.min_ms, file_bytes })
    }

    /// Makes the footer of a segment again from its frames, which have to lead up to `next`.
    fn rebuild_footer(
        &self,
        segment: &Segment,
        next: &Segment,
        salt: u32,
    ) -> Result<Sealed, OpenError> {
        let file =
            self.disk.open_to_write(&segment.path).map_err(io_error("open", &segment.path))?;
        let Walked { active, stopped } =
            torn::walk(&file, segment.clone(), salt).map_err(scan_error(&segment.path))?;
        let leads_up =
            active.end.seq == next.header.base_seq && active.end.next == next.header.base;
        if !leads_up {
            let what = stopped.map_or_else(
                || "records are missing after the last frame".to_owned(),
                |(_, defect)| defect.to_string(),
            );
            return Err(corrupt_at(&segment.path, active.end.position, what));
        }
        let Active { segment, end, min_ms, marks } = active;
        let footer = Footer::encode(&end, min_ms, &marks, salt);
        file.set_bytes(end.position)
            .and_then(|()| write_all(&*file, &footer, end.position))
            .and_then(|()| file.sync())
            .map_err(io_error("write the index of", &segment.path))?;
        let file_bytes = end.position + to_u64(footer.len());
        Ok(Sealed { segment, end, min_ms, file_bytes })
    }

    /// The last segment, up to the last whole frame; what follows is cut. If it was sealed, though
    /// the next one had not been made, that is made now.
    fn open_last(
        &self,
        last: Segment,
        salt: u32,
        sealed: &mut VecDeque<Sealed>,
        report: &mut OpenReport,
    ) -> Result<Tail, OpenError> {
        let path = Arc::clone(&last.path);
        let failed = || io_error("read", &path);
        let file = self.disk.open_to_write(&path).map_err(failed())?;
        let walked = torn::walk(&file, last, salt).map_err(scan_error(&path))?;
        let is_finished = is_finished(&*file, &walked.active, salt).map_err(failed())?;
        if !is_finished {
            report.cut = torn::cut(&*file, &walked, salt)?;
        }
        // What the process before wrote may be in memory only; it must not get lost behind what
        // is written, and reported, next.
        file.sync().map_err(io_error("sync", &path))?;
        if !is_finished {
            return Ok((walked.active, file));
        }
        let file_bytes = file.bytes().map_err(failed())?;
        let Active { segment, end, min_ms, .. } = walked.active;
        let (incarnation, next) = (segment.header.incarnation, Arc::clone(&end.next));
        let tail = self.create_active(incarnation, end.seq, next)?;
        sealed.push_back(Sealed { segment, end, min_ms, file_bytes });
        Ok(tail)
    }
}

/// Whether the segment ends with its footer. A footer alone proves nothing: until it was synced, a
/// crash may have taken frames before it, so `walked` has to lead up to it.
fn is_finished(file: &dyn DiskFile, walked: &Active, salt: u32) -> io::Result<bool> {
    let trailer = read_trailer(file, salt)?;
    let leads_up = trailer.is_some_and(|trailer| trailer.end_seq == walked.end.seq);
    Ok(leads_up && read_footer(file, salt, &walked.segment.header)?.is_some())
}

/// The header that the name of the file and the stream ask for.
pub(super) fn check_header(
    meta: &Meta,
    path: &Path,
    base_seq: u64,
    header: Header,
) -> Result<SegmentHeader, OpenError> {
    let header = match header {
        Header::Whole(header) => header,
        Header::Defect(HeaderDefect::Version(version)) => return Err(other_version(path, version)),
        Header::Unfinished | Header::Defect(HeaderDefect::Damaged) => {
            return Err(corrupt_at(path, 0, "the header of the segment is damaged"));
        }
    };
    if header.incarnation != meta.incarnation {
        return Err(corrupt_at(path, 0, "the segment belongs to another stream"));
    }
    let same = header.base_seq == base_seq && header.base.len() == usize::from(meta.partitions);
    same.then_some(header)
        .ok_or_else(|| corrupt_at(path, 0, "the segment is not the one that its name says"))
}
