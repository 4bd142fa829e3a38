//! The loop of one shard: pieces of the link in, events into the journal.
//!
//! Guarantees: events are appended in the order of the source's history; every stretch of history whose offsets
//! do not compare with what was before gets an epoch of its own; a heartbeat event is only written at a command
//! boundary outside a transaction, when everything before it has been appended.

mod epochs;
mod stream;

use std::sync::Arc;

use event::control::{Control, EpochBegin, EpochCause, Heartbeat};
use event::{Body, Event, Position, Shard};
use runtime::Clock;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wire::slot::Slot;

use self::epochs::Epochs;
use self::stream::StreamReader;
use crate::describe::CommandDescriber;
use crate::error::SessionError;
use crate::limits::{BATCH_BYTES, IDLE_HEARTBEAT_INTERVAL};
use crate::outlet::Outlet;
use crate::progress::{Phase, Progress};
use crate::resume::Tail;
use crate::service::Summary;
use crate::snapshot::{Read, SnapshotReader};
use crate::spool::{Lineage, Piece, SpoolReader};
use crate::stamps::StampClock;
use wire::command::normalise::Era;

/// What a session works with.
pub(crate) struct SessionParts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spool: SpoolReader,
    pub(crate) outlet: Outlet,
    pub(crate) describer: CommandDescriber,
    pub(crate) progress: Arc<Progress>,
    /// Source clock minus our clock in milliseconds, as measured by the heartbeat.
    pub(crate) skew_ms: watch::Receiver<Option<i64>>,
    /// What the source may be told to have been received for good.
    pub(crate) durable_offset: watch::Sender<u64>,
    /// The source asks for an acknowledgement at once.
    pub(crate) ack_wanted: Arc<Notify>,
}

/// What a session is about.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    pub(crate) shard: Shard,
    pub(crate) shard_name: String,
    pub(crate) server: String,
    pub(crate) era: Era,
    pub(crate) heartbeat_key: String,
    pub(crate) heartbeat_interval: std::time::Duration,
    /// Whether heartbeats are written at the source, so that a backlog can be told by them.
    pub(crate) heartbeats: bool,
}

/// The loop's state.
pub(crate) struct Session {
    config: SessionConfig,
    parts: SessionParts,
    epochs: Epochs,
    stamps: StampClock,
    /// Offset of the last whole command read, outside or inside a transaction.
    phase: SessionPhase,
    last_beat: LastBeat,
}

enum SessionPhase {
    /// Nothing has come yet.
    Idle,
    Snapshot {
        reader: Box<SnapshotReader>,
        at: Position,
        lineage: Lineage,
    },
    Stream(Box<StreamReader>),
}

/// The last heartbeat event written.
#[derive(Clone, Copy, Debug, Default)]
struct LastBeat {
    offset: u64,
    at: std::time::Duration,
}

// === impl Session ===

impl Session {
    /// A session that goes on where the journal's tail ends.
    pub(crate) fn new(config: SessionConfig, parts: SessionParts, tail: &Tail) -> Self {
        let epochs = Epochs::new(config.shard, tail);
        let stamps = StampClock::resume(tail.last_stamp.clone());
        let phase = match &tail.point {
            Some(point) => SessionPhase::Stream(Box::new(StreamReader::new(
                config.era,
                parts.outlet.partitions(),
                point.selected_db,
                point.offset,
                &config.heartbeat_key,
            ))),
            None => SessionPhase::Idle,
        };
        Self { config, parts, epochs, stamps, phase, last_beat: LastBeat::default() }
    }

    /// Runs until the link's side of the spool has ended, or `stop`.
    ///
    /// # Errors
    /// When the source's bytes cannot be understood or the journal fails.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<Summary, SessionError> {
        let mut durable = self.parts.outlet.durable();
        let mut journal_alive = true;
        self.parts.progress.watch_journal(self.parts.outlet.health());
        loop {
            let tick = self.parts.clock.sleep(self.config.heartbeat_interval);
            tokio::select! {
                biased;
                // Stop first: what has been read is finished below.
                () = stop.cancelled() => break,
                // What became durable frees the source's backlog.
                changed = durable.changed(), if journal_alive => {
                    journal_alive = changed.is_ok();
                    self.report_durable();
                }
                piece = self.parts.spool.pop() => match piece? {
                    Some(piece) => {
                        self.take(piece).await?;
                        self.beat_if_due().await?;
                    }
                    None => break,
                },
                // Nothing came for a while: the idle stream shows that it lives.
                () = tick => self.beat_if_due().await?,
            }
        }
        self.drain().await
    }

    async fn drain(&mut self) -> Result<Summary, SessionError> {
        self.beat().await?;
        self.parts.outlet.flush_durably().await?;
        self.report_durable();
        Ok(Summary {
            durable_offset: self.parts.outlet.durable_offset(),
            records: self.parts.outlet.counts().records,
        })
    }

    async fn take(&mut self, piece: Piece) -> Result<(), SessionError> {
        match piece {
            Piece::FullResync { lineage, bytes_expected } => {
                self.full_resync(lineage, bytes_expected).await
            }
            Piece::Snapshot(bytes) => self.snapshot(bytes).await,
            Piece::SnapshotEnd => self.snapshot_end(),
            Piece::Stream { bytes, arrived_ms } => self.stream(bytes, arrived_ms).await,
            Piece::Continued(lineage) => self.continued(lineage),
        }
    }

    async fn full_resync(
        &mut self,
        lineage: Lineage,
        bytes_expected: u64,
    ) -> Result<(), SessionError> {
        let position = self.epochs.full_resync(&lineage);
        let begin = self.epoch_begin(EpochCause::FullResync, &lineage);
        let stamp = self.stamp_now();
        let event = self.event(position, stamp.clone(), Control::EpochBegin(begin));
        self.parts.outlet.restart_offsets();
        self.parts.outlet.push_everywhere(&event)?;
        self.parts.outlet.flush(0).await?;
        let at = position.at_index(1);
        let reader = SnapshotReader::new(at, stamp, bytes_expected, self.parts.outlet.partitions());
        self.phase = SessionPhase::Snapshot { reader: Box::new(reader), at, lineage };
        self.parts.progress.set_phase(Phase::Snapshot);
        Ok(())
    }

    async fn snapshot(&mut self, bytes: bytes::Bytes) -> Result<(), SessionError> {
        let SessionPhase::Snapshot { reader, at, lineage } = &mut self.phase else {
            return Err(SessionError::OutOfPlace { what: "bytes of a snapshot" });
        };
        reader.feed(bytes);
        let complete = loop {
            let read = reader.read(&mut self.parts.outlet, BATCH_BYTES)?;
            // Until the snapshot is whole nothing is acknowledged: without it the offset is worth nothing.
            self.parts.outlet.flush(0).await?;
            self.parts.progress.snapshot(reader.counts());
            match read {
                None => {}
                Some(Read::NeedMore) => break None,
                Some(Read::Complete { stream_db }) => {
                    break Some((*at, lineage.clone(), stream_db));
                }
            }
        };
        let Some((at, lineage, stream_db)) = complete else { return Ok(()) };
        self.phase = SessionPhase::Stream(Box::new(StreamReader::new(
            self.config.era,
            self.parts.outlet.partitions(),
            stream_db.unwrap_or(0),
            lineage.offset,
            &self.config.heartbeat_key,
        )));
        self.parts.progress.set_phase(Phase::Stream);
        debug_assert_eq!(at.offset, lineage.offset, "a snapshot stands at its own offset");
        self.beat().await
    }

    fn snapshot_end(&mut self) -> Result<(), SessionError> {
        match &self.phase {
            SessionPhase::Stream(_) => Ok(()),
            _ => Err(SessionError::SnapshotCutShort),
        }
    }

    fn continued(&mut self, lineage: Option<Lineage>) -> Result<(), SessionError> {
        let SessionPhase::Stream(stream) = &self.phase else {
            return Err(SessionError::OutOfPlace { what: "a continued stream" });
        };
        if self.config.heartbeats {
            self.stamps.linked(self.parts.clock.now_ms());
        }
        if let Some(lineage) = lineage {
            let begin = self.epoch_begin(EpochCause::Continued, &lineage);
            self.epochs.continued(stream.offset(), begin);
        }
        self.parts.progress.set_phase(Phase::Stream);
        Ok(())
    }

    fn report_durable(&mut self) {
        let durable = self.parts.outlet.durable_offset();
        self.parts.progress.durable(durable);
        self.parts.durable_offset.send_if_modified(|offset| {
            let changed = *offset != durable;
            *offset = durable;
            changed
        });
    }

    async fn beat_if_due(&mut self) -> Result<(), SessionError> {
        let SessionPhase::Stream(stream) = &self.phase else { return Ok(()) };
        let waited = self.parts.clock.monotonic().saturating_sub(self.last_beat.at);
        let due = match stream.offset() == self.last_beat.offset {
            true => IDLE_HEARTBEAT_INTERVAL,
            false => self.config.heartbeat_interval,
        };
        if waited < due || stream.in_transaction() { Ok(()) } else { self.beat().await }
    }

    /// Writes a heartbeat event, if there is a place to resume at.
    async fn beat(&mut self) -> Result<(), SessionError> {
        let SessionPhase::Stream(stream) = &self.phase else { return Ok(()) };
        let offset = stream.offset();
        if stream.in_transaction() || self.epochs.has_ahead() {
            return Ok(());
        }
        let now_ms = self.parts.clock.now_ms();
        let skew_ms = *self.parts.skew_ms.borrow();
        let heartbeat = Heartbeat {
            replication_id: self.epochs.replication_id().to_owned(),
            selected_db: stream.selected_db(),
            source_time_ms: skew_ms.map_or(0, |skew| now_ms.saturating_add(skew)),
            capture_time_ms: now_ms,
        };
        let position = self.epochs.position(offset).at_index(Position::LAST_INDEX);
        let stamp = self.stamp_now();
        let event = self.event(position, stamp, Control::Heartbeat(heartbeat));
        self.parts.outlet.push_everywhere(&event)?;
        self.parts.outlet.flush(offset).await?;
        self.last_beat = LastBeat { offset, at: self.parts.clock.monotonic() };
        Ok(())
    }

    fn stamp_now(&mut self) -> event::Stamp {
        if let Some(skew_ms) = *self.parts.skew_ms.borrow() {
            self.stamps.measured(skew_ms);
        }
        self.stamps.next(self.parts.clock.now_ms())
    }

    fn epoch_begin(&self, cause: EpochCause, lineage: &Lineage) -> EpochBegin {
        EpochBegin {
            cause,
            shard_name: self.config.shard_name.clone(),
            replication_id: lineage.replication_id.clone(),
            branch_offset: if cause == EpochCause::Continued { lineage.offset } else { 0 },
            server: self.config.server.clone(),
        }
    }

    fn event(&self, position: Position, stamp: event::Stamp, control: Control) -> Event {
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
}
