//! What the link hands to the session, in the order in which it came.

use bytes::Bytes;
use wire::command::normalise::Era;

/// One thing that came over the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The source sends its whole data set: everything before is superseded.
    FullResync(Box<FullResync>),
    /// Bytes of the snapshot file.
    Snapshot(Bytes),
    /// The snapshot file is complete; the stream follows.
    SnapshotEnd,
    /// Bytes of the replication stream, and when they arrived (Unix milliseconds, our clock).
    Stream {
        /// The bytes.
        bytes: Bytes,
        /// When.
        arrived_ms: i64,
    },
    /// The link was set up anew and the stream goes on without a gap.
    Continued {
        /// Who sends from here on.
        peer: Peer,
        /// Where the histories part, if it goes on under another replication id.
        branch: Option<Lineage>,
    },
}

/// The beginning of a full transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FullResync {
    /// The number of the history that begins.
    pub history: History,
    /// The history, and the offset that the snapshot stands at.
    pub lineage: Lineage,
    /// Size of the snapshot file; 0: not known beforehand.
    pub bytes_expected: u64,
    /// Keys that the source said to hold just before; 0: it did not say.
    pub keys_expected: u64,
    /// Who sends it.
    pub peer: Peer,
}

/// A replication history and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The replication id.
    pub replication_id: String,
    /// For a full transfer: the offset the snapshot stands at. For a continuation: where the
    /// histories part.
    pub offset: u64,
}

/// The server at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Family and version, for people.
    pub shown: String,
    /// How it writes its stream.
    pub era: Era,
}

/// Counts the full transfers of this run: offsets compare within one history only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History(pub u64);

/// How far the journal holds a history for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    /// Which history.
    pub history: History,
    /// The offset; 0: nothing yet.
    pub offset: u64,
}

// === impl History ===

impl History {
    /// The one after it.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

// === impl Durable ===

impl Durable {
    /// The offset, if it is of that history.
    pub(crate) fn of(self, history: History) -> u64 {
        if self.history == history { self.offset } else { 0 }
    }
}
