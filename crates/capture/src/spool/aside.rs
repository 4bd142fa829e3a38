//! A file for what the reader cannot hold: written whole, then read whole, in the same order.
//!
//! Guarantees: it counts in the spool's disk share for as long as it is there, and is removed when
//! it is dropped, or by the next start.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{EXTENSION, failed, off_thread};
use super::{Shared, SpoolError, to_u64};

/// Its name: there is one at a time.
const STEM: &str = "transaction";

/// Pieces put aside.
#[derive(Debug)]
pub(crate) struct Aside {
    shared: Arc<Shared>,
    path: PathBuf,
    file: Arc<File>,
    /// The sizes of those not yet taken.
    lengths: VecDeque<usize>,
    written: u64,
    read: u64,
}

// === impl Aside ===

impl Aside {
    pub(super) fn create(shared: Arc<Shared>) -> Result<Self, SpoolError> {
        let path = shared.config.dir.join(STEM).with_extension(EXTENSION);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(failed("make the spool file", &path))?;
        let lengths = VecDeque::new();
        Ok(Self { shared, path, file: Arc::new(file), lengths, written: 0, read: 0 })
    }

    /// Adds a piece. May be tried again after an error.
    ///
    /// # Errors
    /// When the disk share is used up or the file cannot be written.
    pub(crate) async fn put(&mut self, piece: &Bytes) -> Result<(), SpoolError> {
        let length = to_u64(piece.len());
        self.shared.check_disk(length)?;
        let (file, bytes, at) = (Arc::clone(&self.file), piece.clone(), self.written);
        let written = off_thread(move || file.write_all_at(&bytes, at)).await?;
        written.map_err(failed("write the spool file", &self.path))?;
        self.shared.queue.lock().aside_bytes += length;
        self.written += length;
        self.lengths.push_back(piece.len());
        Ok(())
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, SpoolError> {
        let Some(length) = self.lengths.pop_front() else { return Ok(None) };
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, self.read);
        read.map_err(failed("read the spool file", &self.path))?;
        self.read += to_u64(length);
        Ok(Some(bytes.into()))
    }

    /// A piece is not what was written.
    pub(crate) fn damaged(
        &self,
        why: impl std::error::Error + Send + Sync + 'static,
    ) -> SpoolError {
        failed("understand the spool file", &self.path)(std::io::Error::new(
            ErrorKind::InvalidData,
            why,
        ))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.shared.queue.lock().aside_bytes -= self.written;
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "a spool file stays behind until the next start");
            }
            _ => {}
        }
    }
}
