//! Makes what has been written durable beside the writer, so that what comes meanwhile is written
//! and read at once: a sync takes as long as the disk likes.
//!
//! Guarantees: one sync at a time; what is reported durable only grows; after a failed sync nothing
//! is reported any more, since nobody knows what it dropped.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::disk::DiskFile;
use super::intake::Intake;
use super::log::Log;
use super::segment::Mark;

/// The thread that syncs, for the writer.
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A file to be synced, of which everything before `end` has been written.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: Arc<Path>,
    pub(super) end: Mark,
}

struct Shared {
    log: Arc<Log>,
    intake: Arc<Intake>,
    state: Mutex<State>,
    /// Something in the state has changed.
    changed: Condvar,
}

/// However the thread leaves, the writer does not wait for it.
struct TellOfPanic<'a>(&'a Shared);

struct State {
    /// What to sync next; a later one takes its place, since it includes it.
    next: Option<Job>,
    /// Whether a sync is under way, or its report.
    running: bool,
    synced_seq: u64,
    failed: Option<String>,
    closing: bool,
}

// === impl Syncer ===

impl Syncer {
    /// Starts the thread; everything before `synced_seq` has been synced.
    pub(super) fn start(log: Arc<Log>, intake: Arc<Intake>, synced_seq: u64) -> io::Result<Self> {
        let state = State { next: None, running: false, synced_seq, failed: None, closing: false };
        let shared =
            Arc::new(Shared { log, intake, state: Mutex::new(state), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has a file synced after the one that is being synced.
    pub(super) fn ask(&self, job: Job) {
        self.shared.state.lock().next = Some(job);
        self.shared.changed.notify_all();
    }

    /// Whether something is being synced, or will be next.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.shared.state.lock();
        state.running || state.next.is_some()
    }

    /// Up to which record everything has been synced.
    pub(super) fn synced_seq(&self) -> u64 {
        self.shared.state.lock().synced_seq
    }

    /// Why nothing becomes durable any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.shared.state.lock().failed.clone()
    }

    /// Syncs at once, after what is under way.
    pub(super) fn sync(&self, job: &Job) -> Result<(), String> {
        let mut state = self.shared.state.lock();
        // It includes what was to be next.
        state.next = None;
        while state.running {
            self.shared.changed.wait(&mut state);
        }
        if let Some(why) = &state.failed {
            return Err(why.clone());
        }
        drop(state);
        self.shared.sync(job)
    }

    /// Everything before `end` is as durable as it is meant to be, without a sync.
    pub(super) fn report(&self, end: &Mark) {
        self.shared.report(end);
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            let dir = self.shared.log.dir.display();
            tracing::error!(%dir, "the thread that syncs a journal panicked");
        }
    }
}

// === impl Shared ===

impl Shared {
    fn run(&self) {
        let _told = TellOfPanic(self);
        while let Some(job) = self.take() {
            let synced = self.sync(&job);
            self.done(synced.err());
        }
    }

    /// Nothing is under way any more, or nothing ever will be.
    fn done(&self, failed: Option<String>) {
        let mut state = self.state.lock();
        state.running = false;
        if state.failed.is_none() {
            state.failed.clone_from(&failed);
        }
        drop(state);
        if let Some(why) = failed {
            self.intake.fail(why);
        }
        self.changed.notify_all();
    }

    fn take(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.closing || state.failed.is_some() {
                return None;
            }
            if let Some(job) = state.next.take() {
                state.running = true;
                return Some(job);
            }
            self.changed.wait(&mut state);
        }
    }

    fn sync(&self, job: &Job) -> Result<(), String> {
        let synced = job.file.sync();
        synced.map_err(|error| format!("sync {}: {error}", job.path.display()))?;
        self.state.lock().synced_seq = job.end.seq;
        self.report(&job.end);
        Ok(())
    }

    /// Called by one thread at a time: by the other only while nothing is under way.
    fn report(&self, end: &Mark) {
        *self.log.durable.lock() = Arc::clone(&end.next);
        self.intake.durable(end.seq);
    }
}

// === impl TellOfPanic ===

impl Drop for TellOfPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.done(Some("the thread that syncs panicked".to_owned()));
        }
    }
}
