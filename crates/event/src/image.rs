//! Whole values of keys, at once or in parts.

use bytes::Bytes;

/// Which family of RDB formats a type byte belongs to.
pub use wire::rdb::Flavour;

/// What is known of a key besides its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageHead {
    /// Type byte of the RDB format.
    pub type_byte: u8,
    /// The family that the type byte belongs to.
    pub flavour: Flavour,
    /// The RDB version it was written with.
    pub rdb_version: u16,
    /// Unix milliseconds; none: the key does not expire.
    pub expire_at_ms: Option<i64>,
    /// Seconds since the last access, where the source tells.
    pub idle_s: Option<u64>,
    /// Logarithmic access counter, where the source tells.
    pub freq: Option<u8>,
    /// Not 0: of a snapshot made on demand beside the stream.
    pub snapshot_id: u64,
}

/// The whole value of a key: replaces whatever the key was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What is known besides.
    pub head: ImageHead,
    /// The value.
    pub value: ImageValue,
}

/// The value of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageValue {
    /// A string, as it is.
    Text(Bytes),
    /// Any other type, exactly as in an RDB file, without its type byte.
    Rdb(Bytes),
}

/// A part of a large value. It appears when the last part has been applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePart {
    /// In every part.
    pub head: ImageHead,
    /// Counted from 0.
    pub number: u64,
    /// Whether the value is complete.
    pub last: bool,
    /// What it adds.
    pub elements: Elements,
}

/// What a part adds to its value.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// The next bytes of a string.
    Text(Bytes),
    /// The next elements of a list in order, or members of a set: the head's type tells.
    Items(Vec<Bytes>),
    /// Members of a sorted set.
    Scores(Vec<(Bytes, f64)>),
    /// Fields of a hash.
    Fields(Vec<Field>),
    /// Entries, state and groups of a stream.
    Stream(StreamPart),
    /// The next bytes of a module's value, exactly as in an RDB file.
    Opaque(Bytes),
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub field: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Unix milliseconds; none: it does not expire.
    pub expire_at_ms: Option<i64>,
}

/// The id of a stream entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// Milliseconds.
    pub ms: u64,
    /// Sequence within the millisecond.
    pub seq: u64,
}

/// A part of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPart {
    /// The next entries.
    pub entries: Vec<StreamEntry>,
    /// The stream's state, in one of the parts.
    pub meta: Option<StreamMeta>,
    /// The next groups. A group larger than a part comes again with further pending entries.
    pub groups: Vec<StreamGroup>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// Fields and values in turn.
    pub content: Vec<Bytes>,
}

/// State of a stream besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamMeta {
    /// Entries.
    pub length: u64,
    /// The largest id ever given.
    pub last_id: StreamId,
    /// The first id that is there.
    pub first_id: StreamId,
    /// The largest id ever deleted.
    pub max_deleted_id: StreamId,
    /// Entries ever added.
    pub entries_added: u64,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamGroup {
    /// Its name.
    pub name: Bytes,
    /// The last id delivered.
    pub last_delivered: StreamId,
    /// Entries read; none: unknown.
    pub entries_read: Option<u64>,
    /// Entries delivered and not acknowledged.
    pub pending: Vec<StreamPending>,
    /// Its consumers.
    pub consumers: Vec<StreamConsumer>,
}

/// An entry delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPending {
    /// Its id.
    pub id: StreamId,
    /// Index into the group's consumers.
    pub consumer: u32,
    /// Unix milliseconds.
    pub delivered_ms: i64,
    /// How often.
    pub deliveries: u64,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConsumer {
    /// Its name.
    pub name: Bytes,
    /// Unix milliseconds.
    pub seen_ms: i64,
    /// Unix milliseconds; -1: never.
    pub active_ms: i64,
}
