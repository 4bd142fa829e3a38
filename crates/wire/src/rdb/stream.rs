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

/// A whole stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamValue {
    /// The entries, ids ascending.
    pub entries: Vec<StreamEntry>,
    /// What is known of the whole.
    pub meta: StreamMeta,
    /// The consumer groups.
    pub groups: Vec<StreamGroup>,
    /// The producers' state, where the encoding has it.
    pub idempotence: Option<Idempotence>,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamGroup {
    /// Its name.
    pub name: Bytes,
    /// The last id delivered to it.
    pub last_id: StreamId,
    /// Entries delivered to it, if known.
    pub entries_read: Option<u64>,
    /// What was delivered and not acknowledged, ids ascending.
    pub pending: Vec<PendingEntry>,
    /// The consumers.
    pub consumers: Vec<StreamConsumer>,
}

/// A consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConsumer {
    /// Its name.
    pub name: Bytes,
    /// When it was last seen, unix ms.
    pub seen_ms: i64,
    /// When something was last delivered to it, unix ms; -1 never; `None` in old encodings.
    pub active_ms: Option<i64>,
    /// Which of the group's pending entries are pending with it.
    pub owned: Vec<StreamId>,
}

/// What a stream remembers of its producers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idempotence {
    /// For how many seconds.
    pub duration: u64,
    /// For how many entries.
    pub entries_max: u64,
    /// The producers.
    pub producers: Vec<StreamProducer>,
    /// Entries ever added with a name.
    pub added: u64,
    /// Entries ever refused because their name was known.
    pub duplicates: u64,
}

/// A producer of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamProducer {
    /// Its name.
    pub name: Bytes,
    /// What the producer named its entries, and what they became.
    pub entries: Vec<(Bytes, StreamId)>,
}

// === impl StreamValue ===

impl StreamValue {
    /// Puts the pieces together, which come in the order that [`StreamItem`] describes; a piece
    /// without the one that it belongs to is left out.
    pub fn from_items(items: impl IntoIterator<Item = StreamItem>) -> Self {
        let mut value = Self::default();
        for item in items {
            value.push(item);
        }
        value
    }

    fn push(&mut self, item: StreamItem) {
        match item {
            StreamItem::Entry(entry) => self.entries.push(entry),
            StreamItem::Meta(meta) => self.meta = meta,
            StreamItem::Group { name, last_id, entries_read } => {
                let (pending, consumers) = (Vec::new(), Vec::new());
                self.groups.push(StreamGroup { name, last_id, entries_read, pending, consumers });
            }
            StreamItem::Pending(entry) => {
                if let Some(group) = self.groups.last_mut() {
                    group.pending.push(entry);
                }
            }
            StreamItem::Consumer { name, seen_ms, active_ms } => {
                let consumer = StreamConsumer { name, seen_ms, active_ms, owned: Vec::new() };
                if let Some(group) = self.groups.last_mut() {
                    group.consumers.push(consumer);
                }
            }
            StreamItem::Owned(id) => {
                let consumer = self.groups.last_mut().and_then(|group| group.consumers.last_mut());
                if let Some(consumer) = consumer {
                    consumer.owned.push(id);
                }
            }
            StreamItem::Idempotence { duration, entries_max } => {
                let known = self.idempotence.get_or_insert_default();
                (known.duration, known.entries_max) = (duration, entries_max);
            }
            StreamItem::Producer { name } => {
                let known = self.idempotence.get_or_insert_default();
                known.producers.push(StreamProducer { name, entries: Vec::new() });
            }
            StreamItem::Produced { name, id } => {
                let known = self.idempotence.get_or_insert_default();
                if let Some(producer) = known.producers.last_mut() {
                    producer.entries.push((name, id));
                }
            }
            StreamItem::Totals { added, duplicates } => {
                let known = self.idempotence.get_or_insert_default();
                (known.added, known.duplicates) = (added, duplicates);
            }
        }
    }
}

// === impl StreamId ===

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests;
