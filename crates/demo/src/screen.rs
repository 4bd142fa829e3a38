//! What the person at the terminal sees: steps, facts and one moving line; plain lines elsewhere.
//!
//! Colours and movement appear on a terminal only, and colours not where `NO_COLOR` is set.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use testkit::Deadline;

/// How often the moving line is written where it cannot move.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where the demo tells what it does.
pub(crate) struct Screen {
    terminal: bool,
    colours: bool,
    step: u32,
}

/// A line that says how a wait goes on.
pub(crate) struct Moving<'a> {
    bar: ProgressBar,
    screen: &'a Screen,
    plain: Deadline,
}

/// The colours that there are.
#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
}

// === impl Screen ===

impl Screen {
    /// The standard output.
    pub(crate) fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { terminal, colours, step: 0 }
    }

    /// The first line of all.
    pub(crate) fn title(&self, text: &str) -> Result<()> {
        self.line(&self.ink(Ink::Bold, text))
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, text: &str) -> Result<()> {
        self.step += 1;
        self.line(&format!("\n{} {}", self.step, self.ink(Ink::Bold, text)))
    }

    /// Something that is so.
    pub(crate) fn fact(&self, name: &str, text: impl Display) -> Result<()> {
        self.line(&format!("    {name:<15}{text}"))
    }

    /// Something that was done, with what goes on about it in a lower voice.
    pub(crate) fn done(&self, text: impl Display, aside: impl Display) -> Result<()> {
        let mark = self.ink(Ink::Green, "✓");
        self.line(&format!("  {mark} {text}  {}", self.ink(Ink::Dim, &aside.to_string())))
    }

    /// Something that is wrong.
    pub(crate) fn wrong(&self, text: impl Display) -> Result<()> {
        let mark = self.ink(Ink::Red, "✗");
        self.line(&format!("  {mark} {text}"))
    }

    /// The last line of all.
    pub(crate) fn verdict(&self, good: bool, text: &str) -> Result<()> {
        let ink = if good { Ink::Green } else { Ink::Red };
        self.line(&format!("\n{}", self.ink(ink, text)))
    }

    /// A line as it is.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).context("write to the terminal")
    }

    /// A line that moves until it is dropped.
    pub(crate) fn moving(&self) -> Moving<'_> {
        let target =
            if self.terminal { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
            bar.set_style(style);
        }
        Moving { bar, screen: self, plain: Deadline::after(PLAIN_EVERY) }
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Green => 32,
            Ink::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

// === impl Moving ===

impl Moving<'_> {
    /// Says how it goes on. May be called as often as one likes.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        self.bar.set_message(text.to_owned());
        self.bar.tick();
        if !self.screen.terminal && self.plain.has_passed() {
            self.plain = Deadline::after(PLAIN_EVERY);
            return self.screen.line(&format!("    … {text}"));
        }
        Ok(())
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time in seconds.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, wanted) in cases {
            assert_eq!(grouped(number), wanted);
        }
    }
}
