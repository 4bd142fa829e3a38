//! The file in which a process says how it is, for `keyferry status` and for health checks.
//!
//! Guarantees: it is always whole; it is written only by the process that has the stream's journal.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
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

    /// Replaces the file in one step. That it could not be written only matters to who looks at it.
    pub(super) fn write(&self, status: &Value, now_ms: i64) {
        if !self.ours.load(Ordering::Relaxed) {
            return;
        }
        let mut status = status.clone();
        if let Some(fields) = status.as_object_mut() {
            fields.insert("written_at_ms".to_owned(), now_ms.into());
        }
        if let Err(error) = replace(&self.path, &format!("{status:#}\n"))
            && !self.told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                path = %self.path.display(), %error,
                "the status file cannot be written: `keyferry status` shows nothing new"
            );
        }
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)?;
    }
    let new = path.with_extension("json.new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
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
}
