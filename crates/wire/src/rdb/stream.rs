//! What a stream value consists of: entries, what is known of the whole, groups with their pending
//! entries and consumers, and producers' idempotence state.

use std::fmt;

use bytes::Bytes;

/// The id of an entry; ordered as the server orders them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix milliseconds, by custom.
    pub ms: u64,
    /// Counts within a millisecond.
    pub seq: u64,
}

/// An entry of a stream. Entries that are flagged as deleted never come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// Field and value, in the order in which they were added; fields may repeat.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// What is known of a stream as a whole. `None`: the encoding is older than the knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamMeta {
    /// Entries that are not deleted.
    pub length: u64,
    /// The id that the next one must be above.
    pub last_id: StreamId,
    /// The first entry that is not deleted; zero if there is none.
    pub first_id: Option<StreamId>,
    /// The largest id ever deleted.
    pub max_deleted_id: Option<StreamId>,
    /// Entries ever added.
    pub entries_added: Option<u64>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingEntry {
    /// Its id; the entry itself may have been deleted since.
    pub id: StreamId,
    /// When it was delivered last, unix ms.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// A stream, piece by piece, in the order in which a stream is stored: entries, `Meta`, each
/// `Group` followed by its `Pending` entries and then by each `Consumer` with what it `Owned`,
/// `Idempotence` followed by each `Producer` with what it `Produced`, `Totals`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// An entry.
    Entry(StreamEntry),
    /// What is known of the whole.
    Meta(StreamMeta),
    /// A group begins.
    Group {
        /// Its name.
        name: Bytes,
        /// The last id delivered to it.
        last_id: StreamId,
        /// Entries delivered to it, if known.
        entries_read: Option<u64>,
    },
    /// A pending entry of the last group.
    Pending(PendingEntry),
    /// A consumer of the last group.
    Consumer {
        /// Its name.
        name: Bytes,
        /// When it was last seen, unix ms.
        seen_ms: i64,
        /// When something was last delivered to it, unix ms; -1 never; `None` in old encodings.
        active_ms: Option<i64>,
    },
    /// The last consumer is the one with which this entry is pending.
    Owned(StreamId),
    /// For how many seconds, and how many, entries of producers are remembered.
    Idempotence {
        /// Seconds.
        duration: u64,
        /// Entries.
        entries_max: u64,
    },
    /// A producer.
    Producer {
        /// Its name.
        name: Bytes,
    },
    /// A remembered entry of the last producer.
    Produced {
        /// What the producer named it.
        name: Bytes,
        /// What it became.
        id: StreamId,
    },
    /// Counters over all time.
    Totals {
        /// Entries added with a name.
        added: u64,
        /// Entries refused because their name was known.
        duplicates: u64,
    },
}

// === impl StreamId ===

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
