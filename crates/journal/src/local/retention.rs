//! Forgetting: whole segments, oldest first, by age and size, by order, never past a named reader.
//!
//! Guarantees: the active segment stays; a limit never removes what a named reader has not
//! released, an operator's order does; when a segment is gone from the catalogue, a reader that
//! needs it gets [`crate::ReadError::OutOfRetention`], also before its file is; one that finds its
//! records in memory still returns them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::catalogue::{Catalogue, Sealed};
use super::disk::is_full;
use super::files::read_meta;
use super::format::{NAME_LIMIT_BYTES, READERS_LIMIT};
use super::log::Log;
use super::meta::{Meta, Releases};
use super::report::LocalStatus;
use crate::{AppendError, Offset, Partition, ReadError, ReaderProgress};

/// What is to be kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Segments go when all files together have more bytes than this.
    pub(super) bytes: Option<u64>,
    /// Segments go when their latest record is older than this.
    pub(super) age: Option<Duration>,
}

/// Removes segments, and remembers who still needs them.
#[derive(Debug)]
pub(super) struct Keeper {
    log: Arc<Log>,
    limits: Limits,
    meta: Mutex<Meta>,
    /// The version of `meta` that is in the file, behind the lock that one has to hold to write it.
    stored: Mutex<Meta>,
    /// One removes at a time, so that files go in order.
    removing: Mutex<()>,
    held: Mutex<Option<String>>,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(log: Arc<Log>, limits: Limits, meta: Meta) -> Self {
        Self {
            log,
            limits,
            stored: Mutex::new(meta.clone()),
            meta: Mutex::new(meta),
            removing: Mutex::new(()),
            held: Mutex::new(None),
        }
    }

    /// The named readers and what they have released.
    pub(super) fn readers(&self) -> Vec<ReaderProgress> {
        self.meta.lock().progress()
    }

    /// Takes over what another process, which writes the journal, has noted since.
    pub(super) async fn read_again(self: &Arc<Self>) -> Result<(), ReadError> {
        let this = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let meta = read_meta(&*this.log.disk, &this.log.dir);
            meta.map(|meta| *this.meta.lock() = meta)
        });
        let outcome = read.await.map_err(|error| ReadError::Failed(error.to_string()))?;
        outcome.map_err(|error| ReadError::Failed(error.to_string()))
    }

    /// What the journal holds, and who keeps it from forgetting.
    pub(super) fn status(&self) -> LocalStatus {
        let held = self.held.lock().clone();
        let catalogue = self.log.catalogue.lock();
        LocalStatus {
            segments: catalogue.sealed().len() + 1,
            bytes: catalogue.file_bytes(),
            oldest_ms: catalogue.oldest_ms(),
            held,
        }
    }

    /// Notes what a reader has released, durably when there is room, and removes what that frees.
    pub(super) fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
        now_ms: i64,
    ) -> Result<(), AppendError> {
        before.iter().try_for_each(|(partition, _)| self.log.check_append(*partition))?;
        {
            let mut meta = self.meta.lock();
            let is_known = meta.readers.contains_key(name);
            if name.len() > NAME_LIMIT_BYTES || !is_known && meta.readers.len() >= READERS_LIMIT {
                let limits = format!("{READERS_LIMIT} readers, {NAME_LIMIT_BYTES} bytes a name");
                return Err(AppendError::Failed(format!("too many named readers: {limits}")));
            }
            meta.readers.entry(name.to_owned()).or_default().extend(before);
        }
        self.store()?;
        self.retain(now_ms).map_err(|error| self.failed(&error))
    }

    /// Forgets a reader and removes what that frees.
    pub(super) fn forget_reader(&self, name: &str, now_ms: i64) -> Result<(), AppendError> {
        self.meta.lock().readers.remove(name);
        self.store()?;
        self.retain(now_ms).map_err(|error| self.failed(&error))
    }

    /// Writes the `meta` file, unless another has just written what is known now.
    fn store(&self) -> Result<(), AppendError> {
        let mut stored = self.stored.lock();
        let meta = self.meta.lock().clone();
        if *stored == meta {
            return Ok(());
        }
        match meta.store(&*self.log.disk, &self.log.dir) {
            Ok(()) => *stored = meta,
            // Harmless until there is room again: a reader that is known to have released less
            // keeps more, and the next release writes it.
            Err(error) if is_full(&error) => {
                let dir = self.log.dir.display();
                tracing::warn!(%dir, error = %error, "no room to note what readers have released");
            }
            Err(error) => return Err(self.failed(&error)),
        }
        Ok(())
    }

    /// Removes the segments that are past the limits and that nobody needs.
    pub(super) fn retain(&self, now_ms: i64) -> io::Result<()> {
        let releases = self.meta.lock().readers.clone();
        let mut held = None;
        let removed = self.remove_while(|catalogue, oldest| {
            let Some(why) = self.past_limit(catalogue, oldest, now_ms) else { return false };
            held = needed_by(oldest, &releases)
                .map(|reader| format!("reader {reader} has not released it, though {why}"));
            held.is_none()
        });
        self.note_held(held);
        removed
    }

    /// Removes the segments that are wholly before the given offsets.
    pub(super) fn trim(&self, before: &[(Partition, Offset)]) -> Result<(), AppendError> {
        before.iter().try_for_each(|(partition, _)| self.log.check_append(*partition))?;
        let asked = |partition: usize, end: u64| {
            before.iter().any(|(p, offset)| usize::from(p.0) == partition && end <= offset.0)
        };
        let removed = self.remove_while(|_, oldest| {
            let ends = oldest.end.next.iter().zip(oldest.segment.header.base.iter());
            ends.enumerate().all(|(partition, (end, base))| end == base || asked(partition, *end))
        });
        removed.map_err(|error| self.failed(&error))
    }

    /// Removes the oldest sealed segment as long as `goes` says so.
    fn remove_while(&self, mut goes: impl FnMut(&Catalogue, &Sealed) -> bool) -> io::Result<()> {
        let _one_at_a_time = self.removing.lock();
        loop {
            let oldest = {
                let mut catalogue = self.log.catalogue.lock();
                let goes =
                    catalogue.sealed().front().is_some_and(|oldest| goes(&catalogue, oldest));
                if goes { catalogue.forget_oldest() } else { None }
            };
            let Some(Sealed { segment, .. }) = oldest else { return Ok(()) };
            self.log.disk.remove(&segment.path)?;
            // After each: a crash must not leave an older one without a newer one.
            self.log.disk.sync_dir(&self.log.dir)?;
            tracing::info!(segment = %segment.path.display(), "removed an old segment");
        }
    }

    fn past_limit(&self, catalogue: &Catalogue, oldest: &Sealed, now_ms: i64) -> Option<String> {
        let bytes = catalogue.file_bytes();
        if let Some(limit) = self.limits.bytes.filter(|limit| bytes > *limit) {
            return Some(format!("the journal has {bytes} of {limit} bytes"));
        }
        let limit = self.limits.age?;
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        (now_ms.saturating_sub(oldest.end.max_ms) > limit_ms)
            .then(|| format!("it is older than {limit:?}"))
    }

    fn note_held(&self, held: Option<String>) {
        let mut noted = self.held.lock();
        if noted.is_none()
            && let Some(text) = &held
        {
            let dir = self.log.dir.display();
            tracing::warn!(%dir, text, "an old segment cannot go");
        }
        *noted = held;
    }

    fn failed(&self, error: &io::Error) -> AppendError {
        AppendError::Failed(format!("{}: {error}", self.log.dir.display()))
    }
}

/// The first reader that has not released all of the segment.
fn needed_by<'a>(segment: &Sealed, releases: &'a Releases) -> Option<&'a str> {
    let needs = |(partition, offset): (&Partition, &Offset)| {
        let place = usize::from(partition.0);
        let end = segment.end.next.get(place).copied().unwrap_or_default();
        let base = segment.segment.header.base.get(place).copied().unwrap_or_default();
        base < end && offset.0 < end
    };
    releases.iter().find(|(_, released)| released.iter().any(needs)).map(|(name, _)| name.as_str())
}
