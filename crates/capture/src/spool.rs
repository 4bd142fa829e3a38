//! The queue between the socket and the parser: memory first, then disk, bounded.
//!
//! Guarantees: pieces come out in the order they went in; [`SpoolWriter::push`] never waits for the
//! reader, so that the socket is always drained; nothing comes out before a look at the source lets it pass, where
//! there are such ([`Looks`]); what does not fit into the memory share goes to
//! files, and beyond the disk share the writer fails with an error that says so. What the reader
//! cannot hold goes to a file of the same share ([`Aside`]). The files carry
//! nothing across a restart (the journal's tail is where capture resumes) and are removed as they
//! are read, on drop, and on the next start.

mod aside;
mod disk;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use runtime::Clock;
use tokio::sync::Notify;

pub(crate) use self::aside::{Aside, Asides};
use self::disk::{Claim, FileId, FilesReader, FilesWriter};
use crate::looks::{Arrival, Looks};
use crate::piece::Piece;

/// Shares of the spool.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Where its files go. Made when missing; files of an earlier run are removed.
    pub dir: PathBuf,
    /// Bytes kept in memory before files are used.
    pub memory_bytes: usize,
    /// Bytes that may wait in files, those of a transaction under way included.
    pub disk_bytes: u64,
}

/// The side that the link fills.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    shared: Arc<Shared>,
    files: FilesWriter,
}

/// The side that the parser empties.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    /// Removed before the directory is given up.
    files: FilesReader,
    shared: Arc<Shared>,
}

/// How much waits in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpoolUse {
    /// In memory, bytes.
    pub memory_bytes: usize,
    /// In files, bytes.
    pub disk_bytes: u64,
}

/// A view of how much waits, and of whether more can come.
#[derive(Clone, Debug)]
pub(crate) struct SpoolGauge {
    shared: Arc<Shared>,
}

/// Why the spool cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// More waits than it may hold.
    #[error(
        "the spool in {} is full: {limit} bytes wait to be written to the journal",
        dir.display()
    )]
    Full {
        /// Its directory.
        dir: PathBuf,
        /// The disk share.
        limit: u64,
    },
    /// Another capture uses its directory.
    #[error("the spool directory {} is in use by another capture", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug)]
struct Shared {
    config: SpoolConfig,
    looks: Looks,
    queue: Mutex<Queue>,
    filled: Notify,
    /// Files made for the reader.
    asides: AtomicU64,
    _claim: Claim,
}

#[derive(Debug, Default)]
struct Queue {
    /// And when each came: of what was joined, the last.
    waiting: VecDeque<(Waiting, Arrival)>,
    /// By those that wait.
    held: SpoolUse,
    /// On disk, put aside by the reader.
    aside_bytes: u64,
    closed: bool,
}

#[derive(Debug)]
enum Waiting {
    Here(Piece),
    OnDisk { file: FileId, length: usize, kind: Kind },
}

/// Which piece the bytes on disk are.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Snapshot,
    Stream { arrived_ms: i64 },
}

/// Pieces on disk are joined up to this size: as large as a read of a busy socket.
const JOINED_BYTES: usize = 256 * 1024;

/// Bytes that arrived within so many milliseconds count as having arrived together.
const JOINED_MS: i64 = 10;

/// A capture that was dropped has given up its spool after this, or it has not been dropped.
const CLAIM_PATIENCE: Duration = Duration::from_secs(1);
const CLAIM_INTERVAL: Duration = Duration::from_millis(10);

/// An empty spool, of which comes out what `looks` let pass. Files of an earlier run in its directory are removed.
///
/// # Errors
/// When the directory cannot be made or emptied, or is another capture's.
pub(crate) async fn spool(
    config: SpoolConfig,
    clock: &dyn Clock,
    looks: Looks,
) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
    let begun = clock.monotonic();
    let claim = loop {
        match Claim::stake(&config.dir) {
            Err(SpoolError::InUse { .. }) if clock.monotonic() < begun + CLAIM_PATIENCE => {
                clock.sleep(CLAIM_INTERVAL).await;
            }
            claim => break claim?,
        }
    };
    let files = FilesWriter::new(config.dir.clone());
    let read_files = FilesReader::new(config.dir.clone());
    let (queue, filled) = (Mutex::default(), Notify::new());
    let asides = AtomicU64::new(0);
    let shared = Arc::new(Shared { config, looks, _claim: claim, queue, filled, asides });
    let reader = SpoolReader { files: read_files, shared: Arc::clone(&shared) };
    Ok((SpoolWriter { shared, files }, reader))
}

// === impl SpoolWriter ===

impl SpoolWriter {
    /// Takes a piece. Waits for the disk at most, never for the reader.
    ///
    /// # Errors
    /// When the disk share is used up or a file cannot be written. The piece is not in the spool then: it may be tried
    /// again, or the link must be given up, and set up again later from an earlier offset.
    pub(crate) async fn push(&mut self, piece: Piece) -> Result<(), SpoolError> {
        let Some((bytes, kind)) = on_disk_form(&piece) else {
            self.shared.put(Waiting::Here(piece));
            return Ok(());
        };
        let length = bytes.len();
        let held = self.shared.queue.lock().held;
        let fits = held.memory_bytes + length <= self.shared.config.memory_bytes;
        if held.disk_bytes == 0 && fits {
            self.shared.put(Waiting::Here(piece));
            return Ok(());
        }
        self.shared.check_disk(to_u64(length))?;
        let file = self.files.append(bytes).await?;
        self.shared.put(Waiting::OnDisk { file, length, kind });
        Ok(())
    }

    /// A view of how much waits.
    #[must_use]
    pub(crate) fn gauge(&self) -> SpoolGauge {
        SpoolGauge { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.filled.notify_one();
    }
}

// === impl SpoolReader ===

impl SpoolReader {
    /// The next piece; none when the writer is gone and everything has been read. Cancel-safe.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) async fn pop(&mut self) -> Result<Option<Piece>, SpoolError> {
        loop {
            let filled = self.shared.filled.notified();
            let (waiting, early) = {
                let mut queue = self.shared.queue.lock();
                let first = queue.waiting.front().map(|(_, arrival)| *arrival);
                match first.filter(|first| !self.shared.looks.lets_pass(*first)) {
                    Some(early) => (None, Some(early)),
                    None if first.is_none() && queue.closed => return Ok(None),
                    None => (queue.take(), None),
                }
            };
            if let Some(early) = early {
                self.shared.looks.passed(early).await;
                continue;
            }
            // No await once something was taken: a dropped future loses nothing.
            match waiting {
                None => filled.await,
                Some(Waiting::Here(piece)) => return Ok(Some(piece)),
                Some(Waiting::OnDisk { file, length, kind }) => {
                    let bytes = self.files.read(file, length)?;
                    return Ok(Some(match kind {
                        Kind::Snapshot => Piece::Snapshot(bytes),
                        Kind::Stream { arrived_ms } => Piece::Stream { bytes, arrived_ms },
                    }));
                }
            }
        }
    }
}

impl SpoolReader {
    /// Where files are made for what cannot be held in memory.
    pub(crate) fn asides(&self) -> Asides {
        Asides::new(Arc::clone(&self.shared))
    }
}

// === impl SpoolGauge ===

impl SpoolGauge {
    /// How much waits now.
    #[must_use]
    pub(crate) fn held(&self) -> SpoolUse {
        let queue = self.shared.queue.lock();
        SpoolUse { disk_bytes: queue.held.disk_bytes + queue.aside_bytes, ..queue.held }
    }
}

// === impl SpoolError ===

impl SpoolError {
    /// Whether there is no room on the disk, which may come back.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
    }
}

// === impl Shared ===

impl Shared {
    /// Refuses what is beyond the disk share.
    fn check_disk(&self, more: u64) -> Result<(), SpoolError> {
        let queue = self.queue.lock();
        let taken = queue.held.disk_bytes.saturating_add(queue.aside_bytes);
        if taken.saturating_add(more) > self.config.disk_bytes {
            let dir = self.config.dir.clone();
            return Err(SpoolError::Full { dir, limit: self.config.disk_bytes });
        }
        Ok(())
    }

    fn put(&self, waiting: Waiting) {
        // After it has come.
        let arrival = self.looks.arrival();
        self.queue.lock().add(waiting, arrival);
        self.filled.notify_one();
    }
}

// === impl Queue ===

impl Queue {
    fn add(&mut self, waiting: Waiting, arrival: Arrival) {
        match &waiting {
            Waiting::Here(piece) => self.held.memory_bytes += bytes_of(piece),
            Waiting::OnDisk { length, .. } => self.held.disk_bytes += to_u64(*length),
        }
        if let Some((last, joined)) = self.waiting.back_mut()
            && last.join(&waiting)
        {
            *joined = arrival;
            return;
        }
        self.waiting.push_back((waiting, arrival));
    }

    fn take(&mut self) -> Option<Waiting> {
        let (waiting, _) = self.waiting.pop_front()?;
        match &waiting {
            Waiting::Here(piece) => self.held.memory_bytes -= bytes_of(piece),
            Waiting::OnDisk { length, .. } => self.held.disk_bytes -= to_u64(*length),
        }
        Some(waiting)
    }
}

// === impl Waiting ===

impl Waiting {
    /// Adds the bytes that follow in the same file, so that a long backlog of small reads does not
    /// fill the memory with its list. False: they stand for themselves.
    fn join(&mut self, next: &Self) -> bool {
        let (
            Self::OnDisk { file, length, kind },
            Self::OnDisk { file: next_file, length: more, kind: next_kind },
        ) = (self, next)
        else {
            return false;
        };
        let fits = file == next_file && *length + more <= JOINED_BYTES && kind.is_as(*next_kind);
        if fits {
            *length += more;
        }
        fits
    }
}

// === impl Kind ===

impl Kind {
    fn is_as(self, next: Self) -> bool {
        match (self, next) {
            (Self::Snapshot, Self::Snapshot) => true,
            (Self::Stream { arrived_ms }, Self::Stream { arrived_ms: later }) => {
                (0..=JOINED_MS).contains(&later.saturating_sub(arrived_ms))
            }
            _ => false,
        }
    }
}

fn bytes_of(piece: &Piece) -> usize {
    on_disk_form(piece).map_or(0, |(bytes, _)| bytes.len())
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The bytes of a piece that may go to disk, and what they are; none for pieces without bytes.
fn on_disk_form(piece: &Piece) -> Option<(&Bytes, Kind)> {
    match piece {
        Piece::Snapshot(bytes) => Some((bytes, Kind::Snapshot)),
        Piece::Stream { bytes, arrived_ms } => {
            Some((bytes, Kind::Stream { arrived_ms: *arrived_ms }))
        }
        Piece::FullResync(_) | Piece::SnapshotEnd | Piece::Continued { .. } => None,
    }
}
