//! What can go wrong in capture, one enum per operation.
//!
//! Each is classified once, in `error/class.rs`.

mod class;

use std::time::Duration;

use event::Shard;
use event::codec::{DecodeError, EncodeError};
use journal::{AppendError, Offset, OpenError, Partition, ReadError};
use redis_io::replication::TransferError;
use wire::resp::scan::ScanError;

use crate::config::Problem;
use crate::orders::TransferCause;
use crate::source::{SourceError, is_denial};
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
    /// The source answered and then did not any more, for as long as it was to be waited for.
    #[error("gave up on the source after {after:?}")]
    GaveUp {
        /// How long it was waited for.
        after: Duration,
        /// What came last.
        #[source]
        last: Box<BuildError>,
    },
    /// The source is not one that can be read.
    #[error("cannot read from {endpoint}: {what}")]
    Unfit {
        /// The source.
        endpoint: String,
        /// Why not.
        what: String,
    },
    /// The journal was recorded from another source.
    #[error(
        "the stream {stream} was recorded from {before}, and {address} is another source: it does not go on with \
         the history that the journal holds"
    )]
    OtherSource {
        /// The stream.
        stream: String,
        /// The address of the source before.
        before: String,
        /// That of the source now.
        address: String,
    },
    /// The stream was recorded while the shard had other slots.
    #[error(
        "the stream was recorded while shard {} had the slots {recorded}, and the source has {owned}: slots have moved \
         between shards, or this is another shard",
        shard.0
    )]
    OtherSlots {
        /// Which shard.
        shard: Shard,
        /// The slots in the stream.
        recorded: String,
        /// Those of the source.
        owned: String,
    },
    /// Another shard of the stream has some of the same slots.
    #[error(
        "shard {} and shard {} of the stream both have the slots {slots}: changes of one key would come from two sources",
        shard.0, other.0
    )]
    SharedSlots {
        /// Which shard.
        shard: Shard,
        /// The one that is in the stream.
        other: Shard,
        /// The slots that both have.
        slots: String,
    },
    /// The shards of the stream are those of another cluster.
    #[error(
        "the stream is of another cluster: the source, the node {node}, is to be shard {} of it and knows none of the \
         nodes that its other shards are, such as {name} of shard {}",
        shard.0, other.0
    )]
    OtherCluster {
        /// Which shard.
        shard: Shard,
        /// The id of the node that the source is.
        node: String,
        /// A shard that is in the stream.
        other: Shard,
        /// The id of the node that it is.
        name: String,
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
    /// The journal refuses records of the size that events may have.
    #[error("the journal takes records of up to {limit} bytes, events have up to {needed}")]
    SmallRecords {
        /// The journal's limit.
        limit: usize,
        /// What events may have.
        needed: usize,
    },
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
    /// The source does not have any more what is captured.
    #[error("go on with the shard")]
    Slots(#[from] SlotsError),
    /// What came over it, or the journal behind it.
    #[error("record what the source sent")]
    Session(#[from] SessionError),
    /// A task panicked or did not end.
    #[error("{0}")]
    Task(String),
}

/// A source that does not have any more what is captured of it, for all that is known.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// It has something else.
    #[error("cannot go on with {endpoint}: {what}")]
    Moved {
        /// The source.
        endpoint: String,
        /// What has become of its slots.
        what: String,
    },
    /// It is not one that can be read any more.
    #[error("cannot read from {endpoint}: {what}")]
    Unfit {
        /// The source.
        endpoint: String,
        /// Why not.
        what: String,
    },
    /// It does not tell.
    #[error(
        "{endpoint} has not told which slots it has for {after:?}, and nothing is recorded before it does"
    )]
    Untold {
        /// The source.
        endpoint: String,
        /// For how long.
        after: Duration,
        /// What came last.
        #[source]
        last: Box<IntakeError>,
    },
}

/// Why the link cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The connection, after all retries that its class allows.
    #[error("keep the link to the source")]
    Link(#[from] redis_io::Error),
    /// The server that answers now is not one that can be read.
    #[error("cannot read from {endpoint}: {what}")]
    Unfit {
        /// The source.
        endpoint: String,
        /// Why not.
        what: String,
    },
    /// The server has other slots than those that are recorded.
    #[error("cannot go on with {endpoint}: {what}")]
    Moved {
        /// The source.
        endpoint: String,
        /// What has become of its slots.
        what: String,
    },
    /// The account may not ask what has to be known.
    #[error("cannot read from {endpoint}: {what}")]
    Denied {
        /// The source.
        endpoint: String,
        /// What it may not.
        what: String,
    },
    /// The source could not make its snapshot.
    #[error("receive the snapshot of {endpoint}")]
    Transfer {
        /// The source.
        endpoint: String,
        /// Why not.
        source: TransferError,
    },
    /// Nothing came for too long.
    #[error("{endpoint} has been silent for too long")]
    Silent {
        /// The source.
        endpoint: String,
    },
    /// The source has another history than the journal.
    #[error(
        "the journal holds changes up to offset {held}, the source's history branches off at \
         {branch}"
    )]
    Diverged {
        /// The journal's last offset.
        held: u64,
        /// Where the histories part.
        branch: u64,
    },
    /// A full transfer was ordered.
    #[error("{0}")]
    Ordered(TransferCause),
    /// The source changed its role while it was asked to go on.
    #[error("{endpoint} began another history while it was asked to go on")]
    Changed {
        /// The source.
        endpoint: String,
    },
    /// The source goes on where nobody has been.
    #[error("{endpoint} continues a stream that was not asked for")]
    Unasked {
        /// The source.
        endpoint: String,
    },
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
    /// A key that is not the shard's.
    #[error(transparent)]
    ForeignSlot(#[from] ForeignSlot),
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

/// A key in a slot that the shard does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the source sent key {key} of slot {slot}, which it does not have (it has {slots}): slots are being moved between \
     shards, which this version does not follow"
)]
pub struct ForeignSlot {
    /// The key, abridged and escaped.
    pub key: String,
    /// Its slot.
    pub slot: u16,
    /// What the shard has.
    pub slots: String,
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file is not what it should be.
    #[error("the snapshot file is malformed")]
    Malformed(#[source] wire::rdb::Error),
    /// A key that is not the shard's.
    #[error(transparent)]
    ForeignSlot(#[from] ForeignSlot),
    /// It holds what no event carries, and nothing is to be left out.
    #[error("the snapshot holds what is not carried: {what}")]
    NotCarried {
        /// What, and how much so far.
        what: String,
    },
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
    #[error(
        "the record at offset {} of partition {} is not a readable event",
        place.1.0,
        place.0.0
    )]
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
    /// What was put aside cannot be had again.
    #[error("read a large event that waits for its turn")]
    Aside(#[source] SpoolError),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

// === impl BuildError, IntakeError ===

impl BuildError {
    pub(crate) fn of_source(error: SourceError, endpoint: &str) -> Self {
        match error {
            SourceError::Unanswered(error) => Self::Source(error),
            SourceError::Denied(what) | SourceError::Unfit(what) | SourceError::Moved(what) => {
                Self::Unfit { endpoint: endpoint.to_owned(), what }
            }
        }
    }
}

impl IntakeError {
    /// Whether the account, its password or its permissions are not in order: where they were
    /// before, they may be being changed.
    pub(crate) fn is_denial(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::Link(redis_io::Error::Auth { .. }) => true,
            Self::Link(
                redis_io::Error::Psync { refusal, .. } | redis_io::Error::Server { refusal, .. },
            ) => is_denial(refusal),
            _ => false,
        }
    }

    /// Whether only a full transfer leads on.
    pub(crate) fn leads_to_resync(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Ordered(_))
    }

    pub(crate) fn of_source(error: SourceError, endpoint: &str) -> Self {
        match error {
            SourceError::Unanswered(error) => Self::Link(error),
            SourceError::Denied(what) => Self::Denied { endpoint: endpoint.to_owned(), what },
            SourceError::Unfit(what) => Self::Unfit { endpoint: endpoint.to_owned(), what },
            SourceError::Moved(what) => Self::Moved { endpoint: endpoint.to_owned(), what },
        }
    }
}
