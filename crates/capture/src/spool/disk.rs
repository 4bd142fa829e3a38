//! The files behind the spool: appended to one after another, read in the same order, removed when
//! read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::SpoolError;

/// Number of a spool file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u64);

/// A file is closed at this size: small enough that disk space comes back while a long backlog is
/// read.
const FILE_BYTES: u64 = 64 << 20;

/// Every spool file has this extension; nothing else in the directory is touched.
pub(super) const EXTENSION: &str = "spool";

/// Whoever holds the lock on this file owns the directory.
const LOCK_NAME: &str = "lock";

/// The right to use the directory, as long as it lives.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
}

/// Appends to the newest file.
#[derive(Debug)]
pub(super) struct FilesWriter {
    dir: PathBuf,
    next: u64,
    open: Option<(FileId, File, u64)>,
}

/// Reads from the oldest file.
#[derive(Debug)]
pub(super) struct FilesReader {
    dir: PathBuf,
    open: Option<(FileId, File)>,
}

// === impl Claim ===

impl Claim {
    /// Makes the directory, takes it, and removes the files of an earlier run.
    pub(super) fn stake(dir: &Path) -> Result<Self, SpoolError> {
        std::fs::create_dir_all(dir).map_err(failed("make the spool directory", dir))?;
        let path = dir.join(LOCK_NAME);
        let lock = File::create(&path).map_err(failed("make the spool's lock file", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => {
                return Err(failed("lock the spool directory by", &path)(error));
            }
        }
        clear(dir)?;
        Ok(Self { _lock: lock })
    }
}

/// Removes spool files.
fn clear(dir: &Path) -> Result<(), SpoolError> {
    let entries = std::fs::read_dir(dir).map_err(failed("list the spool directory", dir))?;
    for entry in entries {
        let path = entry.map_err(failed("list the spool directory", dir))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            std::fs::remove_file(&path).map_err(failed("remove the old spool file", &path))?;
        }
    }
    Ok(())
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { what, path, source }
}

fn path_of(dir: &Path, file: FileId) -> PathBuf {
    dir.join(format!("{:08}.{EXTENSION}", file.0))
}

// === impl FilesWriter ===

impl FilesWriter {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, next: 0, open: None }
    }

    /// Appends, and tells in which file. What could be written of it before an error is cut off, so that it may be
    /// tried again.
    pub(super) async fn append(&mut self, bytes: &Bytes) -> Result<FileId, SpoolError> {
        let (id, mut file, written) = match self.open.take() {
            Some(open) if open.2 < FILE_BYTES => open,
            _ => self.create()?,
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let bytes = bytes.clone();
        let (file, result) = off_thread(move || {
            let result = file.write_all(&bytes);
            let cut = result.is_ok() || file.set_len(written).is_ok();
            (cut.then_some(file), result)
        })
        .await?;
        let kept = written + if result.is_ok() { length } else { 0 };
        self.open = file.map(|file| (id, file, kept));
        result.map_err(failed("write the spool file", &path_of(&self.dir, id)))?;
        Ok(id)
    }

    fn create(&mut self) -> Result<(FileId, File, u64), SpoolError> {
        let id = FileId(self.next);
        self.next += 1;
        let path = path_of(&self.dir, id);
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.map_err(failed("make the spool file", &path))?;
        Ok((id, file, 0))
    }
}

// === impl FilesReader ===

impl FilesReader {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, open: None }
    }

    /// The next `length` bytes of the file: a page-cache read of what was just written, not worth a
    /// thread hop.
    pub(super) fn read(&mut self, file: FileId, length: usize) -> Result<Bytes, SpoolError> {
        let path = path_of(&self.dir, file);
        let open = self.turn_to(file)?;
        let mut bytes = vec![0; length];
        open.read_exact(&mut bytes).map_err(failed("read the spool file", &path))?;
        Ok(bytes.into())
    }

    fn turn_to(&mut self, file: FileId) -> Result<&mut File, SpoolError> {
        let open = match self.open.take() {
            Some((id, open)) if id == file => open,
            other => {
                if let Some((old, _)) = other {
                    remove(&path_of(&self.dir, old));
                }
                let path = path_of(&self.dir, file);
                File::open(&path).map_err(failed("open the spool file", &path))?
            }
        };
        Ok(&mut self.open.insert((file, open)).1)
    }
}

impl Drop for FilesReader {
    fn drop(&mut self) {
        // Nobody else reads what is left, and it is of no use to a later run.
        if let Err(error) = clear(&self.dir) {
            tracing::warn!(%error, "spool files stay behind until the next start");
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        let path = path.display();
        tracing::warn!(%path, %error, "a spool file stays behind until the next start");
    }
}

pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SpoolError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SpoolError::Io {
        what: "run the writer of the spool in",
        path: PathBuf::new(),
        source: std::io::Error::other(error),
    })
}
