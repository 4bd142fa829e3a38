//! What goes into the journal and what comes out of it: plain data, without meaning.

use bytes::Bytes;

/// The number of a partition, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// Which of the writers that a stream may have side by side, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer(pub u16);

/// The place of a record in its partition. Offsets grow; a backend may leave gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// One record to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where it goes.
    pub partition: Partition,
    /// For tools that read the log from outside (a Kafka message's key). A backend need not keep
    /// it.
    pub key: Bytes,
    /// Event time, milliseconds since the Unix epoch: what look-ups by time and retention by age
    /// use.
    pub timestamp_ms: i64,
    /// A short constant name of what this is, for outside tools. A backend need not keep it.
    pub kind: &'static str,
    /// The database it concerns, for outside tools. A backend need not keep it.
    pub db: u32,
    /// The record itself.
    pub payload: Bytes,
}

/// One record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it was.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// As appended.
    pub timestamp_ms: i64,
    /// As appended.
    pub payload: Bytes,
}

/// The number of records that one appender has accepted so far, over all partitions. The receipt of
/// a batch is the count after its last record; it is durable when [`crate::Appender::durable`] has
/// reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

// === impl Writer ===

impl Writer {
    /// The only one of most streams.
    pub const FIRST: Self = Self(0);
}

// === impl Offset ===

impl Offset {
    /// The offset `count` places further on.
    #[must_use]
    pub fn after(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}
