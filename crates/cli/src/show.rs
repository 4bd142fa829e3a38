//! What a running process shows of itself: a live line and bars on a terminal, log lines elsewhere, and a file
//! that `keyferry status` reads.

mod figures;
mod file;
mod terminal;

use std::sync::Arc;
use std::time::Duration;

use runtime::{Clock, StatusNode};
use tokio_util::sync::CancellationToken;

use self::figures::Figures;
pub(crate) use self::file::StatusFile;
pub(crate) use self::terminal::Screen;

/// How often the file is written: as often as anyone could look.
const FILE_INTERVAL: Duration = Duration::from_secs(1);

/// How often a log line tells how it goes, where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How often the live line moves.
const LIVE_INTERVAL: Duration = Duration::from_millis(200);

/// Shows the status until stopped.
pub(crate) struct Show {
    pub(crate) status: StatusNode,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) screen: Screen,
    pub(crate) file: StatusFile,
}

// === impl Show ===

impl Show {
    /// Runs until `stop`; the file then holds the last state.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let interval = if self.screen.is_live() { LIVE_INTERVAL } else { FILE_INTERVAL };
        let (mut file_at, mut line_at) = (Duration::ZERO, Duration::ZERO);
        let mut before = None;
        loop {
            let now = self.clock.monotonic();
            let snapshot = self.status.snapshot();
            let figures = Figures::read(&snapshot, now, before.as_ref());
            if self.screen.is_live() {
                self.screen.show(&figures);
            } else if now.saturating_sub(line_at) >= LINE_INTERVAL {
                line_at = now;
                figures.log();
            }
            before = Some(figures);
            let last = stop.is_cancelled();
            if last || now.saturating_sub(file_at) >= FILE_INTERVAL {
                file_at = now;
                self.file.write(&snapshot, self.clock.now_ms());
            }
            if last {
                return self.screen.finish();
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.clock.sleep(interval) => {}
            }
        }
    }
}
