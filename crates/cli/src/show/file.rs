//! The file in which a process says how it is, for `keyferry status` and for health checks.
//!
//! Guarantees: it is written only by the process that has the stream's journal; a new file takes the place of the old one
//! in one step, so that it is whole whenever it is read. A disk that is full does not keep it from being written: then it
//! is written over in place, into the room that it has. A crash in the middle of that may leave a file that is no JSON,
//! which readers report; so may a power cut at any time, since nothing is synced. The next start writes a new one.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

/// The file. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct StatusFile {
    path: PathBuf,
    ours: Arc<AtomicBool>,
    /// Whether it has been said that it cannot be written.
    told: Arc<AtomicBool>,
}

/// The file is a multiple of this long, and has at least a half of it to spare, in spaces: room for figures that grow
/// while the disk is full.
const ROOM_BYTES: usize = 8 << 10;

/// How often a file is read before what is in it is taken for what is wrong with it.
const READINGS: usize = 5;

/// Read, write and enter for the owner, nothing for others.
const PRIVATE: u32 = 0o700;

// === impl StatusFile ===

impl StatusFile {
    /// A file that is not written before [`StatusFile::take`].
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, ours: Arc::default(), told: Arc::default() }
    }

    /// From now on the file is this process's.
    pub(crate) fn take(&self) {
        self.ours.store(true, Ordering::Relaxed);
    }

    /// Replaces the file, in one step unless the disk is full. That it could not be written only matters to who looks at it.
    pub(super) fn write(&self, status: &Value, now_ms: i64) {
        if !self.ours.load(Ordering::Relaxed) {
            return;
        }
        let mut status = status.clone();
        if let Some(fields) = status.as_object_mut() {
            fields.insert("written_at_ms".to_owned(), now_ms.into());
        }
        let text = format!("{status:#}\n");
        match replace(&self.path, &text).or_else(|error| overwrite(&self.path, &text, error)) {
            Ok(()) if self.told.swap(false, Ordering::Relaxed) => {
                tracing::info!(path = %self.path.display(), "the status file can be written again");
            }
            Err(error) if !self.told.swap(true, Ordering::Relaxed) => tracing::warn!(
                path = %self.path.display(), %error,
                "the status file cannot be written: `keyferry status` shows nothing new, and says how old that is"
            ),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Reads a status. It may be written over at this moment, so it counts as soon as it reads the same twice.
///
/// # Errors
/// When there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = std::fs::read_to_string(path)?;
    for _ in 1..READINGS {
        let again = std::fs::read_to_string(path)?;
        if again == text {
            break;
        }
        text = again;
    }
    Ok(text)
}

/// Puts a new file in the place of the old one, with room to spare.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)?;
    }
    let new = path.with_extension("json.new");
    let length = (text.len() + ROOM_BYTES / 2).next_multiple_of(ROOM_BYTES);
    let written = std::fs::write(&new, format!("{text:<length$}"));
    written.and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
        // Half of a file takes room that others wait for; whether it can go does not matter more than that.
        std::fs::remove_file(&new).ok();
    })
}

/// Writes over the file that is there, which needs no room on the disk as long as it becomes no longer.
fn overwrite(path: &Path, text: &str, error: io::Error) -> io::Result<()> {
    if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Err(error);
    }
    let file = File::options().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if text.len() > length {
        return Err(error);
    }
    file.write_all_at(format!("{text:<length$}").as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_of_another_process_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status/main.json");
        let file = StatusFile::new(path.clone());
        file.write(&json!({ "state": "starting" }), 7);
        assert!(!path.exists());
        file.take();
        file.write(&json!({ "state": "running" }), 8);
        let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, json!({ "state": "running", "written_at_ms": 8 }));
    }

    #[test]
    fn a_file_is_written_over_in_the_room_that_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.json");
        replace(&path, "{\"state\":\"running\"}\n").unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        overwrite(&path, "{\"state\":\"stopping\",\"more\":1}\n", full()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
        let shown: Value = serde_json::from_str(&read(&path).unwrap()).unwrap();
        assert_eq!(shown, json!({ "state": "stopping", "more": 1 }));
        assert!(overwrite(&path, &"x".repeat(ROOM_BYTES + 1), full()).is_err());
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(overwrite(&path, "{}", denied).is_err());
    }
}
