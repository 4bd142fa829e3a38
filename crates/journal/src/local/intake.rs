//! The way from the appender to the writer: records are encoded here once, and wait in blocks.
//!
//! Guarantees: bounded in bytes, including what is being written; records get their numbers and
//! offsets in the order of acceptance; one appender at a time; nothing is accepted after a failure
//! or after closing. Locked for as long as it takes to copy records, never while a file is touched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, watch};

use super::block::Block;
use super::format::BLOCK_TARGET_BYTES;
use crate::{Append, AppendError, Health, Receipt};

/// The writer takes so much at once: enough for a large write, little enough that durability is
/// reported often.
const TAKE_BYTES: usize = 1024 * 1024;

/// Buffers of written blocks that are kept for the next ones: as many as are taken at once, since
/// fresh memory costs more than the copying into it.
const SPARES: usize = 8;

/// A buffer that had to hold a very large record is not kept.
const SPARE_BYTES: usize = 4 * BLOCK_TARGET_BYTES;

/// Blocks between appender and writer.
#[derive(Debug)]
pub(super) struct Intake {
    state: Mutex<State>,
    /// There is something for the writer.
    work: Condvar,
    /// There is room for the appender.
    room: Notify,
    health: watch::Sender<Health>,
    limits: Limits,
    stream: String,
}

/// How much may wait, and in what pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) queue_bytes: usize,
    pub(super) block_bytes: usize,
}

#[derive(Debug)]
struct State {
    blocks: VecDeque<Block>,
    spares: Vec<Vec<u8>>,
    /// In blocks that wait or are being written.
    held_bytes: usize,
    next_seq: u64,
    next: Vec<u64>,
    holder: Option<Holder>,
    holders_so_far: u64,
    flush: bool,
    closing: bool,
    failed: Option<String>,
}

/// The appender that lives.
#[derive(Debug)]
struct Holder {
    id: u64,
    /// The number of the first record that it appended.
    base_seq: u64,
    durable: watch::Sender<Receipt>,
}

/// What an appender needs to begin.
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) durable: watch::Receiver<Receipt>,
}

/// What came of offering records.
pub(super) enum Offer {
    /// All were accepted.
    Accepted(Receipt),
    /// Some may have been; the others have to wait for room.
    Full,
}

/// Work for the writer.
#[derive(Debug)]
pub(super) struct Batch {
    /// In order; may be none.
    pub(super) blocks: Vec<Block>,
    /// Per partition, the offset that the first record after these blocks has.
    pub(super) end: Arc<[u64]>,
    /// Somebody waits for durability.
    pub(super) flush: bool,
    /// After this there will be nothing.
    pub(super) last: bool,
    /// The wait was over before anything came.
    pub(super) timed_out: bool,
}

// === impl Intake ===

impl Intake {
    /// Records are numbered from `next_seq` and `next` on.
    pub(super) fn new(stream: &str, limits: Limits, next_seq: u64, next: &[u64]) -> Self {
        let state = State {
            blocks: VecDeque::new(),
            spares: Vec::new(),
            held_bytes: 0,
            next_seq,
            next: next.to_vec(),
            holder: None,
            holders_so_far: 0,
            flush: false,
            closing: false,
            failed: None,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Notify::new(),
            health: watch::Sender::new(Health::Accepting),
            limits,
            stream: stream.to_owned(),
        }
    }

    /// Per partition, the offset that the next record gets.
    pub(super) fn end(&self) -> Vec<u64> {
        self.state.lock().next.clone()
    }

    pub(super) fn health(&self) -> &watch::Sender<Health> {
        &self.health
    }

    // --- for the appender

    /// Becomes the appender, if there is none.
    pub(super) fn enter(&self) -> Option<Ticket> {
        let mut state = self.state.lock();
        if state.holder.is_some() {
            return None;
        }
        state.holders_so_far += 1;
        let (id, base_seq) = (state.holders_so_far, state.next_seq);
        let (durable, receiver) = watch::channel(Receipt(0));
        if state.failed.is_none() {
            state.holder = Some(Holder { id, base_seq, durable });
        }
        Some(Ticket { id, durable: receiver })
    }

    /// The appender is gone.
    pub(super) fn leave(&self, id: u64) {
        let mut state = self.state.lock();
        state.holder.take_if(|holder| holder.id == id);
    }

    /// Takes as many records as there is room for off the front.
    pub(super) fn offer(&self, id: u64, records: &mut Vec<Append>) -> Result<Offer, AppendError> {
        let mut state = self.state.lock();
        let base_seq = self.base_seq(&state, id)?;
        let was_empty = state.blocks.is_empty();
        let mut taken = 0;
        for record in records.iter() {
            if state.held_bytes >= self.limits.queue_bytes {
                break;
            }
            state.push(record, self.limits.block_bytes);
            taken += 1;
        }
        let receipt = Receipt(state.next_seq - base_seq);
        drop(state);
        if was_empty && taken > 0 {
            self.work.notify_one();
        }
        let all = taken == records.len();
        records.drain(..taken);
        Ok(if all { Offer::Accepted(receipt) } else { Offer::Full })
    }

    /// Completes when there may be room again. To be made before the offer that is refused.
    pub(super) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.room.notified()
    }

    /// Asks the writer to make durable what has been accepted; returns up to where.
    pub(super) fn ask_to_flush(&self, id: u64) -> Result<Receipt, AppendError> {
        let mut state = self.state.lock();
        let receipt = Receipt(state.next_seq - self.base_seq(&state, id)?);
        state.flush = true;
        drop(state);
        self.work.notify_one();
        Ok(receipt)
    }

    /// Why the appender can do nothing any more.
    pub(super) fn refusal(&self, id: u64) -> AppendError {
        let refused = self.base_seq(&self.state.lock(), id).err();
        refused.unwrap_or_else(|| AppendError::Failed("the journal is closed".to_owned()))
    }

    fn base_seq(&self, state: &State, id: u64) -> Result<u64, AppendError> {
        if let Some(why) = &state.failed {
            return Err(AppendError::Failed(why.clone()));
        }
        if state.closing {
            return Err(AppendError::Failed("the journal is closed".to_owned()));
        }
        let holder = state.holder.as_ref().filter(|holder| holder.id == id);
        let fenced = || AppendError::Fenced { stream: self.stream.clone() };
        holder.map(|holder| holder.base_seq).ok_or_else(fenced)
    }

    // --- for the writer

    /// Waits for work, at most for the given time.
    pub(super) fn take(&self, patience: Duration) -> Batch {
        let mut state = self.state.lock();
        let mut timed_out = false;
        while !state.has_work() && !timed_out {
            timed_out = self.work.wait_for(&mut state, patience).timed_out();
        }
        let mut blocks = Vec::new();
        let mut bytes = 0;
        while let Some(block) = state.blocks.pop_front_if(|_| bytes < TAKE_BYTES) {
            bytes += block.bytes.len();
            blocks.push(block);
        }
        let end = match state.blocks.front() {
            Some(rest) => Arc::clone(&rest.start),
            None => state.next.as_slice().into(),
        };
        let rest = !state.blocks.is_empty();
        let flush = state.flush && !rest;
        state.flush = state.flush && rest;
        Batch { blocks, end, flush, last: state.closing && !rest, timed_out }
    }

    /// So many bytes of blocks have been written, and these buffers are free.
    pub(super) fn written(&self, bytes: usize, mut spares: Vec<Vec<u8>>) {
        let mut state = self.state.lock();
        state.held_bytes = state.held_bytes.saturating_sub(bytes);
        spares.retain(|spare| spare.capacity() <= SPARE_BYTES);
        let room = SPARES.saturating_sub(state.spares.len()).min(spares.len());
        state.spares.extend(spares.drain(..room));
        drop(state);
        self.room.notify_one();
    }

    /// All records before `seq` survive a crash.
    pub(super) fn durable(&self, seq: u64) {
        if let Some(holder) = &self.state.lock().holder {
            let receipt = Receipt(seq.saturating_sub(holder.base_seq));
            holder.durable.send_if_modified(|durable| {
                let grows = *durable < receipt;
                *durable = receipt.max(*durable);
                grows
            });
        }
    }

    /// Nothing is accepted any more; who waits is told why.
    pub(super) fn fail(&self, why: String) {
        let mut state = self.state.lock();
        state.failed = Some(why);
        state.holder = None;
        drop(state);
        self.work.notify_one();
        self.room.notify_one();
    }

    /// The writer is to write what there is and leave.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_one();
        self.room.notify_one();
    }

    /// The writer has left: who still waits for durability is told.
    pub(super) fn closed(&self) {
        self.state.lock().holder = None;
        self.room.notify_one();
    }

    /// Waits while the disk is full, unless something fails; true when the journal is being closed.
    pub(super) fn wait_while_stalled(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let mut timed_out = false;
        while !state.closing && state.failed.is_none() && !timed_out {
            timed_out = self.work.wait_for(&mut state, patience).timed_out();
        }
        state.closing
    }
}

// === impl State ===

impl State {
    fn has_work(&self) -> bool {
        !self.blocks.is_empty() || self.flush || self.closing || self.failed.is_some()
    }

    fn push(&mut self, record: &Append, block_bytes: usize) {
        let room = block_bytes.saturating_sub(Block::cost(record));
        if self.blocks.back().is_none_or(|block| block.bytes.len() > room) {
            let start = self.next.as_slice().into();
            let (buffer, time) = (self.spares.pop(), record.timestamp_ms);
            self.blocks.push_back(Block::new(self.next_seq, start, time, buffer));
        }
        let block = self.blocks.back_mut().expect("one was just made");
        let before = block.bytes.len();
        block.push(record);
        self.held_bytes += block.bytes.len() - before;
        self.next_seq += 1;
        let next = self.next.get_mut(usize::from(record.partition.0));
        *next.expect("partitions are checked before records are offered") += 1;
    }
}
