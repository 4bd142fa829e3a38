//! A snapshot on demand, recorded among the stream.
//!
//! Guarantees: its beginning is recorded before the source is asked for it, so that all of the stream that comes after
//! the snapshot lies behind it; its records stand between two of the stream's events, never within one; the stream goes
//! first, but for one part in [`TURNS`], so that neither stands still for the other; when the stream leaves the epoch it
//! is given up.

use event::Position;
use event::control::{Control, SnapshotBegin};
use event::image::Flavour;
use runtime::Rate;
use tokio::sync::{mpsc, oneshot};

use super::{Phase, Session, control_event};
use crate::beside::{Ended, Input, Offer, Part};
use crate::error::SessionError;
use crate::limits::BATCH_BYTES;
use crate::piece::Lineage;
use crate::progress::Beside;
use crate::snapshot::{Read, SnapshotReader, Start};

/// A busy stream lets a part pass after so many pieces of its own.
const TURNS: u32 = 4;

/// What there is of snapshots on demand.
#[derive(Debug, Default)]
pub(super) struct Asides {
    /// One that could begin as soon as the stream is where it can.
    waiting: Option<Offer>,
    under_way: Option<UnderWay>,
    /// Pieces of the stream since the last part.
    turns: u32,
}

/// The one that is under way.
#[derive(Debug)]
struct UnderWay {
    id: u64,
    /// Where its beginning stands.
    begun_at: Position,
    keys_expected: u64,
    ended: oneshot::Sender<Ended>,
    reader: Option<SnapshotReader>,
}

// === impl Session ===

impl Session {
    /// What the stream has left time for: a part that has come, if it is its turn. After each piece of the stream.
    pub(super) async fn let_beside_pass(&mut self) -> Result<(), SessionError> {
        self.asides.turns += 1;
        if self.asides.turns < TURNS {
            return Ok(());
        }
        match self.parts.beside.come() {
            Some(input) => self.take_beside(input).await,
            // One that could not begin when it was offered: a busy stream leaves no other time for it.
            None => self.begin_beside_if_due().await,
        }
    }

    /// Takes what has come for a snapshot on demand.
    pub(super) async fn take_beside(&mut self, input: Input) -> Result<(), SessionError> {
        self.asides.turns = 0;
        match input {
            Input::Offer(offer) => {
                self.asides.waiting = Some(offer);
                self.begin_beside_if_due().await
            }
            Input::Lost => {
                // The link says why.
                self.asides.under_way = None;
                self.parts.beside.attend(None);
                Ok(())
            }
            Input::Part(part) => {
                let before = self.parts.outlet.counts();
                self.take_part(part).await?;
                let after = self.parts.outlet.counts();
                let rows = after.changes - before.changes;
                self.parts.beside.count(Rate { rows, bytes: after.bytes - before.bytes });
                self.parts.progress.count_piece();
                Ok(())
            }
        }
    }

    /// Begins the one that waits, if the stream is behind all that was there at the start, and goes on.
    pub(super) async fn begin_beside_if_due(&mut self) -> Result<(), SessionError> {
        let Some(at) = self.asides.waiting.as_ref().and_then(|_| self.place_for_beside()) else {
            return Ok(());
        };
        let Some(offer) = self.asides.waiting.take() else { return Ok(()) };
        let Offer { id, keys_expected, begun, parts, ended } = offer;
        if begun.is_closed() {
            return Ok(());
        }
        let begin = SnapshotBegin {
            snapshot_id: id,
            keys_expected,
            bytes_expected: 0,
            // Not known before the source answers: each image says its own.
            rdb_version: 0,
            flavour: Flavour::Redis,
            slots: self.config.owned.slots.clone(),
        };
        // Before its images, also where the source stands where the stream does.
        let event = control_event(at.at_index(0), self.stamp_now(), Control::SnapshotBegin(begin));
        self.parts.outlet.push_everywhere(&event)?;
        self.parts.outlet.flush(at.offset).await?;
        self.parts.progress.recorded(self.parts.outlet.counts());
        let replication_id = self.epochs.replication_id().to_owned();
        tracing::info!(id, at = %at, keys = keys_expected, "a snapshot on demand begins");
        self.attend_beside(parts);
        let under_way = UnderWay { id, begun_at: at, keys_expected, ended, reader: None };
        self.asides.under_way = Some(under_way);
        // Who does not listen any more has closed its parts as well.
        begun.send(Lineage { replication_id, offset: at.offset }).ok();
        Ok(())
    }

    /// The snapshot under way, if any, is worth nothing any more.
    pub(super) fn give_up_beside(&mut self, why: &str) {
        self.parts.beside.attend(None);
        if let Some(UnderWay { ended, .. }) = self.asides.under_way.take() {
            // Without a listener nobody asks any more.
            ended.send(Err(why.to_owned())).ok();
        }
    }

    fn attend_beside(&mut self, parts: mpsc::Receiver<Part>) {
        self.parts.beside.attend(Some(parts));
    }

    /// Where a beginning could stand: behind all of the stream that is recorded.
    fn place_for_beside(&self) -> Option<Position> {
        let Phase::Stream(stream) = &self.phase else { return None };
        let at = self.epochs.position(stream.recorded()).at_index(Position::LAST_INDEX);
        let may = !stream.is_forsaken() && !self.parts.beside.is_paused();
        (may && self.parts.outlet.has_passed(at)).then_some(at)
    }

    async fn take_part(&mut self, part: Part) -> Result<(), SessionError> {
        let stamp = self.stamp_now();
        let Some(under_way) = &mut self.asides.under_way else { return Ok(()) };
        match part {
            Part::Start { offset, bytes_expected } => {
                let start = Start {
                    id: under_way.id,
                    at: Position { offset, ..under_way.begun_at }.at_index(1),
                    stamp,
                    bytes_expected,
                    keys_expected: under_way.keys_expected,
                    partitions: self.parts.outlet.partitions(),
                    unsupported: self.config.unsupported,
                    slots: self.config.owned.slots.clone(),
                };
                let reader = SnapshotReader::new(start, self.config.snapshot_limits);
                under_way.reader = Some(reader);
                Ok(())
            }
            Part::Bytes(bytes) => {
                if let Some(reader) = &mut under_way.reader {
                    reader.set_stamp(stamp);
                    reader.feed(bytes);
                }
                self.record_beside().await
            }
            Part::End => {
                self.give_up_beside("the source ended the snapshot before its end");
                Ok(())
            }
        }
    }

    /// Records what has come of the one under way.
    async fn record_beside(&mut self) -> Result<(), SessionError> {
        let recorded = match &self.phase {
            Phase::Stream(stream) => stream.recorded(),
            Phase::Idle | Phase::Snapshot(_) => return Ok(()),
        };
        loop {
            let under_way = self.asides.under_way.as_mut();
            let Some(reader) = under_way.and_then(|under_way| under_way.reader.as_mut()) else {
                return Ok(());
            };
            let read = match reader.read(&mut self.parts.outlet, BATCH_BYTES) {
                Ok(read) => read,
                Err(crate::error::SnapshotError::Outlet(error)) => return Err(error.into()),
                Err(error) => {
                    self.give_up_beside(&runtime::chain(&error));
                    return Ok(self.parts.outlet.flush(recorded).await?);
                }
            };
            let (counts, left_out) = (reader.counts(), reader.left_out());
            self.parts.outlet.flush(recorded).await?;
            self.parts.progress.recorded(self.parts.outlet.counts());
            self.parts.progress.beside(Beside::Coming(counts));
            match read {
                Read::Full => {}
                Read::NeedMore => return Ok(()),
                Read::Complete { .. } => {
                    if !left_out.is_empty() {
                        tracing::warn!(%left_out, "the snapshot on demand holds what is not carried");
                    }
                    self.parts.beside.attend(None);
                    if let Some(UnderWay { ended, .. }) = self.asides.under_way.take() {
                        // Without a listener nobody waits for it.
                        ended.send(Ok(counts)).ok();
                    }
                    return Ok(());
                }
            }
        }
    }
}
