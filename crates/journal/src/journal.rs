//! The contract that every backend keeps: the traits and what they describe.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::mailbox::Mailbox;
use crate::member::{Membership, Sole};
use crate::{Append, AppendError, Entry, Offset, OpenError, Partition, ReadError, Receipt, Writer};

/// One stream of an ordered, durable, partitioned log.
pub trait Journal: Send + Sync {
    /// What the stream is and how far it reaches at this moment.
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>>;

    /// Becomes the one writer. Refused while another appender of the stream lives.
    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>>;

    /// Becomes one of the writers that a stream may have side by side. They need not know of one another: each has one
    /// holder at a time, whose records a successor of another writer leaves alone, and all write into the same
    /// partitions. A backend within one process knows the first alone, which is that of [`Journal::appender`].
    fn appender_of(&self, writer: Writer) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        match writer {
            Writer::FIRST => self.appender(),
            Writer(_) => Box::pin(async { Err(OpenError::OneWriter) }),
        }
    }

    /// Reads the named partitions, each from the given offset on. An offset before the partition's
    /// start is [`ReadError::OutOfRetention`]; one beyond its end waits there for the record with
    /// that offset.
    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>>;

    /// The first offset whose record has `timestamp_ms` or later; the end of the partition when
    /// there is none.
    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>>;

    /// Forgets records before the given offsets. A backend forgets in units of its own (segments),
    /// so more may stay than asked, never less. Ignores what named readers have released: this is
    /// the operator's order.
    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Notes that the reader called `name` will not ask again for records before the given offsets.
    /// Kept across restarts. Retention never passes it; on Kafka it is the group's committed
    /// offset, which lag tools show. Concerns only the partitions named; for each the last call
    /// counts, so that a reader may go back to what is still kept.
    fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Forgets a named reader, so that retention no longer waits for it.
    fn forget_reader(&self, name: &str) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Where the stream's writer is asked for something, also by those who may not write the stream.
    fn mailbox(&self) -> Box<dyn Mailbox>;

    /// Becomes one of those who share the partitions under the name. A backend within one process knows one member
    /// only, which has them all.
    fn join<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Box<dyn Membership>, ReadError>> {
        let _ = name;
        Box::pin(async {
            let partitions = self.describe().await?.partitions.len();
            Ok(Box::new(Sole::of(partitions)) as Box<dyn Membership>)
        })
    }
}

/// A writer of a stream: the only one, or one of several side by side.
pub trait Appender: Send {
    /// Accepts the records in their order and empties the vector. Waits while the backend has no
    /// room: an open batch that is not yet durable has a bound, and a full disk is waited for (see
    /// [`Appender::health`]). Returns the receipt of the last record. Not cancel-safe: dropped
    /// half-way, the appender must be dropped too.
    fn append<'a>(
        &'a mut self,
        records: &'a mut Vec<Append>,
    ) -> BoxFuture<'a, Result<Receipt, AppendError>>;

    /// The receipt up to which everything survives a crash. Closes when the appender has failed for
    /// good.
    fn durable(&self) -> watch::Receiver<Receipt>;

    /// Waits until all that was accepted is durable.
    fn flush(&mut self) -> BoxFuture<'_, Result<Receipt, AppendError>>;

    /// Whether the backend takes records at the moment, and if not, why.
    fn health(&self) -> watch::Receiver<Health>;
}

/// Reads partitions in order and follows their tails.
pub trait Reader: Send {
    /// The next records, at least one; waits at the tail. Cancel-safe: nothing is lost when
    /// dropped.
    fn next(&mut self, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>>;

    /// Brings nothing more of these partitions for now, and of all others again, so that those come which can be used. What
    /// is under way comes still, and a reader that has one order for all may take no notice.
    fn hold(&mut self, _partitions: BTreeSet<Partition>) {}
}

/// How much [`Reader::next`] may return at once. A single record larger than `bytes` is returned
/// alone.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// Records at most.
    pub records: usize,
    /// Payload bytes at most.
    pub bytes: usize,
}

/// What a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name under which it was made.
    pub stream: String,
    /// Drawn at random when the stream was made: tells a stream from a later one of the same name.
    pub incarnation: u64,
    /// Whether one reader sees records of all partitions in append order.
    pub totally_ordered: bool,
    /// The largest payload that [`Appender::append`] takes.
    pub max_record_bytes: usize,
    /// Indexed by partition number.
    pub partitions: Vec<PartitionRange>,
    /// The named readers and what they have released.
    pub readers: Vec<ReaderProgress>,
}

/// How far one partition reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionRange {
    /// The first offset that can still be read.
    pub start: Offset,
    /// Records before this one survive a crash.
    pub durable: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
}

/// How far one named reader has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderProgress {
    /// The reader's name.
    pub name: String,
    /// Per partition, the first offset it still needs.
    pub released: Vec<(Partition, Offset)>,
}

/// Whether a backend takes records, or gives them to its readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Accepting,
    /// It does not for now; whoever wants it waits. The text says what is wrong, where, and what to do.
    Stalled(String),
}
