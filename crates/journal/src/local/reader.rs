//! Reading: from the tail in memory when the place is there, else from files on a blocking thread.
//!
//! Guarantees: order of the sequence; a dropped `next` loses nothing, since records are taken only
//! after the last await; waiting costs nothing until something is written; where the frames of a
//! segment end with other records than the catalogue says, that is damage, and nothing is skipped.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::block::{Record, Records};
use super::catalogue::Extent;
use super::disk::DiskFile;
use super::follow::Follow;
use super::log::{Log, Visible, corrupt, unreadable};
use super::scan::{Scan, ScanError};
use super::segment::Mark;
use super::tail::Place;
use crate::{Entry, Offset, Partition, ReadError, ReadLimit, Reader};

/// A reader of some partitions.
pub(super) struct LocalReader {
    log: Arc<Log>,
    visible: watch::Receiver<Visible>,
    /// How the end moves when another process writes.
    follow: Option<Arc<Follow>>,
    /// Per partition, the first offset wanted; `None` for partitions that are not.
    wanted: Vec<Option<u64>>,
    /// Per partition, the offset of the next record in `ready`, or at `place` when that is empty.
    next: Vec<u64>,
    /// Frames that have been fetched.
    ready: VecDeque<Records>,
    /// Where to fetch on.
    place: Place,
    /// The file of the segment with this first record.
    file: Option<(u64, Arc<dyn DiskFile>)>,
}

/// Frames fetched from a file.
struct Fetched {
    frames: Vec<Records>,
    place: Place,
    file: (u64, Arc<dyn DiskFile>),
}

/// Counts what [`Reader::next`] may still return.
struct Room {
    records: usize,
    bytes: usize,
    is_first: bool,
}

// === impl LocalReader ===

impl LocalReader {
    /// Reads what is wanted, from `start` on, which has to be before all of it.
    pub(super) fn new(
        log: Arc<Log>,
        follow: Option<Arc<Follow>>,
        from: &[(Partition, Offset)],
        start: &Mark,
        segment: u64,
    ) -> Self {
        let mut wanted = vec![None; log.partitions];
        for (partition, offset) in from {
            if let Some(wanted) = wanted.get_mut(usize::from(partition.0)) {
                *wanted = Some(offset.0);
            }
        }
        Self {
            visible: log.visible.subscribe(),
            log,
            follow,
            wanted,
            next: start.next.to_vec(),
            ready: VecDeque::new(),
            place: Place { segment, position: start.position, seq: start.seq },
            file: None,
        }
    }

    /// What can be had without waiting.
    fn take(&mut self, limit: ReadLimit) -> Result<Vec<Entry>, ReadError> {
        let mut room = Room { records: limit.records, bytes: limit.bytes, is_first: true };
        let mut entries = Vec::new();
        while self.has_frame() {
            let Some(records) = self.ready.front_mut() else { break };
            let at = records.position();
            let step = records.next_record();
            let Some(record) = step.map_err(|what| self.damaged(what))? else {
                self.ready.pop_front();
                continue;
            };
            let Some(offset) = self.offset_if_wanted(&record)? else { continue };
            if !room.takes(record.payload.len()) {
                self.put_back(at, &record);
                break;
            }
            let Some(records) = self.ready.front() else { break };
            entries.push(Entry {
                partition: Partition(record.partition),
                offset,
                timestamp_ms: record.timestamp_ms,
                payload: records.payload(&record),
            });
        }
        Ok(entries)
    }

    /// Whether there is a frame at hand, in the tail if none has been fetched.
    fn has_frame(&mut self) -> bool {
        if self.ready.is_empty()
            && let Some((records, after)) = self.log.tail.lock().get(self.place.seq)
        {
            self.ready.push_back(records);
            self.place = after;
        }
        !self.ready.is_empty()
    }

    /// Counts the record; its offset when it is wanted.
    fn offset_if_wanted(&mut self, record: &Record) -> Result<Option<Offset>, ReadError> {
        let place = usize::from(record.partition);
        let Some(next) = self.next.get_mut(place) else {
            return Err(self.damaged("a record names a partition that does not exist"));
        };
        let offset = *next;
        *next += 1;
        let wanted = self.wanted.get(place).copied().flatten();
        Ok(wanted.is_some_and(|wanted| wanted <= offset).then_some(Offset(offset)))
    }

    fn put_back(&mut self, at: usize, record: &Record) {
        if let Some(records) = self.ready.front_mut() {
            records.put_back(at);
        }
        if let Some(next) = self.next.get_mut(usize::from(record.partition)) {
            *next -= 1;
        }
    }

    fn damaged(&self, what: &str) -> ReadError {
        let place = format!("{} before record {}", self.log.dir.display(), self.place.seq);
        ReadError::Corrupt { place, what: what.to_owned() }
    }

    /// Waits until there is something behind the place, and fetches it if it is not in the tail.
    async fn fill(&mut self) -> Result<(), ReadError> {
        let Visible { seq, closed } = *self.visible.borrow_and_update();
        if self.place.seq >= seq {
            if closed {
                return Err(ReadError::Failed("the journal is closed".to_owned()));
            }
            return self.wait().await;
        }
        let extent = self.log.catalogue.lock().extent_at(self.place.seq);
        let Some(extent) = extent else { return self.skip_forgotten() };
        let (log, place, file) = (Arc::clone(&self.log), self.place, self.file.clone());
        let next = self.next.clone();
        let fetch = tokio::task::spawn_blocking(move || fetch(&log, &extent, place, next, file));
        let fetched = fetch.await.map_err(|error| ReadError::Failed(error.to_string()))?;
        let Some(Fetched { frames, place, file }) = fetched? else {
            return self.skip_forgotten();
        };
        self.ready.extend(frames);
        self.place = place;
        self.file = Some(file);
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), ReadError> {
        match &self.follow {
            Some(follow) => follow.wait(&self.log).await,
            None => {
                let changed = self.visible.changed().await;
                changed.map_err(|_| ReadError::Failed("the journal is closed".to_owned()))
            }
        }
    }

    /// The place has been forgotten: fine if nothing there was wanted.
    fn skip_forgotten(&mut self) -> Result<(), ReadError> {
        let wanted: Vec<_> = (0..)
            .map(Partition)
            .zip(self.wanted.iter().zip(&self.next))
            .filter_map(|(partition, (wanted, next))| {
                wanted.map(|wanted| (partition, Offset(wanted.max(*next))))
            })
            .collect();
        self.log.check_kept(&wanted)?;
        let start = self.log.catalogue.lock().start().first_mark();
        if start.seq <= self.place.seq {
            let dir = self.log.dir.display();
            return Err(ReadError::Failed(format!("{dir}: a segment file has been taken away")));
        }
        let (segment, position, seq) = (start.seq, start.position, start.seq);
        self.place = Place { segment, position, seq };
        self.next = start.next.to_vec();
        Ok(())
    }
}

impl Reader for LocalReader {
    fn next(&mut self, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            loop {
                let entries = self.take(limit)?;
                if !entries.is_empty() {
                    return Ok(entries);
                }
                self.fill().await?;
            }
        })
    }
}

// === impl Room ===

impl Room {
    fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.records > 0 && bytes <= self.bytes;
        if !fits && !self.is_first {
            return false;
        }
        self.is_first = false;
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// Reads frames of one segment from the place on, about a piece of them; `next` are the offsets
/// there. At the end of the segment they have to be those that it ends with. Blocks. `None` when
/// the segment has been forgotten meanwhile.
fn fetch(
    log: &Log,
    extent: &Extent,
    place: Place,
    mut next: Vec<u64>,
    file: Option<(u64, Arc<dyn DiskFile>)>,
) -> Result<Option<Fetched>, ReadError> {
    let path = &extent.segment.path;
    let segment = extent.segment.header.base_seq;
    let position = match place.segment == segment {
        true => place.position,
        false => extent.segment.header.file_bytes(),
    };
    let file = match file.filter(|(of, _)| *of == segment) {
        Some((_, file)) => file,
        None => match log.disk.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, &error)),
        },
    };
    let end = &extent.end;
    let mut scan = Scan::new(Arc::clone(&file), log.salt, (position, place.seq), end.position);
    let mut frames = Vec::new();
    loop {
        let frame = match scan.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(ScanError::Io(error)) => return Err(unreadable(path, &error)),
            Err(ScanError::Defect { at, defect }) => return Err(corrupt(path, at, defect)),
        };
        frames.push(frame.records().map_err(|defect| corrupt(path, frame.end, defect))?);
        if !scan.has_next_at_hand() {
            break;
        }
    }
    let (position, seq) = (scan.position(), scan.seq());
    if position == end.position || seq >= end.seq {
        count(&frames, &mut next)
            .and_then(|()| end.check_reached(seq, next.into_iter().enumerate()))
            .map_err(|what| corrupt(path, position, what))?;
    }
    let place = Place { segment, position, seq };
    Ok(Some(Fetched { frames, place, file: (segment, file) }))
}

/// Adds the records of all frames to the offsets of their partitions.
fn count(frames: &[Records], next: &mut [u64]) -> Result<(), String> {
    frames.iter().try_for_each(|records| Ok(records.clone().count_into(next)?))
}
