//! What opening found, and what a journal holds at the moment: for logs, `status` and tools.

use std::path::PathBuf;

/// What was found when a journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The stream did not exist before.
    pub created: bool,
    /// The end of the last segment that a crash had left unfinished.
    pub cut: Option<Cut>,
    /// Sealed segments whose index was damaged and has been made again.
    pub rebuilt: Vec<PathBuf>,
}

/// Bytes at the end of a segment that no report of durability covered, and that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// The byte from which on it was cut.
    pub at: u64,
    /// How many bytes there were.
    pub bytes: u64,
    /// What was wrong with the first of them.
    pub what: String,
}

/// What a local journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStatus {
    /// Segment files.
    pub segments: usize,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// The time of the oldest record, milliseconds since 1970; `None` while there is no record.
    pub oldest_ms: Option<i64>,
    /// Set when the journal is past a limit of its retention and a reader keeps it from
    /// forgetting: names the reader and by how much.
    pub held: Option<String>,
}
