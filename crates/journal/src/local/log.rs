//! What writer, readers and retention of one open stream share.
//!
//! Each lock is held for a look-up or an update in memory, never while a file is touched, and
//! never together with another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::block::Block;
use super::catalogue::{Active, Catalogue};
use super::disk::Disk;
use super::segment::Mark;
use super::tail::{Place, Tail};
use crate::{Append, AppendError, Offset, Partition, ReadError};

/// One open stream.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) salt: u32,
    pub(super) partitions: usize,
    pub(super) catalogue: Mutex<Catalogue>,
    pub(super) tail: Mutex<Tail>,
    /// Per partition, the first offset that a crash may take.
    pub(super) durable: Mutex<Arc<[u64]>>,
    pub(super) visible: watch::Sender<Visible>,
}

/// How far readers can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visible {
    /// The number of the record after the last.
    pub(super) seq: u64,
    /// Nothing will follow.
    pub(super) closed: bool,
}

/// A block that has been written, and where its frame ends.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) block: Block,
    pub(super) end: Mark,
}

// === impl Log ===

impl Log {
    /// Makes frames at the end of the active segment readable. Buffers that nobody needs any more
    /// go to `spares`.
    pub(super) fn publish(&self, frames: impl Iterator<Item = Written>, spares: &mut Vec<Vec<u8>>) {
        let mut seq = None;
        for Written { block, end } in frames {
            let segment = {
                let mut catalogue = self.catalogue.lock();
                let active = catalogue.active_mut();
                active.extend(end.clone(), block.min_ms);
                active.segment.header.base_seq
            };
            let after = Place { segment, position: end.position, seq: end.seq };
            self.tail.lock().push(block, after, spares);
            seq = Some(end.seq);
        }
        if let Some(seq) = seq {
            self.show(seq);
        }
    }

    /// Wakes readers that wait for records before `seq`.
    pub(super) fn show(&self, seq: u64) {
        self.visible.send_modify(|visible| visible.seq = seq);
    }

    /// Tells waiting readers that nothing will follow.
    pub(super) fn close(&self) {
        self.visible.send_modify(|visible| visible.closed = true);
    }

    /// The active segment is sealed, with a file of so many bytes; `next` is the active one now.
    pub(super) fn roll(&self, file_bytes: u64, next: Active) {
        self.catalogue.lock().roll(file_bytes, next);
    }

    /// Refuses records that name a partition that does not exist, for writers.
    pub(super) fn check_appends(&self, records: &[Append]) -> Result<(), AppendError> {
        records.iter().try_for_each(|record| self.check_append(record.partition))
    }

    /// Refuses a partition that does not exist, for writers.
    pub(super) fn check_append(&self, partition: Partition) -> Result<(), AppendError> {
        let count = self.partitions;
        let exists = usize::from(partition.0) < count;
        exists.then_some(()).ok_or(AppendError::NoSuchPartition { partition, count })
    }

    /// Refuses a partition that does not exist, for readers.
    pub(super) fn check_read(&self, partition: Partition) -> Result<(), ReadError> {
        let count = self.partitions;
        let exists = usize::from(partition.0) < count;
        exists.then_some(()).ok_or(ReadError::NoSuchPartition { partition, count })
    }

    /// The first of the offsets that is no longer kept, as the error for it.
    pub(super) fn check_kept(&self, wanted: &[(Partition, Offset)]) -> Result<(), ReadError> {
        let base = Arc::clone(&self.catalogue.lock().start().base);
        wanted.iter().try_for_each(|&(partition, offset)| {
            let start =
                base.get(usize::from(partition.0)).map_or(Offset(0), |start| Offset(*start));
            let kept = start <= offset;
            kept.then_some(()).ok_or(ReadError::OutOfRetention { partition, offset, start })
        })
    }
}

/// Damage at a byte of a file, for readers.
pub(super) fn corrupt(path: &Path, at: u64, what: impl std::fmt::Display) -> ReadError {
    ReadError::Corrupt { place: format!("{} byte {at}", path.display()), what: what.to_string() }
}

/// A file that could not be read, for readers.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> ReadError {
    ReadError::Failed(format!("{}: {error}", path.display()))
}
