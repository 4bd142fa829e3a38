//! The loop of one shard: pieces of the link in, events into the journal.
//!
//! Guarantees: events are appended in the order of the source's history; every stretch of history
//! whose offsets do not compare with what was before gets an epoch of its own; a heartbeat event is
//! only written at a command boundary outside a transaction, when everything before it has been
//! appended; what has come is finished when the link ends, but for a snapshot whose end is missing.

mod apart;
mod beat;
mod beside;
mod epochs;
mod group;
mod stream;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use event::control::{Control, EpochBegin, EpochCause};
use event::{Body, Event, Position, Stamp};
use journal::Health;
use runtime::{Clock, Rate};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wire::command::script::Scripts;
use wire::rdb;
use wire::slot::Slot;

use self::beat::LastBeat;
use self::beside::Asides;
use self::epochs::Epochs;
use self::stream::StreamReader;
use self::transfer::SnapshotPhase;
use crate::beside::Port;
use crate::config::Unsupported;
use crate::describe::CommandDescriber;
use crate::error::SessionError;
use crate::heartbeat::SourceClock;
use crate::inflow::{Inflow, flow_of};
use crate::orders::TransferOrder;
use crate::outlet::Outlet;
use crate::owned::Owned;
use crate::piece::{Durable, History, Lineage, Peer, Piece};
use crate::progress::{Progress, Recording};
use crate::resume::Tail;
use crate::service::Summary;
use crate::stamps::StampClock;

/// What a session works with.
pub(crate) struct SessionParts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) inflow: Inflow,
    pub(crate) outlet: Outlet,
    pub(crate) describer: CommandDescriber,
    pub(crate) progress: Arc<Progress>,
    /// What is known of the source's clock.
    pub(crate) source_clock: watch::Receiver<SourceClock>,
    /// What the source may be told to have been received for good.
    pub(crate) durable: watch::Sender<Durable>,
    /// The source asks for an acknowledgement at once.
    pub(crate) ack_wanted: Arc<Notify>,
    /// By which a full transfer is ordered, where only that leads on.
    pub(crate) order: TransferOrder,
    /// Where snapshots on demand come in.
    pub(crate) beside: Port,
}

/// What a session is about.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    pub(crate) owned: Owned,
    pub(crate) heartbeat_key: String,
    pub(crate) heartbeat_interval: Duration,
    /// How much of a snapshot's value is held at once.
    pub(crate) snapshot_limits: rdb::Limits,
    /// What to do about what a snapshot holds and no event carries.
    pub(crate) unsupported: Unsupported,
    /// How much of an open transaction is held in memory.
    pub(crate) transaction_bytes: usize,
}

/// The loop's state.
pub(crate) struct Session {
    config: SessionConfig,
    parts: SessionParts,
    peer: Peer,
    history: History,
    epochs: Epochs,
    stamps: StampClock,
    phase: Phase,
    last_beat: LastBeat,
    asides: Asides,
}

enum Phase {
    /// Nothing has come yet.
    Idle,
    Snapshot(Box<SnapshotPhase>),
    Stream(Box<StreamReader>),
}

// === impl Session ===

impl Session {
    /// A session that goes on where the journal's tail ends, at that peer.
    pub(crate) fn new(config: SessionConfig, parts: SessionParts, tail: &Tail, peer: Peer) -> Self {
        let mut session = Self {
            epochs: Epochs::new(config.owned.shard, tail),
            stamps: StampClock::resume(tail.last_stamp.clone()),
            history: History::default(),
            phase: Phase::Idle,
            last_beat: LastBeat::default(),
            asides: Asides::default(),
            config,
            parts,
            peer,
        };
        if let Some(point) = &tail.point {
            session.begin_stream(point.selected_db, point.offset, None);
        }
        session
    }

    /// Whether the journal takes records.
    pub(crate) fn journal_health(&self) -> watch::Receiver<Health> {
        self.parts.outlet.health()
    }

    /// Runs until the link's side of the spool has ended; on `stop` leaves a snapshot unfinished.
    ///
    /// # Errors
    /// When the source's bytes cannot be understood or the journal fails.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<Summary, SessionError> {
        let mut durable = self.parts.outlet.durable();
        let mut journal_alive = true;
        self.parts.progress.watch_journal(self.parts.outlet.health());
        loop {
            let in_snapshot = matches!(self.phase, Phase::Snapshot(_));
            let tick = self.parts.clock.sleep(self.config.heartbeat_interval);
            tokio::select! {
                biased;
                // Half a snapshot is worth nothing: the next start asks for another.
                () = stop.cancelled(), if in_snapshot => break,
                // What became durable frees the source's backlog.
                changed = durable.changed(), if journal_alive => {
                    journal_alive = changed.is_ok();
                    self.report_durable();
                }
                piece = self.parts.inflow.next(&stop) => match piece? {
                    Some(piece) => {
                        self.take_counted(piece).await?;
                        self.let_beside_pass().await?;
                        self.beat_if_due().await?;
                    }
                    None => break,
                },
                // What the stream leaves time for. The next start makes none go on.
                input = self.parts.beside.next(), if !stop.is_cancelled() => {
                    self.take_beside(input).await?;
                    self.beat_if_due().await?;
                }
                // Nothing came for a while: the idle stream shows that it lives. In a pause it does not.
                () = tick => {
                    self.look_at_source_clock();
                    if !self.parts.inflow.is_paused(&stop) {
                        self.beat_if_due().await?;
                        self.begin_beside_if_due().await?;
                    }
                }
            }
        }
        self.drain().await
    }

    async fn drain(&mut self) -> Result<Summary, SessionError> {
        self.beat().await?;
        self.parts.outlet.flush_durably().await?;
        self.report_durable();
        let durable = self.parts.outlet.durable_offset();
        // 0 is a place only in a history that has not gone beyond it.
        let is_place = |stream: &StreamReader| durable > 0 || stream.offset() == 0;
        let is_place = matches!(&self.phase, Phase::Stream(stream) if is_place(stream));
        Ok(Summary {
            durable_offset: is_place.then_some(durable),
            records: self.parts.outlet.counts().records,
            complete: match &self.phase {
                Phase::Idle => true,
                // Half a snapshot is not read on: another follows.
                Phase::Snapshot(_) => false,
                Phase::Stream(stream) => stream.has_recorded_all(),
            },
        })
    }

    /// Takes a piece, and counts what is recorded of it.
    async fn take_counted(&mut self, piece: Piece) -> Result<(), SessionError> {
        let (flow, before) = (flow_of(&piece), self.parts.outlet.counts());
        self.take(piece).await?;
        let after = self.parts.outlet.counts();
        let rows = after.changes - before.changes;
        self.parts.inflow.count(flow, Rate { rows, bytes: after.bytes - before.bytes });
        self.parts.progress.count_piece();
        Ok(())
    }

    async fn take(&mut self, piece: Piece) -> Result<(), SessionError> {
        self.look_at_source_clock();
        match piece {
            Piece::FullResync(begin) => self.full_resync(*begin).await,
            Piece::Snapshot(bytes) => self.snapshot(bytes).await,
            Piece::SnapshotEnd => self.snapshot_end(),
            Piece::Stream { bytes, arrived_ms } => self.stream(bytes, arrived_ms).await,
            Piece::Continued { peer, branch } => self.continued(peer, branch),
        }
    }

    fn continued(&mut self, peer: Peer, branch: Option<Lineage>) -> Result<(), SessionError> {
        let Phase::Stream(stream) = &mut self.phase else {
            return Err(SessionError::OutOfPlace { what: "a continued stream" });
        };
        stream.set_era(peer.era);
        self.peer = peer;
        self.expect_backlog();
        if let Some(lineage) = branch {
            self.give_up_beside(OTHER_EPOCH);
            let begin = self.epoch_begin(EpochCause::Continued, &lineage);
            self.epochs.continued(begin, self.parts.clock.now_ms());
        }
        Ok(())
    }

    /// The stream begins, or goes on without what the source has sent before: then its `scripts`
    /// are not known.
    fn begin_stream(&mut self, selected_db: u32, offset: u64, scripts: Option<Scripts>) {
        let reader = StreamReader::new(
            self.peer.era,
            self.parts.outlet.partitions(),
            &self.config.heartbeat_key,
            (selected_db, offset),
        );
        self.phase = Phase::Stream(Box::new(reader.knowing(scripts)));
        self.parts.progress.set_recording(Recording::Stream);
        self.parts.progress.stream(offset);
    }

    fn look_at_source_clock(&mut self) {
        let clock = *self.parts.source_clock.borrow();
        if let Some(skew_ms) = clock.skew_ms {
            self.stamps.measured(skew_ms);
        }
        if clock.beats == Some(false) {
            self.stamps.without_heartbeats();
        }
    }

    /// What comes next over the link may have been written long ago.
    fn expect_backlog(&mut self) {
        if self.parts.source_clock.borrow().beats != Some(false) {
            self.stamps.linked(self.parts.clock.now_ms());
        }
    }

    fn report_durable(&mut self) {
        let offset = self.parts.outlet.durable_offset();
        self.parts.progress.durable(offset);
        let durable = Durable { history: self.history, offset };
        self.parts.durable.send_if_modified(|known| {
            let changed = *known != durable;
            *known = durable;
            changed
        });
    }

    fn stamp_now(&mut self) -> Stamp {
        self.stamps.next(self.parts.clock.now_ms())
    }

    fn epoch_begin(&self, cause: EpochCause, lineage: &Lineage) -> EpochBegin {
        EpochBegin {
            cause,
            shard_name: self.config.owned.name.clone(),
            replication_id: lineage.replication_id.clone(),
            branch_offset: if cause == EpochCause::Continued { lineage.offset } else { 0 },
            server: self.peer.shown.clone(),
            slots: self.config.owned.slots.clone(),
        }
    }
}

/// Why a snapshot on demand is given up.
const OTHER_EPOCH: &str = "the source's history goes on under another id";

/// An event that is not about one key.
fn control_event(position: Position, stamp: Stamp, control: Control) -> Event {
    Event {
        position,
        stamp,
        db: 0,
        slot: Slot::new(0).expect("there is a slot 0"),
        key: bytes::Bytes::new(),
        body: Body::Control(control),
        seen: Vec::new(),
    }
}
