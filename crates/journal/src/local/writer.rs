//! The one thread that writes: packs blocks into frames, writes, has them synced, seals, rolls.
//!
//! Guarantees: a record becomes visible after it is in the file, also while earlier ones are being
//! synced, and durable after the sync that the policy asks for; a failed sync is final; a full disk is
//! waited for, with the text in the health; what a failed write left is cut off or written over,
//! so nothing is lost and nothing doubled.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Clock, Trouble};

use super::block::Block;
use super::catalogue::{Active, Segment};
use super::disk::{DiskFile, is_full, to_u64, write_all};
use super::files::create_segment;
use super::frame::Packer;
use super::intake::{Batch, Intake};
use super::log::{Log, Written};
use super::retention::Keeper;
use super::segment::{Footer, Mark, SegmentHeader};
use super::syncer::{Job, Syncer};
use super::{SyncPolicy, WriterSettings};
use crate::Health;

/// A full disk is tried again this often: quick enough for an operator who watches.
const RETRY_FULL_DISK: Duration = Duration::from_millis(500);

/// How often the age of records is looked at when nothing else happens.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Packed frames are written when they have come to this, or when there are no more.
const WRITE_BYTES: usize = 1024 * 1024;

/// Owns the file of the active segment.
pub(super) struct Writer {
    pub(super) log: Arc<Log>,
    pub(super) intake: Arc<Intake>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: WriterSettings,
    pub(super) packer: Packer,
    pub(super) out: Output,
    pub(super) syncer: Syncer,
    pub(super) asked: Asked,
    pub(super) housekept_at: Duration,
}

/// The active segment's file, and what waits to be written to it.
pub(super) struct Output {
    file: Arc<dyn DiskFile>,
    /// Where the frames that are in the file end.
    end: Mark,
    buffer: Vec<u8>,
    /// What the buffer holds.
    packed: Vec<Written>,
}

/// What a sync was asked for last.
pub(super) struct Asked {
    seq: u64,
    at: Duration,
}

/// However the writer leaves, nobody waits for it any more.
struct TellWhoWaits {
    log: Arc<Log>,
    intake: Arc<Intake>,
}

/// Why the writer leaves before it is asked to.
enum Stop {
    /// For good; the text is for the appender.
    Failed(String),
    /// The journal is being closed while the disk is full.
    Closed,
}

// === impl Writer ===

impl Writer {
    /// Runs until the intake is closed and empty, or something fails for good.
    pub(super) fn run(mut self) {
        let _told = TellWhoWaits { log: Arc::clone(&self.log), intake: Arc::clone(&self.intake) };
        match self.write_all_batches() {
            Ok(()) | Err(Stop::Closed) => {}
            Err(Stop::Failed(why)) => self.intake.fail(why),
        }
    }

    fn write_all_batches(&mut self) -> Result<(), Stop> {
        loop {
            let batch = self.intake.take(self.patience());
            let (flush, last, timed_out) = (batch.flush, batch.last, batch.timed_out);
            if let Some(why) = self.syncer.failure() {
                return Err(Stop::Failed(why));
            }
            self.write(batch)?;
            if last {
                return self.sync();
            }
            if self.is_dirty() && (flush || self.sync_is_due(timed_out)) {
                self.make_durable()?;
            }
            if self.housekeeping_is_due(timed_out) {
                self.keep_house();
            }
        }
    }

    fn is_dirty(&self) -> bool {
        self.asked.seq < self.out.end.seq
    }

    /// How long to wait for work.
    fn patience(&self) -> Duration {
        match self.settings.sync {
            SyncPolicy::Interval(every) if self.is_dirty() && self.syncer.is_busy() => every,
            SyncPolicy::Interval(every) if self.is_dirty() => {
                let waited = self.clock.monotonic().saturating_sub(self.asked.at);
                every.saturating_sub(waited)
            }
            _ => HOUSEKEEPING,
        }
    }

    /// A wait that ran out counts as due, whatever the clock says: a test may have stopped it.
    fn sync_is_due(&self, timed_out: bool) -> bool {
        match self.settings.sync {
            SyncPolicy::Interval(_) => {
                !self.syncer.is_busy() && (timed_out || self.patience().is_zero())
            }
            SyncPolicy::EachBatch | SyncPolicy::Os => true,
        }
    }

    /// By the clock under load, by the wait that ran out when nothing happens.
    fn housekeeping_is_due(&self, timed_out: bool) -> bool {
        let waited = self.clock.monotonic().saturating_sub(self.housekept_at);
        waited >= HOUSEKEEPING || timed_out && !self.is_dirty()
    }

    /// Reports as durable what is in the file, after the disk has confirmed it if that is asked
    /// for.
    fn make_durable(&mut self) -> Result<(), Stop> {
        match self.settings.sync {
            SyncPolicy::Os => {
                self.syncer.report(&self.out.end);
                self.note_asked();
                Ok(())
            }
            SyncPolicy::Interval(_) => {
                self.syncer.ask(self.job());
                self.note_asked();
                Ok(())
            }
            SyncPolicy::EachBatch => self.sync(),
        }
    }

    fn sync(&mut self) -> Result<(), Stop> {
        self.syncer.sync(&self.job()).map_err(Stop::Failed)?;
        self.note_asked();
        Ok(())
    }

    fn job(&self) -> Job {
        Job { file: Arc::clone(&self.out.file), path: self.path(), end: self.out.end.clone() }
    }

    fn note_asked(&mut self) {
        self.asked = Asked { seq: self.out.end.seq, at: self.clock.monotonic() };
    }

    fn write(&mut self, batch: Batch) -> Result<(), Stop> {
        let mut blocks = batch.blocks.into_iter().peekable();
        while let Some(block) = blocks.next() {
            let next = blocks.peek().map_or(&batch.end, |block| &block.start);
            self.pack(block, Arc::clone(next));
            let is_full = self.out.packed_end() >= self.settings.segment_bytes;
            if is_full || self.out.buffer.len() >= WRITE_BYTES {
                self.write_out()?;
            }
            if is_full {
                self.roll()?;
            }
        }
        self.write_out()
    }

    fn pack(&mut self, block: Block, next: Arc<[u64]>) {
        let header = self.packer.pack(&block, self.syncer.synced_seq(), &mut self.out.buffer);
        let max_ms = self.out.packed.last().map_or(&self.out.end, |written| &written.end).max_ms;
        let end = Mark {
            position: self.out.packed_end(),
            seq: header.end_seq(),
            max_ms: max_ms.max(header.max_ms),
            next,
        };
        self.out.packed.push(Written { block, end });
    }

    /// Writes what is packed and shows it to readers.
    fn write_out(&mut self) -> Result<(), Stop> {
        let Some(end) = self.out.packed.last().map(|written| written.end.clone()) else {
            return Ok(());
        };
        let path = self.path();
        self.until_there_is_room(&path, |writer| writer.out.write_at_end(&writer.out.buffer))?;
        self.out.end = end;
        self.out.buffer.clear();
        // A very large record has passed.
        self.out.buffer.shrink_to(2 * WRITE_BYTES);
        let bytes = self.out.packed.iter().map(|written| written.block.bytes.len()).sum();
        let mut spares = Vec::new();
        self.log.publish(self.out.packed.drain(..), &mut spares);
        self.intake.written(bytes, spares);
        Ok(())
    }

    /// Seals the active segment and begins the next one.
    fn roll(&mut self) -> Result<(), Stop> {
        let Active { end, min_ms, marks, .. } = self.log.catalogue.lock().active().clone();
        let footer = Footer::encode(&end, min_ms, &marks, self.log.salt);
        let file_bytes = end.position + to_u64(footer.len());
        self.until_there_is_room(&self.path(), |writer| writer.out.write_at_end(&footer))?;
        self.sync()?;
        let header = SegmentHeader {
            incarnation: self.log.incarnation,
            base_seq: end.seq,
            created_ms: self.clock.now_ms(),
            base: end.next,
        };
        let segment = Segment::new(&self.log.dir, header);
        let file = self.until_there_is_room(&segment.path, |writer| {
            create_segment(&*writer.log.disk, &segment.path, &segment.header)
        })?;
        let next = Active::new(segment);
        self.out.file = file;
        self.out.end = next.end.clone();
        self.log.roll(file_bytes, next);
        self.keep_house();
        Ok(())
    }

    /// Does it again and again while the disk is full.
    fn until_there_is_room<T>(
        &mut self,
        path: &Path,
        mut attempt: impl FnMut(&Self) -> io::Result<T>,
    ) -> Result<T, Stop> {
        let mut stall = Trouble::default();
        loop {
            let error = match attempt(self) {
                Ok(value) => {
                    if let Some(after) = stall.end(self.clock.monotonic()) {
                        let dir = self.log.dir.display();
                        tracing::info!(%dir, after, "there is room for the journal again");
                        self.intake.health().send_replace(Health::Accepting);
                    }
                    return Ok(value);
                }
                Err(error) if is_full(&error) => error,
                Err(error) => return Err(failed("write", path, &error)),
            };
            if stall.begin(self.clock.monotonic()) {
                self.begin_stall(&error)?;
            }
            if self.intake.wait_while_stalled(RETRY_FULL_DISK) {
                return Err(Stop::Closed);
            }
            // Room would not help: what has been written may be lost.
            if let Some(why) = self.syncer.failure() {
                return Err(Stop::Failed(why));
            }
        }
    }

    fn begin_stall(&mut self, error: &io::Error) -> Result<(), Stop> {
        let text = format!(
            "no room for the journal in {} ({error}): free some space; writing goes on by itself",
            self.log.dir.display()
        );
        tracing::warn!("{text}");
        self.intake.health().send_replace(Health::Stalled(text));
        // What is in the file need not wait for room.
        if self.is_dirty() { self.make_durable() } else { Ok(()) }
    }

    fn keep_house(&mut self) {
        self.housekept_at = self.clock.monotonic();
        if let Err(error) = self.keeper.retain(self.clock.now_ms()) {
            let dir = self.log.dir.display();
            tracing::warn!(%dir, error = %error, "could not remove old segments");
        }
    }

    /// The active segment's file.
    fn path(&self) -> Arc<Path> {
        Arc::clone(&self.log.catalogue.lock().active().segment.path)
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Stop {
    Stop::Failed(format!("{what} {}: {error}", path.display()))
}

// === impl Output ===

impl Output {
    /// The file of the active segment, whose frames end at `end`.
    pub(super) fn new(file: Arc<dyn DiskFile>, end: Mark) -> Self {
        Self { file, end, buffer: Vec::new(), packed: Vec::new() }
    }

    /// Writes behind the last frame. When there is no room for all, what was written is cut off.
    fn write_at_end(&self, bytes: &[u8]) -> io::Result<()> {
        let Err(error) = write_all(&*self.file, bytes, self.end.position) else { return Ok(()) };
        if is_full(&error) {
            match self.file.set_bytes(self.end.position) {
                Ok(()) => {}
                // Some file systems need room to cut; then the rest is written over, or cut at
                // the next start.
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(error)
    }

    /// Where the frames end when the buffer is written.
    fn packed_end(&self) -> u64 {
        self.end.position + to_u64(self.buffer.len())
    }
}

// === impl TellWhoWaits ===

impl Drop for TellWhoWaits {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.intake.fail("the thread that writes panicked".to_owned());
        }
        self.intake.closed();
        self.log.close();
    }
}

// === impl Asked ===

impl Asked {
    /// Everything up to `seq` is durable.
    pub(super) fn new(seq: u64, now: Duration) -> Self {
        Self { seq, at: now }
    }
}
