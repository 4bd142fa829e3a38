//! Settings of a local journal: plain data, checked before anything is opened.

use std::path::PathBuf;
use std::time::Duration;

use super::format::{BLOCK_TARGET_BYTES, NAME_LIMIT_BYTES, RECORD_LIMIT_BYTES, SEGMENT_BYTES};

/// When the disk has to confirm what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Not more often than this; everything written meanwhile is confirmed together.
    Interval(Duration),
    /// After each write; what is appended during one is confirmed by the next.
    EachBatch,
    /// Never while running: what the operating system has counts as durable. Survives a killed
    /// process, not a power cut. Sealed segments are confirmed nevertheless.
    Os,
}

/// How frames are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// As LZ4 blocks where that saves space.
    Lz4,
}

/// What to open, and how.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The directory of this one stream. Made when it does not exist.
    pub dir: PathBuf,
    /// The stream's name, at most 255 bytes.
    pub stream: String,
    /// How many partitions it has, 1 or more. Fixed when the stream is made.
    pub partitions: u16,
    /// When the disk has to confirm what was written.
    pub sync: SyncPolicy,
    /// A segment is sealed when it has this many bytes. 4 KiB to 4 GiB.
    pub segment_bytes: u64,
    /// Segments are forgotten when all files have more bytes than this; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// Segments are forgotten when their latest record is older than this; `None` is no limit.
    pub retention_age: Option<Duration>,
    /// How frames are stored.
    pub compression: Compression,
    /// Newest records kept in memory for readers, bytes.
    pub tail_cache_bytes: usize,
    /// The largest payload, bytes. At most 32 MiB.
    pub max_record_bytes: usize,
    /// Records that wait to be written, bytes; the appender waits beyond.
    pub queue_bytes: usize,
}

/// Which journal to read while another process may write it.
#[derive(Clone, Debug)]
pub struct ReadOnlyConfig {
    /// The directory of the stream.
    pub dir: PathBuf,
    /// How often a waiting reader looks for more.
    pub poll_every: Duration,
}

// === impl LocalConfig ===

impl LocalConfig {
    /// The defaults for a stream in a directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, stream: impl Into<String>, partitions: u16) -> Self {
        Self {
            dir: dir.into(),
            stream: stream.into(),
            partitions,
            // A hundred syncs a second leave a disk time for others, and cost an
            // acknowledgement less than a second's hundredth.
            sync: SyncPolicy::Interval(Duration::from_millis(10)),
            // Checked whole after a crash: a tenth of a second.
            segment_bytes: 64 * 1024 * 1024,
            retention_bytes: None,
            retention_age: None,
            compression: Compression::Lz4,
            tail_cache_bytes: 8 * 1024 * 1024,
            max_record_bytes: 1024 * 1024,
            queue_bytes: 4 * 1024 * 1024,
        }
    }

    /// Everything that is wrong with the settings, each a sentence.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let checks = [
            (self.partitions > 0, "there has to be at least one partition".to_owned()),
            (
                !self.stream.is_empty() && self.stream.len() <= NAME_LIMIT_BYTES,
                format!("the stream's name has to have 1 to {NAME_LIMIT_BYTES} bytes"),
            ),
            (
                SEGMENT_BYTES.contains(&self.segment_bytes),
                format!(
                    "segment_bytes is {}, it has to be {} to {}",
                    self.segment_bytes,
                    SEGMENT_BYTES.start(),
                    SEGMENT_BYTES.end()
                ),
            ),
            (
                (1..=RECORD_LIMIT_BYTES).contains(&self.max_record_bytes),
                format!(
                    "max_record_bytes is {}, it has to be 1 to {RECORD_LIMIT_BYTES}",
                    self.max_record_bytes
                ),
            ),
            (self.queue_bytes > 0, "queue_bytes has to be more than 0".to_owned()),
        ];
        checks.into_iter().filter(|(fine, _)| !fine).map(|(_, problem)| problem).collect()
    }

    /// Blocks are as large as is good, but small segments hold a few.
    pub(super) fn block_bytes(&self) -> usize {
        usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX).min(BLOCK_TARGET_BYTES)
    }
}

// === impl ReadOnlyConfig ===

impl ReadOnlyConfig {
    /// The defaults for a directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        // What a person who watches does not notice.
        Self { dir: dir.into(), poll_every: Duration::from_millis(100) }
    }
}
