//! The file in which a data directory says which source a stream was last recorded from: its address, without
//! credentials.
//!
//! Guarantee: it is replaced in one step. Where it is missing or empty, as after a crash, the source before is not known.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::PRIVATE;
use crate::exit::{Exit, Failure};

/// Where the source of a stream is noted.
pub(super) struct Origin(PathBuf);

// === impl Origin ===

impl Origin {
    pub(super) fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// The address of the source before; none: it is not known.
    pub(super) fn read(&self) -> Result<Option<String>, Failure> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim_end().to_owned()).filter(|address| !address.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    /// Notes the address of the source.
    pub(super) fn write(&self, address: &str) -> Result<(), Failure> {
        if self.read()?.as_deref() == Some(address) {
            return Ok(());
        }
        replace(&self.0, &format!("{address}\n")).map_err(|error| self.failed("write", &error))
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        Failure {
            exit: Exit::Journal,
            what: format!(
                "{what} {}, where the address of the source is noted: {error}",
                self.0.display()
            ),
            advice:
                "let this account read and write the data directory, and see that its disk has room"
                    .to_owned(),
        }
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)?;
    }
    let new = path.with_added_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_was_noted_last_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::of(dir.path().join("origin/a.b"));
        assert_eq!(origin.read().unwrap(), None);
        for address in ["h:1", "h:2", "h:2"] {
            origin.write(address).unwrap();
            assert_eq!(origin.read().unwrap().as_deref(), Some(address));
        }
        fs::write(dir.path().join("origin/a.b"), "").unwrap();
        assert_eq!(origin.read().unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::of(dir.path().to_owned());
        let failure = origin.read().unwrap_err();
        assert!(failure.what.contains(&dir.path().display().to_string()), "{failure:?}");
    }
}
