//! Heartbeat events, the places to resume at, and beginnings of epochs, where they change.
//!
//! A destination may see what a crash then takes from the journal. So a beginning is written in two
//! steps, each made durable before the next: that the epoch before is no place to resume at any
//! more, then the beginning itself; only then what belongs to it. Whatever is lost, nothing is
//! recorded later in an epoch that a destination has already seen the end of.

use std::time::Duration;

use event::control::{Control, Heartbeat};
use event::{Event, Position};

use super::{Phase, Session, control_event};
use crate::error::SessionError;
use crate::limits::IDLE_HEARTBEAT_INTERVAL;

/// The last heartbeat event written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastBeat {
    offset: u64,
    at: Duration,
}

// === impl Session ===

impl Session {
    pub(super) async fn beat_if_due(&mut self) -> Result<(), SessionError> {
        let Phase::Stream(stream) = &self.phase else { return Ok(()) };
        let waited = self.parts.clock.monotonic().saturating_sub(self.last_beat.at);
        let due = match stream.offset() == self.last_beat.offset {
            true => IDLE_HEARTBEAT_INTERVAL.max(self.config.heartbeat_interval),
            false => self.config.heartbeat_interval,
        };
        if waited < due { Ok(()) } else { self.beat().await }
    }

    /// Writes a heartbeat event, if this is a place to resume at.
    pub(super) async fn beat(&mut self) -> Result<(), SessionError> {
        let Phase::Stream(stream) = &self.phase else { return Ok(()) };
        if stream.in_transaction() || stream.is_forsaken() {
            return Ok(());
        }
        let (offset, selected_db) = (stream.offset(), stream.selected_db());
        let position = self.epochs.position(offset).at_index(Position::LAST_INDEX);
        let replication_id = self.epochs.replication_id().to_owned();
        let event = self.heartbeat(position, replication_id, selected_db);
        self.parts.outlet.push_everywhere(&event)?;
        self.parts.outlet.flush(offset).await?;
        self.parts.progress.recorded(self.parts.outlet.counts());
        self.report_durable();
        self.last_beat = LastBeat { offset, at: self.parts.clock.monotonic() };
        Ok(())
    }

    /// Says that no stream is to be taken up again before another epoch begins. Where a snapshot is
    /// cut short that is known, once what says so is durable.
    pub(super) async fn close_epoch(&mut self) -> Result<(), SessionError> {
        let (offset, recorded, selected_db) = match &self.phase {
            Phase::Stream(stream) => (stream.offset(), stream.recorded(), stream.selected_db()),
            Phase::Idle if !self.parts.outlet.is_settled() => (0, 0, 0),
            Phase::Idle | Phase::Snapshot(_) => return Ok(()),
        };
        let event = self.heartbeat(self.epochs.end(offset), String::new(), selected_db);
        self.parts.outlet.push_behind_all(&event)?;
        self.parts.outlet.flush(recorded).await?;
        Ok(self.parts.outlet.flush_durably().await?)
    }

    /// Writes the beginning of an epoch; what follows may be written afterwards.
    pub(super) async fn begin_epoch(
        &mut self,
        event: &Event,
        recorded: u64,
    ) -> Result<(), SessionError> {
        self.parts.outlet.push_everywhere(event)?;
        self.parts.outlet.flush(recorded).await?;
        Ok(self.parts.outlet.flush_durably().await?)
    }

    fn heartbeat(&mut self, position: Position, replication_id: String, selected_db: u32) -> Event {
        let now_ms = self.parts.clock.now_ms();
        let skew_ms = self.parts.source_clock.borrow().skew_ms;
        let heartbeat = Heartbeat {
            replication_id,
            selected_db,
            source_time_ms: skew_ms.map_or(0, |skew| now_ms.saturating_add(skew)),
            capture_time_ms: now_ms,
            shard_name: match self.config.owned.is_shard() {
                true => self.config.owned.name.clone(),
                false => String::new(),
            },
            slots: self.config.owned.slots.clone(),
        };
        control_event(position, self.stamp_now(), Control::Heartbeat(heartbeat))
    }
}
