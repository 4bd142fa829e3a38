//! From the second link to the session: what comes faster than it is recorded waits in files of its own.
//!
//! Guarantees: the source is read as fast as it sends, whatever the session does, until as much waits as the spool may
//! hold: only then it waits at the source, and the log says so. Where the disk has no room for more of it the snapshot ends,
//! and what waited is removed: the stream needs the room. Nothing stays behind in any other case either.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis_io::replication::{Event, Link, SnapshotSize, Transfer};
use runtime::{ByteSize, Clock};
use tokio::sync::mpsc;

use super::{Lost, Part, SecondLink};
use crate::piece::Piece;
use crate::spool::{SpoolConfig, SpoolError, SpoolReader, SpoolWriter, spool};

/// The directory of the files, within that of the stream's spool.
const DIRECTORY: &str = "on-demand";

/// What waits in memory before files are used: where the journal keeps up, and nothing waits for looks, there are none.
const MEMORY_BYTES: usize = 512 << 10;

/// How long a full spool is left alone: short beside what it takes to fill it again.
const FULL_INTERVAL: Duration = Duration::from_millis(100);

/// The spool of the second link, beside that of the stream, with as much room.
pub(crate) fn spool_beside(of_stream: &SpoolConfig) -> SpoolConfig {
    let dir = of_stream.dir.join(DIRECTORY);
    SpoolConfig { dir, memory_bytes: MEMORY_BYTES, disk_bytes: of_stream.disk_bytes }
}

/// Hands on what waits. The snapshot has ended where no more comes.
async fn pass_on(mut spool: SpoolReader, parts: &mpsc::Sender<Part>) -> Result<(), Lost> {
    while let Some(piece) = spool.pop().await? {
        if let Piece::Snapshot(bytes) = piece
            && parts.send(Part::Bytes(bytes)).await.is_err()
        {
            return Ok(());
        }
    }
    // Who takes no more has said why.
    parts.send(Part::End).await.ok();
    Ok(())
}

// === impl SecondLink ===

impl SecondLink {
    /// Removes what an earlier process has left.
    pub(super) async fn clear_spool(&self) {
        if let Err(error) = self.empty_spool().await {
            tracing::warn!(error = %runtime::chain(&error), "files of an earlier snapshot on demand may stay");
        }
    }

    async fn empty_spool(&self) -> Result<(SpoolWriter, SpoolReader), SpoolError> {
        spool(self.spool.clone(), self.clock.as_ref(), self.looks.clone()).await
    }

    /// Hands on a snapshot, until the source has sent all of it and it is taken, or nobody takes it.
    pub(super) async fn hand_on(
        &mut self,
        mut link: Link,
        offset: u64,
        parts: &mpsc::Sender<Part>,
    ) -> Result<(), Lost> {
        let mut transfer = Transfer::full();
        let bytes_expected = loop {
            match transfer.next_event()? {
                None => transfer.feed(link.read_chunk().await?),
                Some(Event::Keepalive) => {}
                Some(Event::SnapshotStart(SnapshotSize::Length(bytes))) => break bytes,
                Some(Event::SnapshotStart(SnapshotSize::UntilMark)) => break 0,
                Some(_) => return Err(Lost::Unasked),
            }
        };
        let (files, waiting) = self.empty_spool().await?;
        if parts.send(Part::Start { offset, bytes_expected }).await.is_err() {
            return Ok(());
        }
        let received = self.receive((link, transfer), files);
        tokio::select! {
            // What is lost here is lost, however much of it waits.
            Err(lost) = received => Err(lost),
            passed = pass_on(waiting, parts) => passed,
        }
    }

    /// Receives all of a snapshot, and closes the link.
    async fn receive(
        &mut self,
        (mut link, mut transfer): (Link, Transfer),
        mut files: SpoolWriter,
    ) -> Result<(), Lost> {
        let mut room = Shortage::of(&self.spool, &self.clock);
        loop {
            while let Some(event) = transfer.next_event()? {
                match event {
                    Event::Keepalive | Event::SnapshotStart(_) => {}
                    Event::SnapshotBytes(bytes) => room.put(&mut files, bytes).await?,
                    // The stream comes over the other link.
                    Event::SnapshotEnd | Event::StreamBytes(_) => return Ok(()),
                }
            }
            self.reading.wait().await;
            let chunk = link.read_chunk().await.map_err(Lost::Broken)?;
            self.reading.count(chunk.len(), true);
            transfer.feed(chunk);
        }
    }
}

/// Waits for room in the spool.
struct Shortage<'a> {
    clock: Arc<dyn Clock>,
    dir: &'a Path,
    limit: u64,
    is_told: bool,
}

// === impl Shortage ===

impl<'a> Shortage<'a> {
    fn of(spool: &'a SpoolConfig, clock: &Arc<dyn Clock>) -> Self {
        let clock = Arc::clone(clock);
        Self { clock, dir: &spool.dir, limit: spool.disk_bytes, is_told: false }
    }

    async fn put(&mut self, files: &mut SpoolWriter, bytes: Bytes) -> Result<(), Lost> {
        let piece = Piece::Snapshot(bytes);
        while let Err(error) = files.push(piece.clone()).await {
            let SpoolError::Full { .. } = error else { return Err(error.into()) };
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!(
                    dir = %self.dir.display(), limit = %ByteSize(self.limit),
                    "as much of the snapshot on demand waits for the journal as spool.disk_bytes lets: the rest waits \
                     at the source, in its output buffer for replicas"
                );
            }
            self.clock.sleep(FULL_INTERVAL).await;
        }
        Ok(())
    }
}
