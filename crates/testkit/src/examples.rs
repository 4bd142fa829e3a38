//! Every write command of every supported server, at least once, with what it needs beforehand.
//!
//! A test checks the list against the servers' own COMMAND: a write command without an example that
//! succeeds and changes something is a failure. Examples use keys of their own, all keys of one
//! example lie in one slot, and they may run one after the other in one data set.

use crate::client::{Command, spoken};
use crate::kind::Kind;
use crate::since;
use crate::words::{commands, unescape};

mod collections;
mod keyspace;
mod streams;
mod strings;

/// One use of one or more write commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Run first; none of them fails.
    pub setup: Vec<Command>,
    /// What the example shows; none of them fails, and they change something.
    pub run: Vec<Command>,
}

/// On which servers a table of examples works.
#[derive(Debug, Clone, Copy)]
enum Since {
    Always,
    Version7,
    FieldExpiry,
    Redis8,
    Valkey9,
}

/// Examples: `setup -> run`, or only what is run. `@k` is a key of the example's own.
type Table = (Since, &'static [&'static str]);

/// Write commands (as COMMAND names them) for which there is no example, and why.
pub const WITHOUT_EXAMPLE: &[(&str, &str)] =
    &[("migrate", "needs a second server"), ("cluster|flushslot", "needs a cluster")];

/// All examples for a server, in an order in which they may run one after the other.
pub fn every_command(kind: Kind) -> Vec<Example> {
    let tables = [keyspace::TABLES, strings::TABLES, collections::TABLES, streams::TABLES].concat();
    let lines =
        tables.iter().filter(|(since, _)| since.includes(kind)).flat_map(|(_, lines)| *lines);
    let mut all = Vec::new();
    for (number, line) in lines.enumerate() {
        let (setup, run) = line.split_once(" -> ").unwrap_or(("", line));
        if since::knows(kind, setup) && since::knows(kind, run) {
            all.push(Example::parse(line, number));
        }
    }
    all
}

// === impl Example ===

impl Example {
    fn parse(line: &str, number: usize) -> Self {
        let (setup, run) = line.split_once(" -> ").unwrap_or(("", line));
        let expand = |part: &str| -> Vec<Command> {
            let word = |word: &str| match word.strip_prefix('@') {
                Some(name) => format!("{{{number}}}{name}").into_bytes(),
                None => unescape(word),
            };
            let some = commands(part).filter(|words| !words.concat().is_empty());
            some.map(|words| words.into_iter().map(word).collect()).collect()
        };
        Self { setup: expand(setup), run: expand(run) }
    }

    /// The names of the commands it shows, as COMMAND names them.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.run.iter().map(|words| {
            let word =
                |n: usize| words.get(n).map(|word| String::from_utf8_lossy(word).to_lowercase());
            let name = word(0).unwrap_or_default();
            match name.as_str() {
                "xgroup" | "function" | "script" => {
                    format!("{name}|{}", word(1).unwrap_or_default())
                }
                _ => name,
            }
        })
    }

    /// What is run, for a message.
    pub fn told(&self) -> String {
        self.run.iter().map(|words| spoken(words)).collect::<Vec<_>>().join(" ; ")
    }
}

// === impl Since ===

impl Since {
    fn includes(self, kind: Kind) -> bool {
        match self {
            Self::Always => true,
            Self::Version7 => kind.at_least(7, 0),
            Self::FieldExpiry => kind.has_field_expiry(),
            Self::Redis8 => kind == Kind::Redis8_2,
            Self::Valkey9 => kind == Kind::Valkey9_1,
        }
    }
}
