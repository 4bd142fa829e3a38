//! The snapshot part of a session: a full transfer from its beginning to the first heartbeat.

use bytes::Bytes;
use event::control::{Control, EpochCause};

use super::{Phase, Session, control_event};
use crate::error::SessionError;
use crate::limits::BATCH_BYTES;
use crate::piece::FullResync;
use crate::progress::Recording;
use crate::snapshot::{Read, SnapshotReader, Start};

/// A snapshot being read.
pub(super) struct SnapshotPhase {
    reader: SnapshotReader,
    /// The offset that it stands at.
    offset: u64,
}

// === impl Session ===

impl Session {
    pub(super) async fn full_resync(&mut self, begin: FullResync) -> Result<(), SessionError> {
        let FullResync { history, lineage, bytes_expected, keys_expected, peer } = begin;
        self.give_up_beside(super::OTHER_EPOCH);
        self.close_epoch().await?;
        self.peer = peer;
        self.history = history;
        let position = self.epochs.full_resync(&lineage, self.parts.clock.now_ms());
        let stamp = self.stamp_now();
        let control = Control::EpochBegin(self.epoch_begin(EpochCause::FullResync, &lineage));
        let event = control_event(position, stamp.clone(), control);
        self.parts.outlet.restart_offsets();
        self.report_durable();
        self.begin_epoch(&event, 0).await?;
        let start = Start {
            id: 0,
            at: position.at_index(1),
            stamp,
            bytes_expected,
            keys_expected,
            partitions: self.parts.outlet.partitions(),
            unsupported: self.config.unsupported,
            slots: self.config.owned.slots.clone(),
        };
        let reader = SnapshotReader::new(start, self.config.snapshot_limits);
        self.phase = Phase::Snapshot(Box::new(SnapshotPhase { reader, offset: lineage.offset }));
        self.parts.progress.set_recording(Recording::Snapshot);
        self.parts.progress.count_full_transfer();
        Ok(())
    }

    pub(super) async fn snapshot(&mut self, bytes: Bytes) -> Result<(), SessionError> {
        let Phase::Snapshot(snapshot) = &mut self.phase else {
            return Err(SessionError::OutOfPlace { what: "bytes of a snapshot" });
        };
        snapshot.reader.feed(bytes);
        loop {
            let read = snapshot.reader.read(&mut self.parts.outlet, BATCH_BYTES)?;
            // Until the snapshot is whole nothing is acknowledged: without it the offset is worth
            // nothing.
            self.parts.outlet.flush(0).await?;
            self.parts.progress.snapshot(snapshot.reader.counts());
            self.parts.progress.recorded(self.parts.outlet.counts());
            match read {
                Read::Full => {}
                Read::NeedMore => return Ok(()),
                Read::Complete { stream_db } => {
                    let scripts = snapshot.reader.take_scripts();
                    let (left_out, offset) = (snapshot.reader.left_out(), snapshot.offset);
                    self.parts.progress.set_left_out(&left_out);
                    if !left_out.is_empty() {
                        tracing::warn!(%left_out, "the snapshot holds what is not carried");
                    }
                    self.begin_stream(stream_db.unwrap_or(0), offset, Some(scripts));
                    // What was written during the transfer comes all at once.
                    self.expect_backlog();
                    return self.beat().await;
                }
            }
        }
    }

    pub(super) fn snapshot_end(&mut self) -> Result<(), SessionError> {
        match &self.phase {
            Phase::Stream(_) => Ok(()),
            _ => Err(SessionError::SnapshotCutShort),
        }
    }
}
