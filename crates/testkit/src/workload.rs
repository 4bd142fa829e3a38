//! A seeded source of writes: every type, several databases, transactions, scripts, functions.
//!
//! The same seed and kind give the same commands, whatever the server answers. Keys are few and
//! shared between commands, so that values grow, move and vanish; some commands fail, which is part
//! of the load, and the failures are counted. A command that the server does not understand is not:
//! that is a fault of the load.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use fastrand::Rng;

use crate::client::{Client, Command, spoken};
use crate::kind::Kind;
use crate::value::Value;
use crate::words::commands;

mod fill;
mod templates;

use fill::Fill;
use templates::Template;

/// How many units are sent before their replies are read.
const WINDOW_UNITS: usize = 200;
/// Databases that the load uses.
const DBS: u8 = 4;

/// A source of writes.
#[derive(Debug, Clone)]
pub struct Workload {
    rng: Rng,
    fill: Fill,
    singles: Vec<Template>,
    units: Vec<Template>,
    cluster: bool,
    db: u8,
    /// Sent before all else, once.
    library: Option<Template>,
}

/// Commands that belong together, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The commands; of a transaction with its MULTI and EXEC.
    pub commands: Vec<Command>,
}

/// What a load met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Commands sent.
    pub commands: u64,
    /// Error replies, also inside EXEC, by their first word.
    pub errors: BTreeMap<String, u64>,
}

// === impl Workload ===

impl Workload {
    /// A load for a standalone server: databases 0 to 3, keys of one command in any slots.
    pub fn new(seed: u64, kind: Kind) -> Self {
        Self::build(seed, kind, false)
    }

    /// A load for a cluster: database 0, the keys of one unit in one slot.
    pub fn for_cluster(seed: u64, kind: Kind) -> Self {
        Self::build(seed, kind, true)
    }

    fn build(seed: u64, kind: Kind, cluster: bool) -> Self {
        let rng = Rng::with_seed(seed);
        Self {
            fill: Fill::new(cluster),
            singles: templates::singles(kind, cluster),
            units: templates::units(kind, cluster),
            rng,
            cluster,
            db: 0,
            library: templates::library(kind),
        }
    }

    /// The next commands.
    #[expect(
        clippy::should_implement_trait,
        reason = "endless: an Option would only be in the way"
    )]
    pub fn next(&mut self) -> Unit {
        let mut commands = Vec::new();
        if let Some(line) = self.library.take() {
            commands.extend(self.expand(line));
        }
        self.fill.change_slot(&mut self.rng);
        match self.rng.u8(0..100) {
            0..8 if !self.cluster => {
                self.db = self.rng.u8(0..DBS);
                commands.push(vec![b"SELECT".to_vec(), self.db.to_string().into_bytes()]);
            }
            8..16 => self.transaction(&mut commands),
            16..40 => {
                let line = pick(&mut self.rng, &self.units);
                commands.extend(self.expand(line));
            }
            _ => {
                let line = pick(&mut self.rng, &self.singles);
                commands.extend(self.expand(line));
            }
        }
        Unit { commands }
    }

    /// Runs the next `units` and reads all replies.
    ///
    /// # Errors
    /// If the connection breaks, or the server does not understand a command.
    pub fn run(&mut self, client: &mut Client, units: usize) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut left = units;
        while left > 0 {
            let window = left.min(WINDOW_UNITS);
            let commands: Vec<Command> = (0..window).flat_map(|_| self.next().commands).collect();
            let replies = client.batch(&commands)?;
            for (command, reply) in commands.iter().zip(&replies) {
                outcome.count(command, reply)?;
            }
            left -= window;
        }
        Ok(outcome)
    }

    fn transaction(&mut self, commands: &mut Vec<Command>) {
        commands.push(vec![b"MULTI".to_vec()]);
        for _ in 0..self.rng.u8(1..6) {
            let line = pick(&mut self.rng, &self.singles);
            commands.extend(self.expand(line));
        }
        commands.push(vec![b"EXEC".to_vec()]);
    }

    fn expand(&mut self, line: Template) -> Vec<Command> {
        commands(line)
            .map(|words| {
                words.into_iter().map(|word| self.fill.word(word, &mut self.rng)).collect()
            })
            .collect()
    }
}

// === impl Outcome ===

impl Outcome {
    /// All errors together.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn count(&mut self, command: &Command, reply: &Value) -> Result<()> {
        self.commands += 1;
        match reply {
            Value::Error(text) => self.failure(command, text),
            Value::Array(replies) => replies.iter().try_for_each(|reply| match reply {
                Value::Error(text) => self.failure(command, text),
                _ => Ok(()),
            }),
            _ => Ok(()),
        }
    }

    fn failure(&mut self, command: &Command, text: &str) -> Result<()> {
        let misunderstood =
            ["unknown command", "unknown subcommand", "wrong number", "syntax error", "EXECABORT"];
        if misunderstood.iter().any(|part| text.contains(part)) {
            bail!("the load is wrong: {} answered {text}", spoken(command));
        }
        let kind = text.split(' ').next().unwrap_or_default();
        *self.errors.entry(kind.to_owned()).or_default() += 1;
        Ok(())
    }
}

fn pick(rng: &mut Rng, templates: &[Template]) -> Template {
    rng.choice(templates).copied().expect("the tables are not empty")
}
