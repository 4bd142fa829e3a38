//! Bars and a live line on a terminal, with log lines above them.

use std::io::{self, IsTerminal, Write};

use indicatif::{
    HumanBytes, HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget,
    ProgressStyle,
};
use tracing_subscriber::fmt::MakeWriter;

use super::figures::Figures;

/// A terminal, or what stands in for one. Clones draw on the same.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    bars: Option<Bars>,
}

#[derive(Clone, Debug)]
struct Bars {
    all: MultiProgress,
    snapshot: ProgressBar,
    line: ProgressBar,
}

/// Length of a bar before there is one: a bar of length 0 is drawn full.
const EMPTY: u64 = 1;

/// Writes log lines above the bars.
#[derive(Debug)]
pub(crate) struct LogWriter(Option<MultiProgress>);

// === impl Screen ===

impl Screen {
    /// Bars if standard error is a terminal and `plain` is not asked for.
    pub(crate) fn new(plain: bool) -> Self {
        if plain || !io::stderr().is_terminal() {
            return Self { bars: None };
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar_style = ProgressStyle::with_template("{prefix:>9} [{bar:40.cyan/blue}] {msg}");
        let line_style = ProgressStyle::with_template("{prefix:>9} {spinner} {msg}");
        let snapshot = all.add(ProgressBar::new(EMPTY));
        let line = all.add(ProgressBar::new_spinner());
        if let (Ok(bar_style), Ok(line_style)) = (bar_style, line_style) {
            snapshot.set_style(bar_style);
            line.set_style(line_style);
        }
        snapshot.set_prefix("snapshot");
        Self { bars: Some(Bars { all, snapshot, line }) }
    }

    /// Whether there are bars to move.
    pub(crate) fn is_live(&self) -> bool {
        self.bars.is_some()
    }

    /// Draws the figures.
    pub(super) fn show(&self, figures: &Figures) {
        let Some(bars) = &self.bars else { return };
        bars.show_snapshot(figures);
        bars.line.set_prefix(figures.phase.clone());
        bars.line.set_message(live_line(figures));
        bars.line.tick();
    }

    /// Takes everything away.
    pub(crate) fn clear(&self) {
        if let Some(bars) = &self.bars {
            // A terminal that is gone shows nothing anyway.
            bars.all.clear().ok();
        }
    }

    /// Leaves the last state standing.
    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.line.abandon();
        }
    }
}

// === impl Bars ===

impl Bars {
    fn show_snapshot(&self, figures: &Figures) {
        let (done, expected) = match figures.snapshot_keys_expected {
            0 => (figures.snapshot_bytes, figures.snapshot_bytes_expected),
            keys => (figures.snapshot_keys, keys),
        };
        if figures.phase != "snapshot" {
            if !self.snapshot.is_finished() && done > 0 {
                self.snapshot.set_position(self.snapshot.length().unwrap_or(done));
                self.snapshot.abandon_with_message(format!(
                    "{} keys read",
                    HumanCount(figures.snapshot_keys)
                ));
            }
            return;
        }
        if self.snapshot.position() == 0 {
            // Time spent waiting for the first byte says nothing about the rest.
            self.snapshot.reset_eta();
        }
        self.snapshot.set_length(expected.max(done));
        self.snapshot.set_position(done);
        let keys = HumanCount(figures.snapshot_keys);
        let bytes = HumanBytes(figures.snapshot_bytes);
        let eta = if expected > done {
            HumanDuration(self.snapshot.eta()).to_string()
        } else {
            "?".to_owned()
        };
        self.snapshot.set_message(format!("{keys} keys, {bytes}, {eta} left"));
    }
}

fn live_line(figures: &Figures) -> String {
    if !figures.trouble.is_empty() {
        return format!("waiting: {}", figures.trouble);
    }
    if figures.phase == "connecting" {
        return "waiting for the source; a diskless snapshot begins after its repl-diskless-sync-delay".to_owned();
    }
    let mut line = format!(
        "{} applied, {:.0}/s, lag {}, {:.1} s",
        HumanCount(figures.applied_events),
        figures.rate,
        HumanBytes(figures.lag_bytes),
        figures.lag_seconds,
    );
    if figures.apply_phase != "stream" && !figures.apply_phase.is_empty() {
        line.push_str(&format!(" ({})", figures.apply_phase));
    }
    if figures.quarantined > 0 {
        line.push_str(&format!(", {} keys in quarantine", figures.quarantined));
    }
    line
}

// === impl LogWriter ===

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bars) => bars.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter(self.bars.as_ref().map(|bars| bars.all.clone()))
    }
}
