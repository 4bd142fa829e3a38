//! Following a journal that another process writes, without its lock.
//!
//! Guarantees: shows whole frames only, and an unfinished one at the end as not yet there; notices
//! new segments and forgotten ones; changes nothing. It looks again whenever a reader waits: the
//! kernel tells nobody that a file has grown.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::Clock;

use super::catalogue::{Active, Catalogue, Sealed, Segment};
use super::disk::{Disk, DiskFile};
use super::files::{Header, io_error, list, read_header, read_meta, read_trailer, scan_error};
use super::format::{salt_of, segment_name};
use super::log::{Log, corrupt, unreadable};
use super::meta::Meta;
use super::recover::check_header;
use super::scan::ScanError;
use super::segment::Mark;
use super::torn::{walk, walk_on};
use crate::{OpenError, ReadError};

/// Retention may take segments away while they are looked at; after so many tries it is not that.
const TRIES: usize = 10;

/// Looks again, now and then.
#[derive(Debug)]
pub(super) struct Follow {
    clock: Arc<dyn Clock>,
    every: Duration,
    /// The file of the segment that was active when last looked at.
    file: Mutex<Arc<dyn DiskFile>>,
}

/// The segment that another process writes, and its file.
type Tail = (Active, Arc<dyn DiskFile>);

/// A journal as found.
pub(super) struct Found {
    pub(super) meta: Meta,
    pub(super) catalogue: Catalogue,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Looks at the journal in a directory.
pub(super) fn find(disk: &dyn Disk, dir: &Path) -> Result<Found, OpenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match find_once(disk, dir) {
            Err(OpenError::Io { source, .. })
                if source.kind() == ErrorKind::NotFound && tries < TRIES => {}
            outcome => return outcome,
        }
    }
}

fn find_once(disk: &dyn Disk, dir: &Path) -> Result<Found, OpenError> {
    let meta = read_meta(disk, dir)?;
    let (base_seqs, _) = list(disk, dir)?;
    let salt = salt_of(meta.incarnation);
    let mut segments: Vec<(Segment, Arc<dyn DiskFile>)> = Vec::new();
    for base_seq in base_seqs {
        let path = dir.join(segment_name(base_seq));
        let file = disk.open(&path).map_err(io_error("read", &path))?;
        let header = read_header(&*file, usize::from(meta.partitions));
        let header = header.map_err(io_error("read", &path))?;
        if matches!(header, Header::Unfinished) && !segments.is_empty() {
            break;
        }
        let header = check_header(&meta, &path, base_seq, header)?;
        segments.push((Segment::new(dir, header), file));
    }
    let Some((last, file)) = segments.pop() else {
        let what = "no segment is left".to_owned();
        return Err(OpenError::Corrupt { path: dir.to_owned(), what });
    };
    let nexts = segments.iter().map(|(segment, _)| segment).skip(1).chain([&last]);
    let mut sealed = VecDeque::new();
    for ((segment, file), next) in segments.iter().zip(nexts) {
        sealed.push_back(find_sealed(segment, file, next, salt)?);
    }
    let path = Arc::clone(&last.path);
    let active = walk(&file, last, salt).map_err(scan_error(&path))?.active;
    Ok(Found { meta, catalogue: Catalogue::new(sealed, active), file })
}

fn find_sealed(
    segment: &Segment,
    file: &Arc<dyn DiskFile>,
    next: &Segment,
    salt: u32,
) -> Result<Sealed, OpenError> {
    let path = &segment.path;
    let file_bytes = file.bytes().map_err(io_error("read", path))?;
    let trailer = read_trailer(&**file, salt).map_err(io_error("read", path))?;
    let segment = segment.clone();
    if let Some(trailer) = trailer.filter(|trailer| trailer.end_seq == next.header.base_seq) {
        let end = Mark {
            position: file_bytes.saturating_sub(u64::from(trailer.footer_len)),
            seq: trailer.end_seq,
            max_ms: trailer.max_ms,
            next: Arc::clone(&next.header.base),
        };
        return Ok(Sealed { segment, end, min_ms: trailer.min_ms, file_bytes });
    }
    let walked = walk(file, segment, salt).map_err(scan_error(path))?;
    let Active { segment, end: Mark { position, max_ms, .. }, min_ms, .. } = walked.active;
    // If that is less than what the next one follows, a reader that comes to its end says so.
    let (seq, next) = (next.header.base_seq, Arc::clone(&next.header.base));
    let end = Mark { position, seq, max_ms, next };
    Ok(Sealed { segment, end, min_ms, file_bytes })
}

// === impl Follow ===

impl Follow {
    pub(super) fn new(clock: Arc<dyn Clock>, every: Duration, file: Arc<dyn DiskFile>) -> Self {
        Self { clock, every, file: Mutex::new(file) }
    }

    /// Waits for a while and looks again. Cancel-safe.
    pub(super) async fn wait(self: &Arc<Self>, log: &Arc<Log>) -> Result<(), ReadError> {
        self.clock.sleep(self.every).await;
        self.look(log).await
    }

    /// Looks again. Cancel-safe.
    pub(super) async fn look(self: &Arc<Self>, log: &Arc<Log>) -> Result<(), ReadError> {
        let (this, log) = (Arc::clone(self), Arc::clone(log));
        let looked = tokio::task::spawn_blocking(move || this.refresh(&log)).await;
        looked.map_err(|error| ReadError::Failed(error.to_string()))?
    }

    fn refresh(&self, log: &Log) -> Result<(), ReadError> {
        let mut file = self.file.lock();
        loop {
            // Listed before the walk: what a listed segment follows is whole by then.
            let (names, _) = list(&*log.disk, &log.dir).map_err(|error| failed(&error))?;
            forget_missing(log, &names);
            let end_seq = walk_further(log, &file)?;
            let own = log.catalogue.lock().active().segment.clone();
            let later = names.into_iter().find(|base_seq| *base_seq > own.header.base_seq);
            match later {
                None => return Ok(()),
                Some(next) if next == end_seq => match open_next(log, next)? {
                    Some((active, next_file)) => {
                        let length = file.bytes().map_err(|error| unreadable(&own.path, &error))?;
                        log.roll(length, active);
                        *file = next_file;
                    }
                    None => return Ok(()),
                },
                Some(_) => return self.find_again(log, &own, &mut file),
            }
        }
    }

    /// The next segment is not where this one ends: it has been forgotten meanwhile, with this
    /// one, or this one is damaged.
    fn find_again(
        &self,
        log: &Log,
        own: &Segment,
        file: &mut Arc<dyn DiskFile>,
    ) -> Result<(), ReadError> {
        if log.disk.open(&own.path).is_ok() {
            let at = log.catalogue.lock().active().end.position;
            return Err(corrupt(&own.path, at, "there is no frame, though a segment follows"));
        }
        let found = find(&*log.disk, &log.dir).map_err(|error| failed(&error))?;
        *file = found.file;
        let seq = found.catalogue.active().end.seq;
        *log.durable.lock() = Arc::clone(&found.catalogue.active().end.next);
        *log.catalogue.lock() = found.catalogue;
        log.show(seq);
        Ok(())
    }
}

/// Takes in what the active segment has got since; the record with which it ends now.
fn walk_further(log: &Log, file: &Arc<dyn DiskFile>) -> Result<u64, ReadError> {
    let mut active = log.catalogue.lock().active().clone();
    let path = Arc::clone(&active.segment.path);
    let length = file.bytes().map_err(|error| unreadable(&path, &error))?;
    let before = active.end.seq;
    if length > active.end.position {
        walk_on(file, &mut active, log.salt, length).map_err(|error| match error {
            ScanError::Io(error) => unreadable(&path, &error),
            ScanError::Defect { at, defect } => corrupt(&path, at, defect),
        })?;
    }
    let seq = active.end.seq;
    if seq > before {
        *log.durable.lock() = Arc::clone(&active.end.next);
        *log.catalogue.lock().active_mut() = active;
        log.show(seq);
    }
    Ok(seq)
}

/// The segment that follows; `None` while it is being made.
fn open_next(log: &Log, base_seq: u64) -> Result<Option<Tail>, ReadError> {
    let path = log.dir.join(segment_name(base_seq));
    let file = match log.disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let header = read_header(&*file, log.partitions).map_err(|error| unreadable(&path, &error))?;
    match header {
        Header::Unfinished => Ok(None),
        Header::Whole(header) if header.incarnation == log.incarnation => {
            Ok(Some((Active::new(Segment::new(&log.dir, header)), file)))
        }
        Header::Whole(_) | Header::Defect(_) => {
            Err(corrupt(&path, 0, "the header of the segment is damaged"))
        }
    }
}

fn forget_missing(log: &Log, names: &[u64]) {
    let mut catalogue = log.catalogue.lock();
    while catalogue
        .sealed()
        .front()
        .is_some_and(|oldest| names.binary_search(&oldest.segment.header.base_seq).is_err())
    {
        catalogue.forget_oldest();
    }
}

fn failed(error: &OpenError) -> ReadError {
    ReadError::Failed(error.to_string())
}
