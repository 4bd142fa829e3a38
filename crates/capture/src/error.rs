//! What can go wrong in capture, one enum per operation, each classified once.

use event::codec::{DecodeError, EncodeError};
use journal::{AppendError, Offset, OpenError, Partition, ReadError};
use redis_io::replication::TransferError;
use runtime::policy::{Class, Classified};
use wire::resp::scan::ScanError;

use crate::config::Problem;
use crate::spool::SpoolError;
use crate::translate::TranslateError;

/// Why capture cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Settings that cannot be.
    #[error("invalid settings of the source: {}", list(.0))]
    Settings(Vec<Problem>),
    /// The source cannot be reached, or does not let us in.
    #[error("connect to the source")]
    Source(#[from] redis_io::Error),
    /// The source is not one that can be read.
    #[error("cannot read from {endpoint}: {what}")]
    Unfit {
        /// The source.
        endpoint: String,
        /// Why not.
        what: String,
    },
    /// The journal's tail does not tell where to go on.
    #[error("find where to resume")]
    Resume(#[from] ResumeError),
    /// The journal's state cannot be read.
    #[error("describe the journal")]
    Journal(#[from] ReadError),
    /// The journal does not let us write.
    #[error("become the journal's writer")]
    Appender(#[from] OpenError),
    /// The spool's directory is not usable.
    #[error("set up the spool")]
    Spool(#[from] SpoolError),
}

/// Why capture stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The link to the source.
    #[error("read from the source")]
    Intake(#[from] IntakeError),
    /// What came over it, or the journal behind it.
    #[error("record what the source sent")]
    Session(#[from] SessionError),
    /// A task panicked or did not end.
    #[error("{0}")]
    Task(String),
}

/// Why the link cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The connection, after all retries that its class allows.
    #[error("keep the link to the source")]
    Link(#[from] redis_io::Error),
    /// The source could not make its snapshot.
    #[error("receive the snapshot")]
    Transfer(#[from] TransferError),
    /// Nothing came for too long.
    #[error("{endpoint} has been silent for too long")]
    Silent {
        /// The source.
        endpoint: String,
    },
    /// The source has another history than the journal.
    #[error(
        "the journal holds changes up to offset {held}, the source's history branched off at {branch}"
    )]
    Diverged {
        /// The journal's last offset.
        held: u64,
        /// Where the histories part.
        branch: u64,
    },
    /// The source goes on where nobody has been.
    #[error("the source continues a stream that was not asked for")]
    Unasked,
    /// The spool is full or cannot be written.
    #[error("buffer what the source sends")]
    Spool(#[from] SpoolError),
}

/// Why what came over the link cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The snapshot file.
    #[error("read the snapshot")]
    Snapshot(#[from] SnapshotError),
    /// The source said that the snapshot file is complete, and it is not.
    #[error("the source ended the snapshot before its end")]
    SnapshotCutShort,
    /// The stream is not made of commands.
    #[error("read the replication stream after offset {at}")]
    Stream {
        /// Offset of the last whole command.
        at: u64,
        /// What is wrong.
        source: ScanError,
    },
    /// A command cannot be recorded.
    #[error("record the command that ends at replication offset {offset}")]
    Command {
        /// Offset after the command.
        offset: u64,
        /// Why not.
        source: TranslateError,
    },
    /// The journal.
    #[error("write to the journal")]
    Outlet(#[from] OutletError),
    /// The spool's files.
    #[error("read the spool")]
    Spool(#[from] SpoolError),
    /// The link's pieces came in an order that cannot be.
    #[error("{what} came when none could")]
    OutOfPlace {
        /// What came.
        what: &'static str,
    },
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file is not what it should be.
    #[error("the snapshot file is malformed")]
    Malformed(#[source] wire::rdb::Error),
    /// It has an item that this build does not carry.
    #[error("the snapshot file holds an item that is not carried: {item}")]
    Unexpected {
        /// The item.
        item: String,
    },
    /// The journal.
    #[error("write to the journal")]
    Outlet(#[from] OutletError),
}

/// Why the journal's tail does not tell where to go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The journal cannot be read.
    #[error("read the journal's tail")]
    Journal(#[from] ReadError),
    /// A record is not an event that this build understands.
    #[error("the record at offset {} of partition {} is not a readable event", place.1.0, place.0.0)]
    Unreadable {
        /// Where it stands.
        place: (Partition, Offset),
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// Why events do not get into the journal.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The journal refuses.
    #[error("append to the journal")]
    Journal(#[from] AppendError),
    /// An event has no encoding.
    #[error("encode an event of key {key}")]
    Encode {
        /// The key, abridged and escaped.
        key: String,
        /// Why not.
        source: EncodeError,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

const DEFECT: &str = "this is a defect of keyferry: please report it";

// === impl BuildError ===

impl Classified for BuildError {
    fn class(&self) -> Class {
        match self {
            Self::Settings(_) | Self::Unfit { .. } | Self::Spool(_) => Class::Operator,
            Self::Source(error) => error.class(),
            Self::Resume(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::Appender(error) => error.class(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Settings(_) => "correct the settings named".to_owned(),
            Self::Unfit { .. } => "choose another source".to_owned(),
            Self::Spool(error) => error.advice(),
            Self::Source(error) => error.advice(),
            Self::Resume(error) => error.advice(),
            Self::Journal(error) => error.advice(),
            Self::Appender(error) => error.advice(),
        }
    }
}

// === impl Error ===

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Intake(error) => error.class(),
            Self::Session(error) => error.class(),
            Self::Task(_) => Class::Fatal,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Intake(error) => error.advice(),
            Self::Session(error) => error.advice(),
            Self::Task(_) => DEFECT.to_owned(),
        }
    }
}

// === impl IntakeError ===

impl Classified for IntakeError {
    fn class(&self) -> Class {
        match self {
            Self::Link(error) => error.class(),
            Self::Transfer(error) => error.class(),
            Self::Silent { .. } | Self::Diverged { .. } => Class::Retry,
            Self::Unasked => Class::Operator,
            Self::Spool(_) => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Link(error) => error.advice(),
            Self::Transfer(error) => error.advice(),
            Self::Silent { .. } => "the link is set up again".to_owned(),
            Self::Diverged { .. } => "everything is read again, in a new epoch".to_owned(),
            Self::Unasked => "check that the endpoint is a Redis or Valkey server".to_owned(),
            Self::Spool(error) => error.advice(),
        }
    }
}

// === impl SpoolError ===

impl SpoolError {
    fn advice(&self) -> String {
        match self {
            Self::Full { .. } => "find out why the journal does not take records (a full disk, a broker that is down), \
                 or allow the spool more; then start again: the stream goes on where the journal ends"
                .to_owned(),
            Self::Io { .. } => "check that the directory exists, is writable and has room".to_owned(),
        }
    }
}

// === impl SessionError ===

impl Classified for SessionError {
    fn class(&self) -> Class {
        match self {
            Self::Outlet(error) | Self::Snapshot(SnapshotError::Outlet(error)) => error.class(),
            Self::Command { source, .. } => source.class(),
            Self::Snapshot(_) | Self::SnapshotCutShort | Self::Stream { .. } => Class::Operator,
            Self::Spool(_) => Class::Operator,
            Self::OutOfPlace { .. } => Class::Fatal,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Outlet(error) | Self::Snapshot(SnapshotError::Outlet(error)) => error.advice(),
            Self::Command { source, .. } => source.advice(),
            Self::Snapshot(_) | Self::Stream { .. } => {
                "the source sent what this version does not understand: \
                 please report it with the source's version"
                    .to_owned()
            }
            Self::SnapshotCutShort => {
                "start again: the source is asked for a new snapshot".to_owned()
            }
            Self::Spool(error) => error.advice(),
            Self::OutOfPlace { .. } => DEFECT.to_owned(),
        }
    }
}

// === impl ResumeError ===

impl Classified for ResumeError {
    fn class(&self) -> Class {
        match self {
            Self::Journal(error) => error.class(),
            Self::Unreadable { .. } => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Journal(error) => error.advice(),
            Self::Unreadable { .. } => {
                "this journal was written by a newer version or by something else: \
                 use the version that wrote it, or another directory or stream name"
                    .to_owned()
            }
        }
    }
}

// === impl OutletError ===

impl Classified for OutletError {
    fn class(&self) -> Class {
        match self {
            Self::Journal(error) => error.class(),
            Self::Encode { .. } => Class::Fatal,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Journal(error) => error.advice(),
            Self::Encode { .. } => DEFECT.to_owned(),
        }
    }
}
