//! What a running process shows of itself: a live line and bars on a terminal, log lines elsewhere, and a file
//! that `keyferry status` reads.

mod figures;
mod file;
mod lines;
mod terminal;

use std::sync::Arc;
use std::time::Duration;

use runtime::{Clock, StatusNode};
use tokio_util::sync::CancellationToken;

use self::figures::Figures;
pub(crate) use self::file::{StatusFile, read as read_status};
pub(crate) use self::terminal::{Screen, Terminal};

/// How often the file is written: as often as anyone could look.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the live line moves.
const LIVE_INTERVAL: Duration = Duration::from_millis(200);

/// How it goes by this status, in one line.
pub(crate) fn summary(status: &serde_json::Value) -> String {
    lines::summary(&Figures::read(status, Duration::ZERO, None))
}

/// Shows the status until stopped.
pub(crate) struct Show {
    pub(crate) status: StatusNode,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) screen: Screen,
    pub(crate) file: StatusFile,
    /// How often a log line tells how it goes, where there is no terminal; zero: never.
    pub(crate) log_interval: Duration,
}

// === impl Show ===

impl Show {
    /// Runs until `stop`; the file then holds the last state.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let interval = match self.screen.is_live() {
            true => LIVE_INTERVAL,
            false if self.log_interval.is_zero() => FILE_INTERVAL,
            false => FILE_INTERVAL.min(self.log_interval),
        };
        let (mut file_at, mut line_at) = (Duration::ZERO, Duration::ZERO);
        let mut before = None;
        loop {
            let last = stop.is_cancelled();
            let now = self.clock.monotonic();
            let snapshot = self.status.snapshot();
            let figures = Figures::read(&snapshot, now, before.as_ref());
            if self.screen.is_live() {
                self.screen.show(&figures);
            } else if !self.log_interval.is_zero()
                && now.saturating_sub(line_at) >= self.log_interval
                && !last
            {
                line_at = now;
                figures.log();
            }
            if let Some(before) = &before {
                figures.log_milestones(before);
            }
            before = Some(figures);
            if last || now.saturating_sub(file_at) >= FILE_INTERVAL {
                file_at = now;
                self.file.write(&snapshot, self.clock.now_ms());
            }
            if last {
                return self.screen.clear();
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep(interval) => {}
            }
        }
    }
}
