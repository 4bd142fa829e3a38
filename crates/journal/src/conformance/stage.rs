//! What the cases share: records to write, reading with a deadline, and a model to compare with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runtime::Random;

use super::Backend;
use crate::{
    Append, Appender, Entry, Journal, Offset, Partition, PartitionRange, ReadLimit, Reader, Receipt,
};

/// Long enough for a broker on a loaded machine; reached only when a case fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// Reads as much as there is.
pub(super) const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// A stream under test with its appender.
pub(super) struct Stage<'a> {
    pub(super) backend: &'a dyn Backend,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) appender: Box<dyn Appender>,
}

/// Waits for `future`, and panics with `what` if it takes too long.
pub(super) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let outcome = tokio::time::timeout(DEADLINE, future).await;
    assert!(outcome.is_ok(), "nothing came of this within {DEADLINE:?}: {what}");
    outcome.expect("asserted above")
}

/// A record whose payload is `text`.
pub(super) fn record(partition: u16, timestamp_ms: i64, text: impl Into<String>) -> Append {
    sized(partition, timestamp_ms, Bytes::from(text.into()))
}

/// A record with the given payload.
pub(super) fn sized(partition: u16, timestamp_ms: i64, payload: Bytes) -> Append {
    Append {
        partition: Partition(partition),
        key: Bytes::from_static(b"key"),
        timestamp_ms,
        kind: "test",
        db: 0,
        payload,
    }
}

/// Bytes that do not compress.
pub(super) fn noise(random: &mut Random, length: usize) -> Bytes {
    let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
    words.flatten().take(length).collect::<Vec<u8>>().into()
}

/// Texts of what was read, for comparing.
pub(super) fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.payload).into_owned()).collect()
}

/// Asserts that each partition's offsets grow.
pub(super) fn assert_offsets_grow(entries: &[Entry]) {
    let mut last = std::collections::HashMap::new();
    for entry in entries {
        let before = last.insert(entry.partition, entry.offset);
        assert!(before < Some(entry.offset), "{entry:?} comes after offset {before:?}");
    }
}

/// Reads until `count` records have come.
pub(super) async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let limit = ReadLimit { records: count - entries.len(), ..ALL };
        let what = format!("record {} of {count}", entries.len() + 1);
        let more = within(&what, reader.next(limit)).await.expect("the records can be read");
        assert!(!more.is_empty(), "a read returned no record");
        assert!(more.len() <= limit.records, "a read returned more than asked for");
        entries.extend(more);
    }
    entries
}

// === impl Stage ===

impl<'a> Stage<'a> {
    /// A new stream.
    pub(super) async fn new(backend: &'a dyn Backend, partitions: u16) -> Self {
        let journal = within("make a stream", backend.create(partitions)).await;
        let appender = appender_of(&*journal).await;
        Self { backend, journal, appender }
    }

    /// Ends every handle and opens the stream again.
    pub(super) async fn reopened(self) -> Self {
        let Self { backend, journal, appender } = self;
        drop(appender);
        let journal = within("open the stream again", backend.reopen(journal)).await;
        let appender = appender_of(&*journal).await;
        Self { backend, journal, appender }
    }

    /// Appends and asserts that all was taken.
    pub(super) async fn append(&mut self, mut records: Vec<Append>) -> Receipt {
        let receipt = within("append", self.appender.append(&mut records)).await;
        assert!(records.is_empty(), "records were left over");
        receipt.expect("the records are accepted")
    }

    /// Appends and waits until it is durable.
    pub(super) async fn append_durably(&mut self, records: Vec<Append>) {
        let accepted = self.append(records).await;
        let durable = self.flush().await;
        assert!(durable >= accepted, "flush returned {durable:?} after {accepted:?}");
    }

    /// Waits until all that was accepted is durable.
    pub(super) async fn flush(&mut self) -> Receipt {
        within("flush", self.appender.flush()).await.expect("the records become durable")
    }

    /// A reader of the given places.
    pub(super) async fn reader(&self, from: &[(u16, Offset)]) -> Box<dyn Reader> {
        let from = from.iter().map(|&(partition, offset)| (Partition(partition), offset)).collect();
        within("make a reader", self.journal.reader(from)).await.expect("the places can be read")
    }

    /// A reader of the given partitions from their starts.
    pub(super) async fn reader_of(&self, partitions: &[u16]) -> Box<dyn Reader> {
        let mut from = Vec::new();
        for &partition in partitions {
            from.push((partition, self.range(partition).await.start));
        }
        self.reader(&from).await
    }

    /// How far a partition reaches.
    pub(super) async fn range(&self, partition: u16) -> PartitionRange {
        let described = within("describe", self.journal.describe()).await.expect("it describes");
        *described.partitions.get(usize::from(partition)).expect("the partition exists")
    }
}

async fn appender_of(journal: &dyn Journal) -> Box<dyn Appender> {
    within("become the writer", journal.appender()).await.expect("nobody else writes")
}
