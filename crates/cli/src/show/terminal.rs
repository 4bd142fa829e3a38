//! One or two live lines on a terminal, with log lines above them.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;
use tracing_subscriber::fmt::MakeWriter;

use super::figures::Figures;
use super::lines::{Look, lines};

/// A terminal, or what stands in for one. Clones draw on the same.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    live: Option<Live>,
}

#[derive(Clone, Debug)]
struct Live {
    bar: ProgressBar,
    frame: Arc<AtomicUsize>,
    terminal: Terminal,
}

/// What the environment says of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// It can move its cursor.
    pub(crate) moves: bool,
    pub(crate) colours: bool,
    pub(crate) unicode: bool,
}

/// Drawn at most so often; a log line draws anew as well.
const DRAWS_PER_SECOND: u8 = 10;

/// Where the terminal does not tell.
const WIDTH: usize = 80;

/// Writes log lines above the live ones.
#[derive(Debug)]
pub(crate) struct LogWriter(Option<ProgressBar>);

// === impl Terminal ===

impl Terminal {
    /// Reads `TERM`, `NO_COLOR` and the locale.
    pub(crate) fn of_the_environment() -> Self {
        Self::of(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let moves = set("TERM").is_none_or(|term| term != "dumb");
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
        let unicode = locale.is_some_and(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self { moves, colours: moves && set("NO_COLOR").is_none(), unicode }
    }
}

// === impl Screen ===

impl Screen {
    /// Live lines if standard error is a terminal that can show them and `plain` is not asked for.
    pub(crate) fn new(plain: bool, terminal: Terminal) -> Self {
        if plain || !terminal.moves || !io::stderr().is_terminal() {
            return Self { live: None };
        }
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self { live: Some(Live { bar, frame: Arc::default(), terminal }) }
    }

    /// Whether there are lines to move.
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Draws the figures.
    pub(super) fn show(&self, figures: &Figures) {
        let Some(live) = &self.live else { return };
        let width = tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let look = Look {
            width: if width == 0 { WIDTH } else { width },
            colours: live.terminal.colours,
            unicode: live.terminal.unicode,
            frame: live.frame.fetch_add(1, Ordering::Relaxed),
        };
        live.bar.set_message(lines(figures, look));
    }

    /// Takes the live lines away.
    pub(crate) fn clear(&self) {
        if let Some(live) = &self.live {
            live.bar.finish_and_clear();
        }
    }
}

// === impl LogWriter ===

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes))?,
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
        LogWriter(self.live.as_ref().map(|live| live.bar.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_what_a_terminal_can_show() {
        let of = |set: &[(&str, &str)]| {
            Terminal::of(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let all = Terminal { moves: true, colours: true, unicode: true };
        assert_eq!(of(&[("TERM", "xterm"), ("LANG", "en_GB.UTF-8")]), all);
        assert!(!of(&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")]).unicode);
        assert!(!of(&[("NO_COLOR", "1")]).colours && of(&[("NO_COLOR", "")]).colours);
        assert!(!of(&[("TERM", "dumb")]).moves);
    }
}
