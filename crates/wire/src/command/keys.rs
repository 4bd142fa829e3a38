//! Which arguments of a command are keys, and which of them it reads and writes.
//!
//! Nothing is allocated: keys are given as a few runs of equally spaced arguments. In the table the
//! runs are written as
//!
//! | text | meaning |
//! |---|---|
//! | `w1` | argument 1 is written |
//! | `r2..-1` | arguments 2 to the last are read, for the sake of the written key |
//! | `x1` | argument 1 is read for another key and is written itself |
//! | `w1..-1/2` | every second argument from 1 on |
//! | `r#2` | argument 2 counts the keys after it |
//! | `w#1/2` | argument 1 counts the pairs after it, of which the first half is the key |
//!
//! and the commands whose options decide have a word of their own.

mod finder;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::finder::KeyFinder;
use super::CommandSpec;
use crate::args::Args;

/// No command has more runs of keys.
const MAX_RUNS: usize = 3;

/// The keys of one command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    runs: [Run; MAX_RUNS],
    other_db: Option<u32>,
    reads_unlisted: bool,
}

/// One key of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyAt {
    /// The argument that is the key.
    pub index: usize,
    /// What the command does with it.
    pub access: Access,
    /// Whether it is meant in [`Keys::other_db`] and not in the selected db.
    pub in_other_db: bool,
}

/// What a command does with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it, for the sake of another key.
    #[default]
    Read,
    /// Writes it.
    Write,
    /// Reads it for the sake of another key, and writes it too: `RENAME` takes its source away.
    Take,
}

/// Why the keys of a command cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{command}: {problem}")]
pub struct KeyError {
    /// The name of the command.
    pub command: String,
    /// What is the matter with its arguments.
    pub problem: KeyProblem,
}

/// What is the matter with the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyProblem {
    /// There are too few of them.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// One of them should be a number.
    #[error("{0} is not a number in range")]
    NotANumber(&'static str),
    /// The command is always rewritten before it is replicated, so nobody has to know its keys.
    #[error("servers never replicate it under this name")]
    NeverReplicated,
}

/// Equally spaced keys of one access.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Run {
    first: usize,
    count: usize,
    step: usize,
    access: Access,
    in_other_db: bool,
}

/// The keys of a command with these arguments.
///
/// # Errors
/// When arguments are missing or the numbers among them do not fit.
pub fn keys<A: Args + ?Sized>(spec: &CommandSpec, args: &A) -> Result<Keys, KeyError> {
    spec.keys
        .resolve(args)
        .map_err(|problem| KeyError { command: spec.name.clone().into_owned(), problem })
}

// === impl Keys ===

impl Keys {
    /// Every key, in the order of the table's runs.
    pub fn iter(&self) -> impl Iterator<Item = KeyAt> + '_ {
        self.runs.iter().flat_map(|run| {
            (0..run.count).map(|nth| KeyAt {
                index: run.first + nth * run.step,
                access: run.access,
                in_other_db: run.in_other_db,
            })
        })
    }

    /// The positions of the written keys.
    pub fn written(&self) -> impl Iterator<Item = usize> + '_ {
        self.iter().filter(|key| key.access.writes()).map(|key| key.index)
    }

    /// The positions of the keys read for the sake of others.
    pub fn read(&self) -> impl Iterator<Item = usize> + '_ {
        self.iter().filter(|key| key.access.reads()).map(|key| key.index)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The position of the key, if there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<usize> {
        let [first, ..] = self.runs;
        (first.count == 1 && self.len() == 1).then_some(first.first)
    }

    /// The db in which the keys marked so are meant: the destination of `MOVE` and of `COPY … DB`.
    #[must_use]
    pub fn other_db(&self) -> Option<u32> {
        self.other_db
    }

    /// Whether it also reads keys that are not among its arguments: patterns of `SORT`, a script.
    #[must_use]
    pub fn reads_unlisted(&self) -> bool {
        self.reads_unlisted
    }

    /// Takes a run into the first free place; there is one for all that the finders make.
    fn push(&mut self, run: Run) {
        if let Some(free) = self.runs.iter_mut().find(|run| run.count == 0) {
            *free = run;
        }
    }
}

// === impl Access ===

impl Access {
    /// Whether the key's value goes into another key.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Take)
    }

    /// Whether the key changes.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Take)
    }
}
