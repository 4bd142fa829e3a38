//! Heartbeat events: the places to resume at.

use std::time::Duration;

use event::Position;
use event::control::{Control, Heartbeat};

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
        if stream.in_transaction() || self.epochs.has_ahead() {
            return Ok(());
        }
        let offset = stream.offset();
        let now_ms = self.parts.clock.now_ms();
        let skew_ms = self.parts.source_clock.borrow().skew_ms;
        let heartbeat = Heartbeat {
            replication_id: self.epochs.replication_id().to_owned(),
            selected_db: stream.selected_db(),
            source_time_ms: skew_ms.map_or(0, |skew| now_ms.saturating_add(skew)),
            capture_time_ms: now_ms,
        };
        let position = self.epochs.position(offset).at_index(Position::LAST_INDEX);
        let event = control_event(position, self.stamp_now(), Control::Heartbeat(heartbeat));
        self.parts.outlet.push_everywhere(&event)?;
        self.parts.outlet.flush(offset).await?;
        self.parts.progress.recorded(self.parts.outlet.counts());
        self.report_durable();
        self.last_beat = LastBeat { offset, at: self.parts.clock.monotonic() };
        Ok(())
    }
}
