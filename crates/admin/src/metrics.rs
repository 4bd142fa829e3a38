//! The status tree in Prometheus' text format.
//!
//! Guarantees: every metric is in [`TABLE`] with its help and unit, and stands in the text once, with all its samples
//! behind its head; what the tree does not say, or says in words, has no sample.

mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use runtime::StatusNode;
use runtime::status::Value;

pub use self::table::TABLE;

/// What the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// Where its values are in the status tree: names with `/` between them; `{label}` is any name, and labels the
    /// sample with it; `{_}` is any name that says nothing here.
    pub path: &'static str,
    /// How a value becomes a sample.
    pub shape: Shape,
    /// What it means, for people.
    pub help: &'static str,
}

/// How a value becomes samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number that only grows.
    Counter,
    /// A number as it is.
    Gauge,
    /// Milliseconds, shown as seconds.
    Seconds,
    /// One of these words: a sample for each, 1 for the one that it is, else 0.
    State(&'static [&'static str]),
    /// A word that is always the same for a process: 1, with the word as the label.
    Info,
}

/// A value of the tree, with its path.
type Found = (Vec<String>, Value);

/// All metrics of a status tree.
#[must_use]
pub fn render(status: &StatusNode, version: &str, is_ready: bool) -> String {
    let mut found: Vec<Found> = Vec::new();
    status.walk(&mut |path, value| {
        found.push((path.iter().map(|name| (*name).to_owned()).collect(), value.clone()));
    });
    found.push((vec!["version".to_owned()], Value::Text(version.to_owned())));
    found.push((vec!["ready".to_owned()], Value::Flag(is_ready)));
    let destination = found.iter().find_map(|(path, value)| match (path.as_slice(), value) {
        ([side, name], Value::Text(text)) if side == "apply" && name == "destination" => Some(text),
        _ => None,
    });
    let mut text = String::new();
    for metric in TABLE {
        metric.write(&mut text, &found, destination.map(String::as_str));
    }
    text
}

// === impl Metric ===

impl Metric {
    /// Its type in the text.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.shape == Shape::Counter { "counter" } else { "gauge" }
    }

    fn write(&self, text: &mut String, found: &[Found], destination: Option<&str>) {
        let mut samples = String::new();
        for (path, value) in found {
            let Some(mut labels) = self.labels(path) else { continue };
            if self.path.starts_with("apply/")
                && let Some(destination) = destination
            {
                labels.insert(0, ("destination", destination));
            }
            self.sample(&mut samples, &labels, value);
        }
        if !samples.is_empty() {
            let Self { name, help, .. } = self;
            let kind = self.kind();
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}"));
        }
    }

    /// The labels that a path gives; none: it is not one of these.
    fn labels<'a>(&self, path: &'a [String]) -> Option<Vec<(&'static str, &'a str)>> {
        let mut labels = Vec::new();
        let mut names = path.iter();
        for wanted in self.path.split('/') {
            let name = names.next()?;
            let label = wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match label {
                Some("_") => {}
                Some("partition") => labels.push(("partition", partition(name)?)),
                Some(label) => labels.push((label, name.as_str())),
                None if wanted == name => {}
                None => return None,
            }
        }
        names.next().is_none().then_some(labels)
    }

    fn sample(&self, text: &mut String, labels: &[(&str, &str)], value: &Value) {
        match (self.shape, value) {
            (Shape::State(words), Value::Text(now)) => {
                let label = self.word_label();
                // One that the table does not know is said all the same.
                let unknown = (!words.contains(&now.as_str())).then_some(now.as_str());
                for word in words.iter().copied().chain(unknown) {
                    let is_it = if word == now { "1" } else { "0" };
                    self.line(text, &[labels, &[(label, word)]].concat(), is_it);
                }
            }
            (Shape::Info, Value::Text(word)) => {
                self.line(text, &[labels, &[(self.word_label(), word)]].concat(), "1");
            }
            (Shape::Seconds, value) =>
            {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "seconds to the microsecond are enough"
                )]
                if let Value::Timestamp(ms) = value {
                    self.line(text, labels, &(*ms as f64 / 1_000.0).to_string());
                }
            }
            (Shape::Counter | Shape::Gauge, value) => {
                if let Some(number) = number(value) {
                    self.line(text, labels, &number);
                }
            }
            (Shape::State(_) | Shape::Info, _) => {}
        }
    }

    /// The last name of its path.
    fn word_label(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    fn line(&self, text: &mut String, labels: &[(&str, &str)], value: &str) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(text, "{}{labels} {value}", self.name).expect("a string takes everything");
    }
}

/// The partitions that a node of the tree is about: `3`, and of lanes `partition-3`, `partitions-0-15`.
fn partition(name: &str) -> Option<&str> {
    let of_lane = name.strip_prefix("partitions-").or_else(|| name.strip_prefix("partition-"));
    of_lane.or_else(|| name.parse::<u16>().is_ok().then_some(name))
}

fn number(value: &Value) -> Option<String> {
    match value {
        Value::Text(_) => None,
        Value::Flag(flag) => Some(u8::from(*flag).to_string()),
        Value::Integer(number) | Value::Timestamp(number) => Some(number.to_string()),
        Value::Float(number) => number.is_finite().then(|| number.to_string()),
        Value::Bytes(number) | Value::Count(number) => Some(number.to_string()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
