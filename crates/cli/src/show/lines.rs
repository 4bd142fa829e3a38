//! The lines of a terminal, made of the figures. Pure.
//!
//! Guarantees: no line is wider than it is told; nothing but printable characters and, where wanted, colours.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};

use super::figures::Figures;

/// What a terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Columns.
    pub(super) width: usize,
    pub(super) colours: bool,
    /// Blocks and dots, or ASCII alone.
    pub(super) unicode: bool,
    /// Which picture of what turns.
    pub(super) frame: usize,
}

/// Columns of the bar.
const BAR: u64 = 20;

/// Columns of the word at the beginning.
const WORD: usize = 9;

const CYAN: &str = "\u{1b}[36m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

const TURNING: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const TURNING_ASCII: [char; 4] = ['|', '/', '-', '\\'];

/// One or two lines.
pub(super) fn lines(figures: &Figures, look: Look) -> String {
    let mut lines = Vec::new();
    if figures.reads_a_snapshot() && figures.state != "starting" {
        lines.push(snapshot(figures, look));
    }
    let (word, text, colour) = live(figures);
    let sign = look.turning();
    let line = look.cut(&format!("{word:>WORD$} {sign} {text}"));
    lines.push(look.coloured(&line, colour));
    lines.join("\n")
}

/// How it goes, in one line without anything that moves.
pub(super) fn summary(figures: &Figures) -> String {
    let or_nothing = |phase: &str| if phase.is_empty() { "nothing yet" } else { phase }.to_owned();
    let mut parts = Vec::new();
    if figures.captures() {
        parts.push(format!("capture: {}", or_nothing(&figures.phase)));
    }
    if figures.applies() {
        parts.push(format!("apply: {}", or_nothing(&figures.apply_phase)));
    }
    if let Some(percent) = figures.percent().filter(|_| figures.reads_a_snapshot()) {
        parts.push(format!("{percent}% of the snapshot read"));
    }
    match figures.applies() {
        true => parts.extend(applied(figures)),
        false => parts.push(format!("{} recorded", HumanCount(figures.recorded))),
    }
    if !figures.held_by.is_empty() {
        parts.push(format!("held by a {}", figures.held_by));
    }
    if !figures.trouble.is_empty() {
        parts.push(format!("trouble: {}", figures.trouble));
    }
    parts.join(", ")
}

/// How far apply is, and what it set aside.
fn applied(figures: &Figures) -> [String; 2] {
    let (bytes, seconds) = (HumanBytes(figures.lag_bytes), figures.lag_seconds);
    let lag = match figures.applies_a_snapshot() || figures.reads_a_snapshot() {
        true => format!("{} events to go", HumanCount(figures.lag_events)),
        // What the source has beyond, only its capture knows.
        false if !figures.captures() => {
            format!("lag {} events, {seconds:.1} s", HumanCount(figures.lag_events))
        }
        false => format!("lag {bytes}, {seconds:.1} s"),
    };
    let quarantined = match figures.quarantined {
        0 => "nothing in quarantine".to_owned(),
        quarantined => format!("{} in quarantine", HumanCount(quarantined)),
    };
    [lag, quarantined]
}

fn snapshot(figures: &Figures, look: Look) -> String {
    let keys = HumanCount(figures.snapshot_keys);
    let bytes = HumanBytes(figures.snapshot_bytes);
    let left =
        figures.time_to_read().map_or_else(String::new, |time| format!("  {} left", short(time)));
    let word = "snapshot";
    match figures.percent() {
        None => look.cut(&format!("{word:>WORD$}   {keys} keys read  {bytes}")),
        Some(percent) => {
            let text = format!("{percent:>3}%  {keys} keys read  {bytes}{left}");
            let filled = usize::try_from(BAR * percent.min(100) / 100).unwrap_or(0);
            let (full, empty) = if look.unicode { ('█', '░') } else { ('#', '-') };
            let bar: String = (0..usize::try_from(BAR).unwrap_or(0))
                .map(|column| if column < filled { full } else { empty })
                .collect();
            let line = look.cut(&format!("{word:>WORD$} {bar} {text}"));
            if look.colours { line.replacen(&bar, &format!("{CYAN}{bar}{PLAIN}"), 1) } else { line }
        }
    }
}

/// What it does, how it goes, and a colour for what a person should see.
fn live(figures: &Figures) -> (&str, String, Option<&'static str>) {
    if let Some((step, seconds)) = &figures.step {
        let word = if figures.state == "starting" { "start" } else { &figures.state };
        let seconds = if *seconds > 0 { format!("  {seconds} s") } else { String::new() };
        return (word, format!("{step}{seconds}"), None);
    }
    if figures.state == "starting" {
        return ("start", String::new(), None);
    }
    if !figures.trouble.is_empty() {
        return ("waiting", figures.trouble.clone(), Some(YELLOW));
    }
    let stopping = matches!(figures.state.as_str(), "stopping" | "stopped");
    let waiting = matches!(figures.phase.as_str(), "connecting" | "waiting");
    if waiting && !stopping && figures.lag_events == 0 {
        let text = "for the source; a snapshot waits for its repl-diskless-sync-delay";
        return ("waiting", text.to_owned(), None);
    }
    let word = match figures {
        _ if stopping => &figures.state,
        _ if figures.held_by == "pause" => "paused",
        _ if !figures.applies() => &figures.phase,
        _ if figures.applies_a_snapshot() || figures.reads_a_snapshot() => "apply",
        _ if !figures.captures() => &figures.apply_phase,
        _ => &figures.phase,
    };
    (word, rates(figures), None)
}

fn rates(figures: &Figures) -> String {
    if !figures.applies() {
        return format!("{} recorded", HumanCount(figures.recorded));
    }
    let applied = HumanCount(figures.applied_events);
    let mut line = format!("{applied} applied  {:.0}/s", figures.rate);
    if figures.applies_a_snapshot() || figures.reads_a_snapshot() {
        // What lies behind in the source's stream says nothing yet.
        line.push_str(&format!("  {} to go", HumanCount(figures.lag_events)));
        if let Some(left) = figures.time_to_apply().filter(|_| !figures.reads_a_snapshot()) {
            line.push_str(&format!("  {} left", short(left)));
        }
    } else {
        let (bytes, seconds) = (HumanBytes(figures.lag_bytes), figures.lag_seconds);
        match figures.captures() {
            true => line.push_str(&format!("  lag {bytes}  {seconds:.1} s")),
            false => line.push_str(&format!(
                "  lag {} events  {seconds:.1} s",
                HumanCount(figures.lag_events)
            )),
        }
    }
    if figures.quarantined > 0 {
        line.push_str(&format!("  {} in quarantine", HumanCount(figures.quarantined)));
    }
    line
}

/// `9 s`, `2 m 05 s`, `1 h 07 m`, `3 d 04 h`.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

// === impl Look ===

impl Look {
    fn turning(self) -> char {
        let pictures = if self.unicode { &TURNING[..] } else { &TURNING_ASCII[..] };
        pictures.get(self.frame % pictures.len()).copied().unwrap_or(' ')
    }

    /// At most as many characters as columns, one less: a full line makes some terminals begin another.
    fn cut(self, line: &str) -> String {
        let room = self.width.saturating_sub(1);
        let clean = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        if line.chars().count() <= room {
            return clean.collect();
        }
        let dots = if self.unicode { "…" } else { "..." };
        let kept = room.saturating_sub(dots.chars().count());
        clean.take(kept).chain(dots.chars()).take(room).collect()
    }

    fn coloured(self, line: &str, colour: Option<&str>) -> String {
        match colour.filter(|_| self.colours) {
            Some(colour) => format!("{colour}{line}{PLAIN}"),
            None => line.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LOOK: Look = Look { width: 80, colours: false, unicode: true, frame: 0 };

    fn shown(status: &Value, look: Look) -> String {
        let rate = status.pointer("/rate").and_then(Value::as_f64).unwrap_or_default();
        let mut figures = Figures::read(status, Duration::ZERO, None);
        figures.rate = rate;
        lines(&figures, look)
    }

    /// As large as figures become.
    fn large() -> Value {
        json!({
            "state": "running",
            "rate": 123_456.7,
            "capture": {
                "phase": "snapshot", "snapshot_keys": 999_999_999_u64,
                "snapshot_keys_expected": 9_999_999_999_u64,
                "snapshot_bytes": 123_456_789_012_u64, "offset": 99_999_999_999_u64,
            },
            "apply": { "lane": {
                "phase": "stream", "events": 9_999_999_999_u64,
                "lag_records": 999_999_999_u64, "lag_seconds": 86_400.5, "applied": "0:1:1:+",
                "quarantined_keys": 100_000,
            }},
        })
    }

    #[test]
    fn a_snapshot_shows_how_much_of_it_is_read() {
        let status = json!({
            "state": "running",
            "rate": 50.0,
            "capture": {
                "phase": "snapshot", "snapshot_keys": 430, "snapshot_keys_expected": 1_000,
                "snapshot_bytes": 2_048,
            },
            "apply": { "lane": {
                "phase": "snapshot", "events": 100, "lag_records": 330,
            }},
        });
        let expected = " snapshot ████████░░░░░░░░░░░░  43%  430 keys read  2.00 KiB\n    \
            apply ⠋ 100 applied  50/s  330 to go";
        assert_eq!(shown(&status, LOOK), expected);
        let ascii = shown(&status, Look { unicode: false, ..LOOK });
        assert!(ascii.is_ascii() && ascii.contains(" ########------------  43%"), "{ascii}");
        let coloured = shown(&status, Look { colours: true, ..LOOK });
        assert!(coloured.contains("\u{1b}[36m████████░░░░░░░░░░░░\u{1b}[0m"), "{coloured}");
    }

    #[test]
    fn the_stream_shows_rate_and_lag() {
        let mut status = large();
        status["capture"]["phase"] = "stream".into();
        let expected =
            "   stream ⠋ 9,999,999,999 applied  123457/s  lag 93.13 GiB  86400.5 s  100,000…";
        assert_eq!(shown(&status, LOOK), expected);
    }

    #[test]
    fn no_line_is_as_wide_as_the_terminal() {
        let mut troubled = large();
        troubled["capture"]["trouble"] = "words\nand more words ".repeat(20).into();
        for status in [large(), troubled, json!({ "state": "starting", "step": "x".repeat(200) })] {
            for width in [0, 1, 2, 20, 40, 80, 200] {
                for unicode in [true, false] {
                    let text = shown(&status, Look { width, unicode, ..LOOK });
                    let widest = text.lines().map(|line| line.chars().count()).max();
                    assert!(widest.unwrap_or(0) <= width.saturating_sub(1), "{width}: {text}");
                    assert!(text.lines().count() <= 2, "{text}");
                }
            }
        }
        let bar_of_the_largest = shown(&large(), LOOK);
        assert!(!bar_of_the_largest.lines().next().unwrap().contains('…'), "{bar_of_the_largest}");
    }

    #[test]
    fn a_step_of_the_start_is_named_with_its_time() {
        let status =
            json!({ "state": "starting", "step": "opening the journal", "step_seconds": 3 });
        assert_eq!(shown(&status, LOOK), "    start ⠋ opening the journal  3 s");
    }

    #[test]
    fn what_is_waited_for_is_said() {
        let status = json!({ "state": "running", "capture": { "phase": "waiting" } });
        let said = shown(&status, LOOK);
        assert!(said.starts_with("  waiting ⠋ for the source") && !said.contains('…'), "{said}");
        let status = json!({ "state": "running", "capture": { "trouble": "no route" } });
        let said = shown(&status, Look { colours: true, ..LOOK });
        assert_eq!(said, "\u{1b}[33m  waiting ⠋ no route\u{1b}[0m");
    }

    #[test]
    fn a_process_of_one_side_speaks_of_that_alone() {
        let capture = json!({ "phase": "standby", "records": 0 });
        let status = json!({ "state": "running", "role": "capture", "capture": capture });
        assert_eq!(shown(&status, LOOK), "  standby ⠋ 0 recorded");
        assert_eq!(
            summary(&Figures::read(&status, Duration::ZERO, None)),
            "capture: standby, 0 recorded"
        );
        let lane = json!({ "phase": "stream", "events": 7, "lag_records": 2, "lag_seconds": 0.5 });
        let status = json!({ "state": "running", "role": "apply", "apply": { "lane": lane } });
        assert_eq!(shown(&status, LOOK), "   stream ⠋ 7 applied  0/s  lag 2 events  0.5 s");
        let expected = "apply: stream, lag 2 events, 0.5 s, nothing in quarantine";
        assert_eq!(summary(&Figures::read(&status, Duration::ZERO, None)), expected);
    }

    #[test]
    fn a_pause_is_said() {
        let lane = json!({ "phase": "stream", "held_by": "pause", "events": 7 });
        let status = json!({ "state": "running", "apply": { "lane": lane } });
        let said = shown(&status, LOOK);
        assert!(said.starts_with("   paused ⠋ 7 applied"), "{said}");
    }

    #[test]
    fn times_are_as_exact_as_their_size() {
        let words = [(9, "9 s"), (125, "2 m 05 s"), (4_020, "1 h 07 m"), (273_600, "3 d 04 h")];
        for (seconds, expected) in words {
            assert_eq!(short(Duration::from_secs(seconds)), expected);
        }
    }
}
