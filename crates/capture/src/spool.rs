//! The queue between the socket and the parser: memory first, then disk, bounded.
//!
//! Guarantees: pieces come out in the order they went in; [`SpoolWriter::push`] never waits for the reader, so
//! that the socket is always drained; what does not fit into the memory share goes to files, and beyond the
//! disk share the writer fails with an error that says so. The files carry nothing across a restart (the
//! journal's tail is where capture resumes) and are removed as they are read, on drop, and on the next start.

mod disk;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::disk::{FileId, FilesReader, FilesWriter};

/// Shares of the spool.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Where its files go. Made when missing; files of an earlier run are removed.
    pub dir: PathBuf,
    /// Bytes kept in memory before files are used.
    pub memory_bytes: usize,
    /// Bytes that may wait in files.
    pub disk_bytes: u64,
}

/// One thing that came over the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The source sends its whole data set: everything before is superseded.
    FullResync {
        /// The history, and the offset that the snapshot stands at.
        lineage: Lineage,
        /// Size of the snapshot file; 0: not known beforehand.
        bytes_expected: u64,
    },
    /// Bytes of the snapshot file.
    Snapshot(Bytes),
    /// The snapshot file is complete; the stream follows.
    SnapshotEnd,
    /// Bytes of the replication stream, and when they arrived (Unix milliseconds, our clock).
    Stream {
        /// The bytes.
        bytes: Bytes,
        /// When.
        arrived_ms: i64,
    },
    /// The link was set up anew and the stream goes on without a gap; under another replication id if one is named.
    Continued(Option<Lineage>),
}

/// A replication history and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The replication id.
    pub replication_id: String,
    /// For a full transfer: the offset the snapshot stands at. For a continuation: where the histories part.
    pub offset: u64,
}

/// The side that the link fills.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    shared: Arc<Shared>,
    files: FilesWriter,
    config: SpoolConfig,
}

/// The side that the parser empties.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    shared: Arc<Shared>,
    files: FilesReader,
}

/// How much waits in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpoolUse {
    /// In memory, bytes.
    pub memory_bytes: usize,
    /// In files, bytes.
    pub disk_bytes: u64,
}

/// A view of how much waits, for the status.
#[derive(Clone, Debug)]
pub(crate) struct SpoolGauge {
    shared: Arc<Shared>,
}

/// Why the spool cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// More waits than it may hold.
    #[error("the spool in {} is full: {limit} bytes wait to be written to the journal", dir.display())]
    Full {
        /// Its directory.
        dir: PathBuf,
        /// The disk share.
        limit: u64,
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

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    held: SpoolUse,
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

/// An empty spool. Files of an earlier run in its directory are removed.
///
/// # Errors
/// When the directory cannot be made or emptied.
pub(crate) fn spool(config: SpoolConfig) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
    disk::clear(&config.dir)?;
    let shared = Arc::new(Shared::default());
    let reader =
        SpoolReader { shared: Arc::clone(&shared), files: FilesReader::new(config.dir.clone()) };
    Ok((SpoolWriter { shared, files: FilesWriter::new(config.dir.clone()), config }, reader))
}

// === impl SpoolWriter ===

impl SpoolWriter {
    /// Takes a piece. Waits for the disk at most, never for the reader.
    ///
    /// # Errors
    /// When the disk share is used up or a file cannot be written. The piece is then lost to this spool: the
    /// link must be given up, and set up again later from an earlier offset.
    pub(crate) async fn push(&mut self, piece: Piece) -> Result<(), SpoolError> {
        let Some((bytes, kind)) = on_disk_form(&piece) else {
            self.shared.put(Waiting::Here(piece), 0, 0);
            return Ok(());
        };
        let length = bytes.len();
        let held = self.shared.queue.lock().held;
        if held.disk_bytes == 0 && held.memory_bytes + length <= self.config.memory_bytes {
            self.shared.put(Waiting::Here(piece), length, 0);
            return Ok(());
        }
        let added = u64::try_from(length).unwrap_or(u64::MAX);
        if held.disk_bytes.saturating_add(added) > self.config.disk_bytes {
            let dir = self.config.dir.clone();
            return Err(SpoolError::Full { dir, limit: self.config.disk_bytes });
        }
        let file = self.files.append(bytes).await?;
        self.shared.put(Waiting::OnDisk { file, length, kind }, 0, added);
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
            let (file, length, kind) = {
                let mut queue = self.shared.queue.lock();
                match queue.waiting.front() {
                    None if queue.closed => return Ok(None),
                    None => (None, 0, Kind::Snapshot),
                    Some(Waiting::Here(_)) => return Ok(queue.take_here()),
                    Some(Waiting::OnDisk { file, length, kind }) => (Some(*file), *length, *kind),
                }
            };
            let Some(file) = file else {
                filled.await;
                continue;
            };
            // No await from here on: a dropped future loses nothing.
            let bytes = self.files.read(file, length)?;
            self.shared.queue.lock().take_from_disk(length);
            return Ok(Some(match kind {
                Kind::Snapshot => Piece::Snapshot(bytes),
                Kind::Stream { arrived_ms } => Piece::Stream { bytes, arrived_ms },
            }));
        }
    }
}

// === impl SpoolGauge ===

impl SpoolGauge {
    /// How much waits now.
    #[must_use]
    pub(crate) fn held(&self) -> SpoolUse {
        self.shared.queue.lock().held
    }
}

// === impl Shared ===

impl Shared {
    fn put(&self, waiting: Waiting, memory: usize, disk: u64) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(waiting);
        queue.held.memory_bytes += memory;
        queue.held.disk_bytes += disk;
        drop(queue);
        self.filled.notify_one();
    }
}

// === impl Queue ===

impl Queue {
    fn take_here(&mut self) -> Option<Piece> {
        let Some(Waiting::Here(piece)) = self.waiting.pop_front() else { return None };
        let length = on_disk_form(&piece).map_or(0, |(bytes, _)| bytes.len());
        self.held.memory_bytes = self.held.memory_bytes.saturating_sub(length);
        Some(piece)
    }

    fn take_from_disk(&mut self, length: usize) {
        self.waiting.pop_front();
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.held.disk_bytes = self.held.disk_bytes.saturating_sub(length);
    }
}

/// The bytes of a piece that may go to disk, and what they are; none for pieces without bytes.
fn on_disk_form(piece: &Piece) -> Option<(&Bytes, Kind)> {
    match piece {
        Piece::Snapshot(bytes) => Some((bytes, Kind::Snapshot)),
        Piece::Stream { bytes, arrived_ms } => {
            Some((bytes, Kind::Stream { arrived_ms: *arrived_ms }))
        }
        Piece::FullResync { .. } | Piece::SnapshotEnd | Piece::Continued(_) => None,
    }
}
