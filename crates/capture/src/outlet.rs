//! Events into the journal: encoded, cut to size, in the right partition, each once.
//!
//! Guarantees: events are appended in the order in which they are given; an event that its
//! partition already holds (from before a restart) is skipped, but for those of a snapshot made on demand, which are no
//! places in the stream and are all new; nothing larger than the journal
//! takes is appended; the offset that [`Outlet::durable_offset`] names is one up to which
//! everything is durable, also what a run before has appended.

mod label;
mod large;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use event::codec::{EncodeError, Rope};
use event::text::Shortened;
use event::{Effect, Event, Position, codec, fragment, names};
use journal::{Append, Appender, Health, Partition, Receipt};
use runtime::chain;
use tokio::sync::watch;
use wire::args::Args;
use wire::resp::scan::RawCommand;
use wire::slot::{Slot, partition_of};

use self::label::Label;
use self::large::Large;
use crate::error::OutletError;
use crate::parts::Recorded;
use crate::resume::Tail;
use crate::spool::Asides;

/// The one way into the journal.
pub(crate) struct Outlet {
    appender: Box<dyn Appender>,
    partitions: u16,
    /// Per partition, what it held when capture started; forgotten once the stream has passed it.
    held: Vec<Option<Position>>,
    /// Per partition, whether it ends within an event in several records.
    open: Vec<bool>,
    batch: Vec<Append>,
    batch_bytes: usize,
    /// What comes after the batch, from the first large event on.
    later: VecDeque<Later>,
    later_bytes: usize,
    /// Where large events go while they are written.
    asides: Option<Asides>,
    scratch: BytesMut,
    /// Offsets of the stream, each with the receipt that makes it durable; without one: the first
    /// record to come makes it so.
    undurable: VecDeque<(Option<Receipt>, u64)>,
    durable_offset: u64,
    /// The last record appended; none: not one yet, and what was there before may not be durable.
    accepted: Option<Receipt>,
    counts: OutletCounts,
    recorded: Recorded,
}

/// What a journal holds when an outlet is made.
#[derive(Clone, Debug)]
pub(crate) struct Holdings {
    /// Per partition, the last change that is whole there.
    pub held: Vec<Option<Position>>,
    /// Per partition, whether it ends within an event in several records.
    pub open: Vec<bool>,
    /// Whether all of it survives a crash.
    pub durable: bool,
}

/// What went through an outlet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutletCounts {
    /// Records appended.
    pub records: u64,
    /// Bytes of their payload.
    pub bytes: u64,
    /// Events taken that are about keys.
    pub changes: u64,
    /// Events that their partition already held.
    pub skipped: u64,
}

/// What is not in the batch yet.
enum Later {
    Record(Append),
    /// The rest of a large event: its pieces are encoded when their turn comes.
    Pieces(Partition, Box<Large>),
}

/// Pieces of large events are encoded until so many bytes wait, which are then appended: so much
/// memory they take besides the event.
const WINDOW_BYTES: usize = 256 * 1024;

/// Encoding space taken at once: many events share one allocation.
const SCRATCH_BYTES: usize = 256 * 1024;

/// With less left of it another is taken; an event that needs more makes it grow.
const SCRATCH_LEAST_BYTES: usize = 1024;

// === impl Holdings ===

impl Holdings {
    /// What was found at the journal's end.
    pub(crate) fn of(tail: &Tail) -> Self {
        Self { held: tail.held.clone(), open: tail.open.clone(), durable: tail.durable }
    }
}

// === impl Outlet ===

impl Outlet {
    /// An outlet over a journal that already holds this, in so many partitions.
    #[must_use]
    pub(crate) fn new(appender: Box<dyn Appender>, holdings: Holdings) -> Self {
        let partitions = u16::try_from(holdings.held.len());
        Self {
            appender,
            recorded: Recorded::of(&holdings.held),
            partitions: partitions.expect("there are fewer partitions than slots"),
            held: holdings.held,
            open: holdings.open,
            batch: Vec::new(),
            batch_bytes: 0,
            later: VecDeque::new(),
            later_bytes: 0,
            asides: None,
            scratch: BytesMut::new(),
            undurable: VecDeque::new(),
            durable_offset: 0,
            accepted: holdings.durable.then(Receipt::default),
            counts: OutletCounts::default(),
        }
    }

    /// Lets large events wait in files for their turn: whoever reads the journal at the same time
    /// puts them together while they are written, and the memory would have them twice.
    #[must_use]
    pub(crate) fn with_asides(mut self, asides: Asides) -> Self {
        self.asides = Some(asides);
        self
    }

    /// How far each partition is.
    #[must_use]
    pub(crate) fn recorded(&self) -> Recorded {
        self.recorded.clone()
    }

    /// How many partitions there are.
    #[must_use]
    pub(crate) fn partitions(&self) -> u16 {
        self.partitions
    }

    /// The partition that a slot belongs to.
    #[must_use]
    pub(crate) fn partition_of(&self, slot: Slot) -> Partition {
        let number = partition_of(slot, u32::from(self.partitions));
        Partition(u16::try_from(number).expect("fewer partitions than slots"))
    }

    /// Takes an event for the partition of its slot. It is appended with the next
    /// [`Outlet::flush`].
    ///
    /// # Errors
    /// When it has no encoding.
    pub(crate) fn push(&mut self, event: &Event) -> Result<(), OutletError> {
        self.push_to(self.partition_of(event.slot), event)
    }

    /// Takes a control event for every partition.
    ///
    /// # Errors
    /// When it has no encoding.
    pub(crate) fn push_everywhere(&mut self, event: &Event) -> Result<(), OutletError> {
        (0..self.partitions).try_for_each(|number| self.push_to(Partition(number), event))
    }

    /// Takes a control event for every partition, whatever they hold; none where one of them ends
    /// within an event, which only its own rest or a new epoch may follow.
    ///
    /// # Errors
    /// When it has no encoding.
    pub(crate) fn push_behind_all(&mut self, event: &Event) -> Result<(), OutletError> {
        if self.open.contains(&true) {
            return Ok(());
        }
        let encoded = self.encode(&event.key, |buf| codec::encode(event, buf))?;
        for number in 0..self.partitions {
            self.add(Partition(number), &Label::of(event), encoded.clone());
        }
        Ok(())
    }

    /// Whether all that was there at the start is known to be durable, or will be with the next
    /// record that is.
    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        self.accepted.is_some()
    }

    /// Whether the stream has come, at `position`, behind all that was there at the start, and no partition ends within an
    /// event.
    #[must_use]
    pub(crate) fn has_passed(&self, position: Position) -> bool {
        !self.open.contains(&true)
            && !self.held.iter().flatten().any(|held| held.is_after(&position))
    }

    /// Takes an event for a partition named.
    ///
    /// # Errors
    /// When it has no encoding.
    pub(crate) fn push_to(
        &mut self,
        partition: Partition,
        event: &Event,
    ) -> Result<(), OutletError> {
        let label = Label::of(event);
        if self.skips(partition, &label) {
            return Ok(());
        }
        let lenders = codec::lenders(event);
        if lenders.is_empty() {
            let encoded = self.encode(label.key, |buf| codec::encode(event, buf))?;
            self.add_whole(partition, &label, encoded);
            return Ok(());
        }
        let rope = codec::encode_rope(event, &lenders);
        self.add_rope(partition, &label, rope.map_err(|source| failed(label.key, source))?);
        Ok(())
    }

    /// Takes the event of a command that is recorded as it came, for the partition of its slot.
    ///
    /// # Errors
    /// When it has no encoding.
    pub(crate) fn push_command(
        &mut self,
        head: &codec::Head<'_>,
        effect: Effect,
        command: &RawCommand,
    ) -> Result<(), OutletError> {
        let key = command.bytes(1).unwrap_or_default();
        let label = Label {
            head: *head,
            key: &key,
            kind: event::COMMAND_KIND,
            is_change: true,
            snapshot_id: 0,
        };
        let partition = self.partition_of(head.slot);
        if self.skips(partition, &label) {
            return Ok(());
        }
        if command.frame().len() < codec::SHARED_BYTES {
            let encoded = self.encode(&key, |buf| {
                codec::encode_command(buf, head, effect, None, command.iter())
            })?;
            self.add_whole(partition, &label, encoded);
            return Ok(());
        }
        let rope = codec::encode_command_rope(command.frame(), head, effect, None, command.iter());
        self.add_rope(partition, &label, rope.map_err(|source| failed(&key, source))?);
        Ok(())
    }

    /// Bytes that wait for the next flush.
    #[must_use]
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes + self.later_bytes
    }

    /// Appends what was taken; with it, everything up to `offset` of the stream is in the journal.
    /// Waits while the journal has no room.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn flush(&mut self, offset: u64) -> Result<(), OutletError> {
        self.append().await?;
        self.put_large_aside().await;
        while !self.later.is_empty() {
            self.fill_batch()?;
            self.append().await?;
        }
        match self.undurable.back_mut() {
            Some((receipt, last)) if *receipt == self.accepted => *last = offset,
            _ => self.undurable.push_back((self.accepted, offset)),
        }
        Ok(())
    }

    async fn append(&mut self) -> Result<(), OutletError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let records = to_u64(self.batch.len());
        let receipt = Some(self.appender.append(&mut self.batch).await?);
        self.counts.records += records;
        self.counts.bytes += to_u64(std::mem::take(&mut self.batch_bytes));
        if let Some((before @ None, _)) = self.undurable.front_mut() {
            // A crash takes a suffix: once this is durable, so is all that was there before.
            *before = receipt;
        }
        self.accepted = receipt;
        Ok(())
    }

    /// Moves what comes later into the batch, as much as a window holds.
    fn fill_batch(&mut self) -> Result<(), OutletError> {
        while self.batch_bytes < WINDOW_BYTES {
            match self.later.pop_front() {
                None => return Ok(()),
                Some(Later::Record(append)) => {
                    self.later_bytes -= append.payload.len();
                    self.batch_bytes += append.payload.len();
                    self.batch.push(append);
                }
                Some(Later::Pieces(partition, mut large)) => {
                    let before = large.rest_bytes();
                    let Some(piece) = large.next()? else { continue };
                    self.later_bytes -= before - large.rest_bytes();
                    self.later.push_front(Later::Pieces(partition, large));
                    let encoded = self.encode(&piece.key, |buf| codec::encode(&piece, buf))?;
                    self.batch_bytes += encoded.len();
                    self.batch.push(append(partition, &Label::of(&piece), encoded));
                }
            }
        }
        Ok(())
    }

    /// Moves what is very large to files. Where they have no room it stays in memory.
    async fn put_large_aside(&mut self) {
        let Some(asides) = &self.asides else { return };
        for later in &mut self.later {
            if let Later::Pieces(_, large) = later
                && let Err(error) = large.put_aside(asides).await
            {
                let error = chain(&error);
                tracing::warn!(%error, "a large change stays in memory while it is written");
            }
        }
    }

    /// Waits until all that was flushed is durable.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn flush_durably(&mut self) -> Result<(), OutletError> {
        self.appender.flush().await?;
        Ok(())
    }

    /// Tells when more has become durable.
    #[must_use]
    pub(crate) fn durable(&self) -> watch::Receiver<Receipt> {
        self.appender.durable()
    }

    /// Whether the journal takes records.
    #[must_use]
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.appender.health()
    }

    /// The offset of the stream up to which the journal holds everything durably; 0 before there is
    /// any.
    pub(crate) fn durable_offset(&mut self) -> u64 {
        let durable = *self.appender.durable().borrow();
        while let Some((Some(receipt), offset)) = self.undurable.front() {
            if *receipt > durable {
                break;
            }
            self.durable_offset = *offset;
            self.undurable.pop_front();
        }
        self.durable_offset
    }

    /// Forgets offsets of a history that has ended.
    pub(crate) fn restart_offsets(&mut self) {
        self.undurable.clear();
        self.durable_offset = 0;
    }

    /// What went through so far.
    #[must_use]
    pub(crate) fn counts(&self) -> OutletCounts {
        self.counts
    }

    fn is_held(&mut self, partition: Partition, position: &Position) -> bool {
        let Some(held) = self.held.get_mut(usize::from(partition.0)) else { return false };
        match held {
            Some(last) if !position.is_after(last) => true,
            _ => {
                *held = None;
                false
            }
        }
    }

    /// Whether the partition holds an event already.
    fn skips(&mut self, partition: Partition, label: &Label<'_>) -> bool {
        let held = label.snapshot_id == 0 && self.is_held(partition, &label.head.position);
        self.counts.skipped += u64::from(held);
        held
    }

    fn encode(
        &mut self,
        key: &Bytes,
        encode: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<Bytes, OutletError> {
        if self.scratch.capacity() < SCRATCH_LEAST_BYTES {
            self.scratch = BytesMut::with_capacity(SCRATCH_BYTES);
        }
        encode(&mut self.scratch).map_err(|source| failed(key, source))?;
        Ok(self.scratch.split().freeze())
    }

    /// Adds an event, in pieces if it is large.
    fn add_rope(&mut self, partition: Partition, label: &Label<'_>, rope: Rope) {
        if !fragment::is_needed(rope.len()) {
            self.add(partition, label, rope.into_bytes());
            return;
        }
        self.begin(partition, label);
        self.later_bytes += rope.len();
        let pieces = fragment::split(rope, &label.head).of_snapshot(label.snapshot_id);
        self.later.push_back(Later::Pieces(partition, Box::new(Large::new(pieces))));
    }

    fn add_whole(&mut self, partition: Partition, label: &Label<'_>, encoded: Bytes) {
        if fragment::is_needed(encoded.len()) {
            self.add_rope(partition, label, encoded.into());
        } else {
            self.add(partition, label, encoded);
        }
    }

    fn add(&mut self, partition: Partition, label: &Label<'_>, payload: Bytes) {
        self.begin(partition, label);
        let bytes = payload.len();
        let append = append(partition, label, payload);
        if self.later.is_empty() {
            self.batch_bytes += bytes;
            self.batch.push(append);
        } else {
            self.later_bytes += bytes;
            self.later.push_back(Later::Record(append));
        }
    }

    /// An event begins in a partition: what it ended within has been given up, or is complete.
    fn begin(&mut self, partition: Partition, label: &Label<'_>) {
        self.counts.changes += u64::from(label.is_change);
        if label.snapshot_id != 0 {
            return;
        }
        self.recorded.note(partition, label.head.position.offset);
        if let Some(open) = self.open.get_mut(usize::from(partition.0)) {
            *open = false;
        }
    }
}

fn append(partition: Partition, label: &Label<'_>, payload: Bytes) -> Append {
    Append {
        partition,
        key: names::record_key(label.key),
        timestamp_ms: label.head.stamp.time_ms,
        kind: label.kind,
        db: label.head.db,
        payload,
    }
}

fn failed(key: &Bytes, source: EncodeError) -> OutletError {
    OutletError::Encode { key: Shortened(key).to_string(), source }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
