//! The table, and the file with everything in it.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::figure::{Better, By, Figure, Measured, Targets, Verdict, median};
use crate::machine::Machine;
use crate::scale::Scale;
use crate::stage::KIND;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    servers: String,
    scale: &'static str,
    runs: u32,
    machine: Machine,
    figures: Vec<Line>,
}

/// A figure with its values of all runs, in their order; none where there is none.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    figure: &'static Figure,
    native: Vec<Option<f64>>,
    keyferry: Vec<Option<f64>>,
    judged: Vec<Option<f64>>,
    /// By the median.
    verdict: Option<Verdict>,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(machine: Machine, scale: &Scale, runs: u32) -> Self {
        Self { servers: KIND.to_string(), scale: scale.name, runs, machine, figures: Vec::new() }
    }

    /// Says on the error output what is done now.
    ///
    /// # Errors
    /// If nobody listens.
    #[expect(clippy::unused_self, reason = "telling is the report's")]
    pub(crate) fn say(&self, text: &str) -> Result<()> {
        let mut out = std::io::stderr().lock();
        // On a terminal the table takes the place of this line.
        let (start, end) = if out.is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
        write!(out, "{start}{text}{end}").and_then(|()| out.flush()).context("say what goes on")
    }

    /// Adds the figures of one run.
    pub(crate) fn add(&mut self, measured: Vec<Measured>) {
        for one in measured {
            let found = self.figures.iter_mut().position(|line| line.figure == one.figure);
            let place = found.unwrap_or_else(|| {
                self.figures.push(Line::new(one.figure));
                self.figures.len() - 1
            });
            if let Some(line) = self.figures.get_mut(place) {
                line.add(&one);
            }
        }
    }

    /// Prints the table.
    ///
    /// # Errors
    /// If nobody listens.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.machine.finish()?;
        self.say("")?;
        let text = self.table();
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("print the table")
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("encode the report")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    fn table(&self) -> String {
        let [machine, load] = self.machine.lines();
        let runs = if self.runs == 1 { "1 run".to_owned() } else { format!("{} runs", self.runs) };
        let mut text = format!(
            "keyferry against REPLICAOF, {} on both sides, {} size, {runs}\n{machine}\n{load}\n\n",
            self.servers, self.scale
        );
        let head = ["", "native", "keyferry", "best", "median", "bar", "goal", ""];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.figures.iter().map(Line::row));
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(n, (cell, &width))| match n {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text.push_str(LEGEND);
        text
    }
}

const LEGEND: &str = "
native, keyferry: medians of the runs. best, median: what is judged, that is keyferry ÷ native (×) or
keyferry's own value. goal, ok (within the bar), over: the median beside its targets. CPU is of the
process with its children, user and system; without a name it is the bridge's.
";

// === impl Line ===

impl Line {
    fn new(figure: &'static Figure) -> Self {
        let [native, keyferry, judged] = [const { Vec::new() }; 3];
        Self { figure, native, keyferry, judged, verdict: None }
    }

    fn add(&mut self, one: &Measured) {
        self.native.push(one.native);
        self.keyferry.push(one.keyferry);
        self.judged.push(one.judged());
        self.verdict = known(&self.judged).1.and_then(|value| self.figure.verdict(value));
    }

    fn row(&self) -> [String; 8] {
        let Figure { name, unit, by, better, targets } = self.figure;
        let value = |values: &[Option<f64>]| {
            let median = known(values).1;
            median
                .map_or_else(String::new, |value| format!("{} {unit}", short(value)).trim().into())
        };
        let sign = if *by == By::Ratio { "×" } else { "" };
        let judged = |value: f64| format!("{}{sign}", short(value));
        let (all, median) = known(&self.judged);
        let best = all.into_iter().reduce(|a, b| self.figure.best(a, b));
        let limit = |target: f64| {
            let than = if *better == Better::Less { '≤' } else { '≥' };
            format!("{than} {}{sign}", plain(target))
        };
        let target = |of: fn(&Targets) -> f64| targets.as_ref().map(of).map(limit);
        let verdict = self.verdict.map_or("", |verdict| match verdict {
            Verdict::Goal => "goal",
            Verdict::Ok => "ok",
            Verdict::Over => "over",
        });
        [
            (*name).to_owned(),
            value(&self.native),
            value(&self.keyferry),
            best.map(judged).unwrap_or_default(),
            median.map(judged).unwrap_or_default(),
            target(|targets| targets.bar).unwrap_or_default(),
            target(|targets| targets.goal).unwrap_or_default(),
            verdict.to_owned(),
        ]
    }
}

/// The values that there are, and their median.
fn known(values: &[Option<f64>]) -> (Vec<f64>, Option<f64>) {
    let all: Vec<f64> = values.iter().copied().flatten().collect();
    let median = median(&all);
    (all, median)
}

/// A number as short as it can be told from its neighbours.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 1000.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A target, as it was set.
fn plain(value: f64) -> String {
    format!("{value}")
}

/// Thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    static WALL: Figure = Figure::ratio("snapshot: time", "s", 2.0, 1.2);
    static CPU: Figure = Figure::value("snapshot: CPU", "s", 2.5, 1.2);

    #[test]
    fn a_line_has_medians_and_is_judged_by_the_ratios_of_single_runs() {
        let mut line = Line::new(&WALL);
        for (native, keyferry) in [(1.0, 2.0), (2.0, 2.2), (4.0, 10.0)] {
            let (native, keyferry) = (Some(native), Some(keyferry));
            line.add(&Measured { figure: &WALL, native, keyferry });
        }
        let row = line.row();
        let wanted =
            ["snapshot: time", "2.00 s", "2.20 s", "1.10×", "2.00×", "≤ 2×", "≤ 1.2×", "ok"];
        assert_eq!(row, wanted);
    }

    #[test]
    fn a_value_without_a_native_one_leaves_its_cell_empty() {
        let mut line = Line::new(&CPU);
        line.add(&Measured { figure: &CPU, native: None, keyferry: Some(3.0) });
        assert_eq!(
            line.row(),
            ["snapshot: CPU", "", "3.00 s", "3.00", "3.00", "≤ 2.5", "≤ 1.2", "over"]
        );
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (0.126, "0.13"), (12.34, "12.3"), (1_234_567.0, "1,234,567")];
        for (value, wanted) in cases {
            assert_eq!(short(value), wanted);
        }
    }
}
