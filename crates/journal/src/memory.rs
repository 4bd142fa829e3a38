//! A journal in memory: the smallest backend that keeps the whole contract, for tests.
//!
//! Guarantees: totally ordered, dense offsets, every append durable at once unless a test holds
//! durability back. Clones share one stream, so a clone stands for "another process". Keeps
//! everything until [`Journal::trim`]; nothing survives the last clone.

mod appender;
mod mailbox;
mod reader;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::appender::MemoryAppender;
use self::mailbox::MemoryMailbox;
use self::reader::MemoryReader;
use crate::{
    Append, AppendError, Appender, Description, Entry, Health, Journal, Mailbox, Offset, OpenError,
    Partition, PartitionRange, ReadError, Reader, ReaderProgress, Receipt,
};

/// What a record may weigh unless [`MemoryJournal::with_max_record_bytes`] says otherwise: the
/// default of the embedded backend, so that a test meets the same limit.
const DEFAULT_MAX_RECORD_BYTES: usize = 1024 * 1024;

/// A stream in memory. Cheap to clone; all clones are the same stream.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stream: String,
    incarnation: u64,
    max_record_bytes: usize,
    state: Mutex<State>,
    /// Counts changes of the state that a waiting reader or appender may have waited for.
    changes: watch::Sender<u64>,
    health: watch::Sender<Health>,
    mailbox: MemoryMailbox,
}

#[derive(Debug, Default)]
struct State {
    /// In append order; the number counts all records of the stream.
    records: VecDeque<(u64, Entry)>,
    next_seq: u64,
    durable_seq: u64,
    /// Where each crash so far has cut the stream.
    cuts: Vec<u64>,
    ranges: Vec<PartitionRange>,
    holding: bool,
    failed: Option<String>,
    writer: Option<Writer>,
    writers_so_far: u64,
    readers: BTreeMap<String, BTreeMap<Partition, Offset>>,
}

/// The appender that holds the stream, as the stream sees it.
#[derive(Debug)]
struct Writer {
    id: u64,
    accepted: u64,
    durable: watch::Sender<Receipt>,
}

// === impl MemoryJournal ===

impl MemoryJournal {
    /// An empty stream with the given number of partitions.
    #[must_use]
    pub fn new(stream: &str, partitions: u16) -> Self {
        let ranges = vec![PartitionRange::default(); usize::from(partitions)];
        let shared = Shared {
            stream: stream.to_owned(),
            incarnation: getrandom::u64().expect("the system has random numbers"),
            max_record_bytes: DEFAULT_MAX_RECORD_BYTES,
            state: Mutex::new(State { ranges, ..State::default() }),
            changes: watch::Sender::new(0),
            health: watch::Sender::new(Health::Accepting),
            mailbox: MemoryMailbox::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The same with another limit. To be called before the first clone.
    ///
    /// # Panics
    /// When the stream has been cloned.
    #[must_use]
    pub fn with_max_record_bytes(mut self, bytes: usize) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("the stream has no second handle yet");
        shared.max_record_bytes = bytes;
        self
    }

    /// From now on records are accepted but do not become durable.
    pub fn hold_durability(&self) {
        self.shared.state.lock().holding = true;
    }

    /// All that was accepted is durable, and what follows is so at once.
    pub fn release_durability(&self) {
        let mut state = self.shared.state.lock();
        state.holding = false;
        state.settle();
        drop(state);
        self.shared.announce();
    }

    /// Drops what is not durable and fences the appender. Readers that had seen such records get
    /// [`ReadError::Failed`]; others go on. Durability held back stays held back.
    pub fn crash(&self) {
        let mut state = self.shared.state.lock();
        let State { records, ranges, .. } = &mut *state;
        records.retain(|(_, entry)| entry.offset < range_of(ranges, entry.partition).durable);
        for range in ranges {
            range.end = range.durable;
        }
        state.next_seq = state.durable_seq;
        let cut = state.durable_seq;
        state.cuts.push(cut);
        state.writer = None;
        drop(state);
        self.shared.announce();
    }

    /// Appends wait from now on, and the health says `why`.
    pub fn stall(&self, why: &str) {
        self.shared.health.send_replace(Health::Stalled(why.to_owned()));
    }

    /// Ends [`MemoryJournal::stall`].
    pub fn resume(&self) {
        self.shared.health.send_replace(Health::Accepting);
    }

    /// Appends and flushes fail from now on, for good.
    pub fn fail(&self, why: &str) {
        let mut state = self.shared.state.lock();
        state.failed = Some(why.to_owned());
        state.writer = None;
        drop(state);
        self.shared.announce();
    }
}

impl Journal for MemoryJournal {
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>> {
        let state = self.shared.state.lock();
        let readers = state.readers.iter().map(|(name, released)| ReaderProgress {
            name: name.clone(),
            released: released.iter().map(|(&partition, &offset)| (partition, offset)).collect(),
        });
        let description = Description {
            stream: self.shared.stream.clone(),
            incarnation: self.shared.incarnation,
            totally_ordered: true,
            max_record_bytes: self.shared.max_record_bytes,
            partitions: state.ranges.clone(),
            readers: readers.collect(),
        };
        ready(Ok(description))
    }

    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        let mut state = self.shared.state.lock();
        if state.writer.is_some() {
            return ready(Err(OpenError::HasWriter { stream: self.shared.stream.clone() }));
        }
        state.writers_so_far += 1;
        let id = state.writers_so_far;
        let (durable, receiver) = watch::channel(Receipt(0));
        if state.failed.is_none() {
            state.writer = Some(Writer { id, accepted: 0, durable });
        }
        let shared = Arc::clone(&self.shared);
        ready(Ok(Box::new(MemoryAppender { shared, id, durable: receiver })))
    }

    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        let state = self.shared.state.lock();
        let wanted: BTreeMap<_, _> = from.into_iter().collect();
        let reader = MemoryReader {
            shared: Arc::clone(&self.shared),
            changes: self.shared.changes.subscribe(),
            seq: 0,
            cuts_seen: state.cuts.len(),
            wanted,
        };
        ready(reader.check(&state).map(|()| Box::new(reader) as Box<dyn Reader>))
    }

    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>> {
        let state = self.shared.state.lock();
        let found = state.range(partition).map(|range| {
            let mut entries = state.records.iter().map(|(_, entry)| entry);
            let late =
                |entry: &&Entry| entry.partition == partition && entry.timestamp_ms >= timestamp_ms;
            entries.find(late).map_or(range.end, |entry| entry.offset)
        });
        ready(found.map_err(Into::into))
    }

    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>> {
        let mut state = self.shared.state.lock();
        if let Err(missing) = before.iter().try_for_each(|(p, _)| state.range(*p).map(|_| ())) {
            return ready(Err(missing.into()));
        }
        let State { records, ranges, .. } = &mut *state;
        for (partition, offset) in before {
            if let Some(range) = ranges.get_mut(usize::from(partition.0)) {
                range.start = range.start.max(offset).min(range.end);
            }
        }
        records.retain(|(_, entry)| entry.offset >= range_of(ranges, entry.partition).start);
        ready(Ok(()))
    }

    fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        let mut state = self.shared.state.lock();
        if let Err(missing) = before.iter().try_for_each(|(p, _)| state.range(*p).map(|_| ())) {
            return ready(Err(missing.into()));
        }
        state.readers.entry(name.to_owned()).or_default().extend(before);
        ready(Ok(()))
    }

    fn forget_reader(&self, name: &str) -> BoxFuture<'_, Result<(), AppendError>> {
        self.shared.state.lock().readers.remove(name);
        ready(Ok(()))
    }

    fn mailbox(&self) -> Box<dyn Mailbox> {
        Box::new(self.shared.mailbox.clone())
    }
}

// === impl Shared ===

impl Shared {
    fn announce(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn fenced(&self) -> AppendError {
        AppendError::Fenced { stream: self.stream.clone() }
    }

    fn check(&self, state: &State, records: &[Append]) -> Result<(), AppendError> {
        for record in records {
            state.range(record.partition)?;
            if record.payload.len() > self.max_record_bytes {
                return Err(AppendError::TooLarge {
                    partition: record.partition,
                    bytes: record.payload.len(),
                    limit: self.max_record_bytes,
                });
            }
        }
        Ok(())
    }
}

// === impl State ===

/// A partition that does not exist, before it is known who asked.
struct Missing {
    partition: Partition,
    count: usize,
}

impl State {
    fn range(&self, partition: Partition) -> Result<&PartitionRange, Missing> {
        let count = self.ranges.len();
        self.ranges.get(usize::from(partition.0)).ok_or(Missing { partition, count })
    }

    fn push(&mut self, record: Append) {
        let range = self
            .ranges
            .get_mut(usize::from(record.partition.0))
            .expect("partitions are checked before the first record is taken");
        let entry = Entry {
            partition: record.partition,
            offset: range.end,
            timestamp_ms: record.timestamp_ms,
            payload: record.payload,
        };
        range.end = range.end.after(1);
        self.records.push_back((self.next_seq, entry));
        self.next_seq += 1;
    }

    /// Makes everything durable.
    fn settle(&mut self) {
        for range in &mut self.ranges {
            range.durable = range.end;
        }
        self.durable_seq = self.next_seq;
        if let Some(writer) = &self.writer {
            writer.durable.send_replace(Receipt(writer.accepted));
        }
    }

    fn writer(&mut self, id: u64) -> Option<&mut Writer> {
        self.writer.as_mut().filter(|writer| writer.id == id)
    }
}

fn range_of(ranges: &[PartitionRange], partition: Partition) -> PartitionRange {
    ranges.get(usize::from(partition.0)).copied().expect("only existing partitions have records")
}

impl From<Missing> for AppendError {
    fn from(Missing { partition, count }: Missing) -> Self {
        Self::NoSuchPartition { partition, count }
    }
}

impl From<Missing> for ReadError {
    fn from(Missing { partition, count }: Missing) -> Self {
        Self::NoSuchPartition { partition, count }
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

#[cfg(test)]
mod tests;
