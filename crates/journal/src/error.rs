//! What can go wrong with a journal, one enum per operation. Each is classified once, at its cause.

use std::path::PathBuf;

use runtime::policy::{Class, Classified};

use crate::{Offset, Partition};

/// Why a stream could not be opened or its writer not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the stream.
    #[error("journal {place} is in use by another process{}", holder.as_deref().unwrap_or(""))]
    Locked {
        /// Where.
        place: String,
        /// What is known of the holder, with a leading blank.
        holder: Option<String>,
    },
    /// The stream already has an appender in this process.
    #[error("stream {stream} already has a writer")]
    HasWriter {
        /// Which.
        stream: String,
    },
    /// Several writers side by side are not what this backend has.
    #[error("a journal of this kind has one writer, not several side by side")]
    OneWriter,
    /// Another process writes the stream, and lives.
    #[error("stream {stream} is written by {holder}, which lives")]
    Led {
        /// Which.
        stream: String,
        /// What the other calls itself.
        holder: String,
    },
    /// The account lacks a right.
    #[error("the account lacks the right {right} ({place})")]
    NoRight {
        /// Operation and resource, as the broker's tools name them.
        right: String,
        /// Which stream, where.
        place: String,
    },
    /// Nobody there answers, or not well.
    #[error("{place} cannot be used now: {why}")]
    Unreachable {
        /// Which stream, where.
        place: String,
        /// What happened.
        why: String,
    },
    /// Whoever is there does not let the account in.
    #[error("{place} does not let us in: {why}")]
    Refused {
        /// Which stream, where.
        place: String,
        /// What was said.
        why: String,
    },
    /// What is stored cannot be used.
    #[error("journal {}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found, with the byte where it starts.
        what: String,
    },
    /// The stream exists with other properties than asked for.
    #[error("stream {stream}: {what}")]
    Mismatch {
        /// Which.
        stream: String,
        /// Which property differs and how.
        what: String,
    },
    /// There is no such stream, or a part of it is missing.
    #[error("stream {stream}: {what}")]
    Missing {
        /// Which.
        stream: String,
        /// What is not there, and where.
        what: String,
    },
    /// The settings cannot be used.
    #[error("settings of the journal: {what}")]
    Settings {
        /// What is wrong with them.
        what: String,
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

/// Why records were not accepted, or what was accepted is not known to be durable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// One record is larger than the backend takes; none of the batch was accepted.
    #[error("a record of {bytes} bytes for partition {} exceeds the limit of {limit}", partition.0)]
    TooLarge {
        /// Its partition.
        partition: Partition,
        /// Its payload.
        bytes: usize,
        /// The backend's limit.
        limit: usize,
    },
    /// The partition does not exist.
    #[error("partition {} does not exist: the stream has {count}", partition.0)]
    NoSuchPartition {
        /// The one named.
        partition: Partition,
        /// How many there are.
        count: usize,
    },
    /// The backend has failed for good: reopen the journal and read again what is there.
    #[error("the journal failed: {0}")]
    Failed(String),
    /// The account lacks a right.
    #[error("the account lacks the right {right} ({place})")]
    NoRight {
        /// Operation and resource, as the broker's tools name them.
        right: String,
        /// Which stream, where.
        place: String,
    },
    /// Another writer has taken over.
    #[error("another writer has taken over stream {stream}")]
    Fenced {
        /// Which.
        stream: String,
    },
}

/// Why records could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is no longer kept.
    #[error(
        "offset {} of partition {} has left retention: the journal starts at {}",
        offset.0, partition.0, start.0
    )]
    OutOfRetention {
        /// Which partition.
        partition: Partition,
        /// What was asked for.
        offset: Offset,
        /// What is there.
        start: Offset,
    },
    /// The partition does not exist.
    #[error("partition {} does not exist: the stream has {count}", partition.0)]
    NoSuchPartition {
        /// The one named.
        partition: Partition,
        /// How many there are.
        count: usize,
    },
    /// Stored bytes are not what was written.
    #[error("journal {place}: {what}")]
    Corrupt {
        /// File and byte.
        place: String,
        /// What was found.
        what: String,
    },
    /// The account lacks a right.
    #[error("the account lacks the right {right} ({place})")]
    NoRight {
        /// Operation and resource, as the broker's tools name them.
        right: String,
        /// Which stream, where.
        place: String,
    },
    /// The backend cannot work with its settings.
    #[error("settings of the journal: {what}")]
    Settings {
        /// Which, and why.
        what: String,
    },
    /// The backend failed for now.
    #[error("read the journal: {0}")]
    Failed(String),
}

/// What to do where a right is missing.
const GIVE_RIGHT: &str = "give the account this right on the brokers, then start again";

// === impl OpenError ===

impl Classified for OpenError {
    fn class(&self) -> Class {
        match self {
            Self::Led { .. } | Self::Unreachable { .. } => Class::Retry,
            _ => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Locked { .. } => {
                "stop the other process, or give this one a data directory of its own".into()
            }
            Self::HasWriter { .. } => "use the writer that exists".into(),
            Self::OneWriter => "use a journal on Kafka (kafka://…)".into(),
            Self::Led { .. } => "this one stands by and takes over when the other ends".into(),
            Self::NoRight { .. } => GIVE_RIGHT.into(),
            Self::Unreachable { .. } => {
                "see that the brokers run and can be reached from here".into()
            }
            Self::Refused { .. } => {
                "correct user and password, or certificates, among the properties (kafka.properties_file)".into()
            }
            Self::Corrupt { .. } => "restore the file from a copy, or move the directory away: \
                 the next start then makes a full sync"
                .into(),
            Self::Missing { .. } => {
                "start capture, which makes it, or make it with `keyferry topics create`; see that --stream and \
                 kafka.topic_prefix are right"
                    .into()
            }
            Self::Mismatch { .. } => {
                "use the properties the stream was made with, or another stream name".into()
            }
            Self::Settings { .. } => "correct the settings".into(),
            Self::Io { .. } => "check that the directory exists, is writable and has room".into(),
        }
    }
}

// === impl AppendError ===

impl Classified for AppendError {
    fn class(&self) -> Class {
        match self {
            Self::TooLarge { .. } | Self::NoSuchPartition { .. } => Class::Fatal,
            Self::Failed(_) | Self::NoRight { .. } => Class::Operator,
            Self::Fenced { .. } => Class::Fatal,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::TooLarge { .. } | Self::NoSuchPartition { .. } => {
                "this is a defect of keyferry: please report it".into()
            }
            Self::NoRight { .. } => GIVE_RIGHT.into(),
            Self::Failed(_) => {
                "check what it names, then start again: nothing durable is lost".into()
            }
            Self::Fenced { .. } => {
                "another capture of this source is running: stop one of them".into()
            }
        }
    }
}

// === impl ReadError ===

impl Classified for ReadError {
    fn class(&self) -> Class {
        match self {
            Self::OutOfRetention { .. }
            | Self::Corrupt { .. }
            | Self::NoRight { .. }
            | Self::Settings { .. } => Class::Operator,
            Self::NoSuchPartition { .. } => Class::Fatal,
            Self::Failed(_) => Class::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::OutOfRetention { .. } => {
                "the destination needs a new snapshot of the source, which is asked for where the \
                 source is captured too; let the journal keep more (its retention)"
                    .into()
            }
            Self::Corrupt { .. } => {
                "move the journal's directory away: the next start makes a full sync".into()
            }
            Self::NoSuchPartition { .. } => "this is a defect of keyferry: please report it".into(),
            Self::NoRight { .. } => GIVE_RIGHT.into(),
            Self::Settings { .. } => "correct the settings".into(),
            Self::Failed(_) => "it is tried again".into(),
        }
    }
}
