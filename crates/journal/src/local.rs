//! The embedded journal: one append-only log in segment files for all partitions.
//!
//! Guarantees beside the crate's: totally ordered, offsets without gaps; one process writes, any
//! number read; a record is visible when it is in the file, durable when the [`SyncPolicy`] says
//! so; a crash cuts the end of the last segment, and [`OpenReport`] tells; damage anywhere else is
//! an error that names file and byte, never skipped; a full disk is waited for.
//!
//! ```text
//!   Appender ─► Intake ─► Writer (its own thread) ─► segment files ─┐
//!               blocks      frames, seal, roll       │              ├─► Reader
//!               bounded              │               └─► Tail ──────┘
//!                                      └─► Syncer (another thread) ─► durable
//! ```
//! The files are described on one page, `local/format.rs`.

mod appender;
mod block;
mod catalogue;
mod config;
mod disk;
mod fields;
mod files;
mod follow;
mod format;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod intake;
mod lock;
mod log;
mod mailbox;
mod meta;
mod reader;
mod recover;
mod report;
mod retention;
mod scan;
mod segment;
mod serve;
mod syncer;
mod tail;
mod time;
mod torn;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use runtime::Clock;
use tokio::sync::watch;

use self::catalogue::Catalogue;
use self::disk::{Disk, OsDisk};
use self::follow::Follow;
use self::format::salt_of;
use self::frame::Packer;
use self::intake::Intake;
use self::lock::Lock;
use self::log::{Log, Visible};
use self::meta::Meta;
use self::recover::{Opened, Recovery};
use self::retention::Keeper;
use self::syncer::Syncer;
use self::tail::Tail;
use self::writer::{Asked, Output, Writer};
use crate::OpenError;

pub use self::config::{Compression, LocalConfig, ReadOnlyConfig, SyncPolicy};
pub use self::report::{Cut, LocalStatus, OpenReport};

/// What a local journal uses beside its settings.
#[derive(Clone, Debug)]
pub struct LocalParts {
    /// Wall time for retention, monotonic time between syncs, sleep while following.
    pub clock: Arc<dyn Clock>,
}

/// A journal in a directory of this machine. Closing or dropping it writes and syncs what was
/// accepted, and waits for that; appenders and readers that still live get an error then.
#[derive(Debug)]
pub struct LocalJournal {
    log: Arc<Log>,
    keeper: Arc<Keeper>,
    clock: Arc<dyn Clock>,
    max_record_bytes: usize,
    report: OpenReport,
    role: Role,
}

/// What this process may do with the journal.
#[derive(Debug)]
enum Role {
    /// It writes.
    Writes {
        intake: Arc<Intake>,
        thread: Option<JoinHandle<()>>,
        /// Released when everything is written.
        _lock: Option<Lock>,
    },
    /// It reads what another process may be writing.
    Follows(Arc<Follow>),
}

/// What the writer needs of the settings.
#[derive(Clone, Copy, Debug)]
struct WriterSettings {
    sync: SyncPolicy,
    segment_bytes: u64,
}

// === impl LocalJournal ===

impl LocalJournal {
    /// Opens the stream for writing and reading, or makes it. Cuts a torn tail; see
    /// [`LocalJournal::open_report`].
    ///
    /// # Errors
    /// [`OpenError::Locked`] while another process writes, [`OpenError::Mismatch`] when the stream
    /// was made with another name or number of partitions, [`OpenError::Settings`],
    /// [`OpenError::Corrupt`] and [`OpenError::Io`].
    pub async fn open(config: LocalConfig, parts: LocalParts) -> Result<Self, OpenError> {
        let dir = config.dir.clone();
        blocking(dir, move || Self::open_locked(&config, &parts)).await
    }

    /// Opens an existing stream for reading only, without its lock: another process may be
    /// writing it. Readers look for more now and then; what is written last may be durable or not.
    ///
    /// # Errors
    /// [`OpenError::Io`] when there is no stream, [`OpenError::Corrupt`].
    pub async fn open_read_only(
        config: ReadOnlyConfig,
        parts: LocalParts,
    ) -> Result<Self, OpenError> {
        let dir = config.dir.clone();
        blocking(dir, move || Self::follow(Arc::new(OsDisk), &config, &parts)).await
    }

    /// Writes and syncs what was accepted, and gives the directory free.
    pub async fn close(self) {
        let closed = tokio::task::spawn_blocking(move || drop(self)).await;
        closed.expect("dropping a journal does not panic");
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// What it holds at the moment.
    #[must_use]
    pub fn status(&self) -> LocalStatus {
        self.keeper.status()
    }

    fn open_locked(config: &LocalConfig, parts: &LocalParts) -> Result<Self, OpenError> {
        check(config)?;
        let create = OsDisk.create_dir(&config.dir);
        create.map_err(files::io_error("make directory", &config.dir))?;
        let lock = Lock::take(&config.dir, parts.clock.now_ms())?;
        Self::open_on(Arc::new(OsDisk), config, parts, Some(lock))
    }

    /// Opens on the given disk, for tests without a lock.
    fn open_on(
        disk: Arc<dyn Disk>,
        config: &LocalConfig,
        parts: &LocalParts,
        lock: Option<Lock>,
    ) -> Result<Self, OpenError> {
        check(config)?;
        let recovery = Recovery { disk: &*disk, dir: &config.dir, now_ms: parts.clock.now_ms() };
        let Opened { meta, catalogue, file, report } =
            recovery.open(&config.stream, config.partitions)?;
        let end = catalogue.active().end.clone();
        let log = Arc::new(new_log(disk, config.tail_cache_bytes, &config.dir, &meta, catalogue));
        let limits = retention::Limits { bytes: config.retention_bytes, age: config.retention_age };
        let keeper = Arc::new(Keeper::new(Arc::clone(&log), limits, meta));
        let limits =
            intake::Limits { queue_bytes: config.queue_bytes, block_bytes: config.block_bytes() };
        let intake = Arc::new(Intake::new(&config.stream, limits, end.seq, &end.next));
        let syncer = Syncer::start(Arc::clone(&log), Arc::clone(&intake), end.seq)
            .map_err(files::io_error("start the writer of", &config.dir))?;
        let writer = Writer {
            log: Arc::clone(&log),
            intake: Arc::clone(&intake),
            keeper: Arc::clone(&keeper),
            clock: Arc::clone(&parts.clock),
            settings: WriterSettings { sync: config.sync, segment_bytes: config.segment_bytes },
            packer: Packer::new(config.compression, log.salt),
            asked: Asked::new(end.seq, parts.clock.monotonic()),
            syncer,
            housekept_at: parts.clock.monotonic(),
            out: Output::new(file, end),
        };
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(files::io_error("start the writer of", &config.dir))?;
        Ok(Self {
            log,
            keeper,
            clock: Arc::clone(&parts.clock),
            max_record_bytes: config.max_record_bytes,
            report,
            role: Role::Writes { intake, thread: Some(thread), _lock: lock },
        })
    }

    fn follow(
        disk: Arc<dyn Disk>,
        config: &ReadOnlyConfig,
        parts: &LocalParts,
    ) -> Result<Self, OpenError> {
        let follow::Found { meta, catalogue, file } = follow::find(&*disk, &config.dir)?;
        let log = Arc::new(new_log(disk, 0, &config.dir, &meta, catalogue));
        let keeper = Keeper::new(Arc::clone(&log), retention::Limits::default(), meta);
        let follow = Follow::new(Arc::clone(&parts.clock), config.poll_every, file);
        Ok(Self {
            log,
            keeper: Arc::new(keeper),
            clock: Arc::clone(&parts.clock),
            max_record_bytes: format::RECORD_LIMIT_BYTES,
            report: OpenReport::default(),
            role: Role::Follows(Arc::new(follow)),
        })
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        if let Role::Writes { intake, thread, .. } = &mut self.role {
            intake.close();
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!(dir = %self.log.dir.display(), "the writer of a journal panicked");
            }
        }
    }
}

fn check(config: &LocalConfig) -> Result<(), OpenError> {
    let problems = config.problems();
    let what = problems.join("; ");
    problems.is_empty().then_some(()).ok_or(OpenError::Settings { what })
}

fn new_log(
    disk: Arc<dyn Disk>,
    tail_cache_bytes: usize,
    dir: &std::path::Path,
    meta: &Meta,
    catalogue: Catalogue,
) -> Log {
    let end = catalogue.active().end.clone();
    Log {
        disk,
        dir: dir.to_owned(),
        stream: meta.stream.clone(),
        incarnation: meta.incarnation,
        salt: salt_of(meta.incarnation),
        partitions: usize::from(meta.partitions),
        catalogue: Mutex::new(catalogue),
        tail: Mutex::new(Tail::new(tail_cache_bytes)),
        durable: Mutex::new(end.next),
        visible: watch::Sender::new(Visible { seq: end.seq, closed: false }),
    }
}

/// Runs what blocks where that is allowed.
async fn blocking<T: Send + 'static>(
    dir: std::path::PathBuf,
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| files::io_error("open", &dir)(error.into()))?
}

#[cfg(test)]
mod tests;
