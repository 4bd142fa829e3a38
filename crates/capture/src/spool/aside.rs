//! Files for what the reader cannot hold: each written whole, then read whole, in the same order.
//!
//! Guarantees: they count in the spool's disk share for as long as they are there, and are removed
//! when they are dropped, or by the next start.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::disk::{EXTENSION, failed, off_thread};
use super::{Shared, SpoolError, to_u64};

/// The name of the one for an open transaction: there is one at a time.
const TRANSACTION: &str = "transaction";

/// What the names of the others begin with; a number follows.
const LARGE: &str = "large";

/// So much is written at once, and the threads that write are others' in between.
const WRITE_BYTES: usize = 8 << 20;

/// Makes such files.
#[derive(Clone, Debug)]
pub(crate) struct Asides {
    shared: Arc<Shared>,
}

/// Bytes put aside.
#[derive(Debug)]
pub(crate) struct Aside {
    shared: Arc<Shared>,
    path: PathBuf,
    file: Arc<File>,
    written: u64,
    read: u64,
}

// === impl Asides ===

impl Asides {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// An empty file for the transaction that is open.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn for_transaction(&self) -> Result<Aside, SpoolError> {
        Aside::create(Arc::clone(&self.shared), TRANSACTION)
    }

    /// An empty file for a large event.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn for_event(&self) -> Result<Aside, SpoolError> {
        let number = self.shared.asides.fetch_add(1, Ordering::Relaxed);
        Aside::create(Arc::clone(&self.shared), &format!("{LARGE}-{number}"))
    }
}

// === impl Aside ===

impl Aside {
    fn create(shared: Arc<Shared>, name: &str) -> Result<Self, SpoolError> {
        let path = shared.config.dir.join(name).with_extension(EXTENSION);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path).map_err(failed("make the spool file", &path))?;
        Ok(Self { shared, path, file: Arc::new(file), written: 0, read: 0 })
    }

    /// Adds bytes: all, or none of them. May be tried again after an error.
    ///
    /// # Errors
    /// When the disk share is used up or the file cannot be written.
    pub(crate) async fn put(&mut self, segments: &[Bytes]) -> Result<(), SpoolError> {
        let length = segments.iter().map(|segment| to_u64(segment.len())).sum();
        self.shared.check_disk(length)?;
        let mut at = self.written;
        for segment in segments {
            let mut rest = segment.clone();
            while !rest.is_empty() {
                let part = rest.split_to(rest.len().min(WRITE_BYTES));
                let (file, from) = (Arc::clone(&self.file), at);
                at += to_u64(part.len());
                let written = off_thread(move || file.write_all_at(&part, from)).await?;
                written.map_err(failed("write the spool file", &self.path))?;
            }
        }
        self.shared.queue.lock().aside_bytes += length;
        self.written = at;
        Ok(())
    }

    /// The next bytes, as many as that.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, SpoolError> {
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, self.read);
        read.map_err(failed("read the spool file", &self.path))?;
        self.read += to_u64(length);
        Ok(bytes.into())
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
