//! How the keys of one command are found: the parsed form of the table's `keys` column.

use super::{Access, KeyProblem, Keys, MAX_RUNS, Run};
use crate::args::{Args, integer, is_word};

/// How the keys of one command are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFinder(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runs([Option<RunRule>; MAX_RUNS]),
    /// `COPY source destination [DB n]`.
    Copy,
    /// `MOVE key db`.
    Move,
    /// `SORT key … [STORE destination]`.
    Sort,
    /// `GEORADIUS key …`, its options from this argument on.
    GeoRadius(usize),
    /// `XREADGROUP … STREAMS key … id …`.
    Streams,
    /// `EVAL script numkeys key …`.
    Script,
    Never,
}

/// Where one run of keys is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RunRule {
    access: Access,
    extent: Extent,
    step: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// From one argument to another; a negative one counts from the end.
    Fixed { first: usize, last: isize },
    /// As many as that argument says, after it.
    Counted { at: usize },
}

// === impl KeyFinder ===

impl KeyFinder {
    /// A finder of one run, from one argument to another, which counts from the end if negative.
    pub(in crate::command) fn range(
        access: Access,
        first: usize,
        last: isize,
        step: usize,
    ) -> Self {
        let rule = RunRule { access, extent: Extent::Fixed { first, last }, step: step.max(1) };
        Self(Kind::Runs([Some(rule), None, None]))
    }

    /// A finder of keys side by side, from one argument to another each; none if there are too many runs.
    pub(in crate::command) fn runs(access: Access, runs: &[(usize, usize)]) -> Option<Self> {
        let mut rules = [None; MAX_RUNS];
        for (nth, (first, last)) in runs.iter().enumerate() {
            let last = isize::try_from(*last).ok()?;
            let extent = Extent::Fixed { first: *first, last };
            *rules.get_mut(nth)? = Some(RunRule { access, extent, step: 1 });
        }
        Some(Self(Kind::Runs(rules)))
    }

    /// Parses a cell of the table.
    pub(in crate::command) fn parse(text: &str) -> Option<Self> {
        Some(Self(match text {
            "-" => Kind::Runs([None; MAX_RUNS]),
            "copy" => Kind::Copy,
            "move" => Kind::Move,
            "sort" => Kind::Sort,
            "streams" => Kind::Streams,
            "script" => Kind::Script,
            "never" => Kind::Never,
            _ => match text.strip_prefix("georadius@") {
                Some(options) => Kind::GeoRadius(options.parse().ok()?),
                None => Kind::Runs(parse_runs(text)?),
            },
        }))
    }

    /// Whether keys are read for the sake of others.
    pub(in crate::command) fn reads(&self) -> bool {
        match &self.0 {
            Kind::Runs(rules) => rules.iter().flatten().any(|rule| rule.access.reads()),
            Kind::Copy | Kind::Move | Kind::Sort | Kind::GeoRadius(_) | Kind::Script => true,
            Kind::Streams | Kind::Never => false,
        }
    }

    pub(super) fn resolve<A: Args + ?Sized>(&self, args: &A) -> Result<Keys, KeyProblem> {
        let mut keys = Keys::default();
        match &self.0 {
            Kind::Runs(rules) => {
                for rule in rules.iter().flatten() {
                    keys.push(rule.resolve(args)?);
                }
            }
            Kind::Copy => copy(args, &mut keys)?,
            Kind::Move => {
                keys.push(one(args, 1, Access::Take)?);
                keys.push(Run { in_other_db: true, ..one(args, 1, Access::Write)? });
                keys.other_db = Some(db(args, 2)?);
            }
            Kind::Sort => sort(args, &mut keys)?,
            Kind::GeoRadius(options) => {
                keys.push(one(args, 1, Access::Read)?);
                let stores =
                    |at: &usize| is_word(args, *at, "STORE") || is_word(args, *at, "STOREDIST");
                // The last one counts.
                if let Some(at) = (*options..args.len().saturating_sub(1)).rfind(stores) {
                    keys.push(one(args, at + 1, Access::Write)?);
                }
            }
            Kind::Streams => keys.push(streams(args)?),
            Kind::Script => {
                keys.push(RunRule::counted(Access::Take, 2).resolve(args)?);
                keys.reads_unlisted = true;
            }
            Kind::Never => return Err(KeyProblem::NeverReplicated),
        }
        Ok(keys)
    }
}

fn copy<A: Args + ?Sized>(args: &A, keys: &mut Keys) -> Result<(), KeyProblem> {
    let option = (3..args.len()).find(|at| is_word(args, *at, "DB"));
    keys.other_db = option.map(|at| db(args, at + 1)).transpose()?;
    keys.push(one(args, 1, Access::Read)?);
    let in_other_db = keys.other_db.is_some();
    keys.push(Run { in_other_db, ..one(args, 2, Access::Write)? });
    Ok(())
}

fn sort<A: Args + ?Sized>(args: &A, keys: &mut Keys) -> Result<(), KeyProblem> {
    let mut store = None;
    let mut at = 2;
    while at < args.len() {
        if is_word(args, at, "STORE") {
            // The last one counts.
            store = Some(one(args, at + 1, Access::Write)?);
            at += 1;
        } else if is_word(args, at, "BY") || is_word(args, at, "GET") {
            at += 1;
            let pattern = args.get(at).ok_or(KeyProblem::Missing("a pattern"))?;
            keys.reads_unlisted |= pattern.contains(&b'*');
        } else if is_word(args, at, "LIMIT") {
            at += 2;
        }
        at += 1;
    }
    keys.push(one(args, 1, Access::Read)?);
    if let Some(store) = store {
        keys.push(store);
    }
    Ok(())
}

fn streams<A: Args + ?Sized>(args: &A) -> Result<Run, KeyProblem> {
    let word = (4..args.len())
        .find(|at| is_word(args, *at, "STREAMS"))
        .ok_or(KeyProblem::Missing("the word STREAMS"))?;
    let pairs = args.len() - word - 1;
    if pairs == 0 || !pairs.is_multiple_of(2) {
        return Err(KeyProblem::Missing("an id for every stream"));
    }
    let access = Access::Write;
    Ok(Run { first: word + 1, count: pairs / 2, step: 1, access, in_other_db: false })
}

/// The key at one position.
fn one<A: Args + ?Sized>(args: &A, index: usize, access: Access) -> Result<Run, KeyProblem> {
    if index >= args.len() {
        return Err(KeyProblem::Missing("a key"));
    }
    Ok(Run { first: index, count: 1, step: 1, access, in_other_db: false })
}

fn db<A: Args + ?Sized>(args: &A, index: usize) -> Result<u32, KeyProblem> {
    let argument = args.get(index).ok_or(KeyProblem::Missing("the number of the db"))?;
    integer(argument)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or(KeyProblem::NotANumber("the number of the db"))
}

// === impl RunRule ===

impl RunRule {
    fn counted(access: Access, at: usize) -> Self {
        Self { access, extent: Extent::Counted { at }, step: 1 }
    }

    fn resolve<A: Args + ?Sized>(&self, args: &A) -> Result<Run, KeyProblem> {
        let Self { access, step, .. } = *self;
        let (first, count) = match self.extent {
            Extent::Fixed { first, last } => (first, self.count_fixed(args.len(), first, last)?),
            Extent::Counted { at } => (at + 1, self.count_announced(args, at)?),
        };
        Ok(Run { first, count, step, access, in_other_db: false })
    }

    fn count_fixed(&self, len: usize, first: usize, last: isize) -> Result<usize, KeyProblem> {
        let end = match usize::try_from(last) {
            Ok(last) => last + 1,
            Err(_) => (len + 1).saturating_sub(last.unsigned_abs()),
        };
        if end > len || (end <= first && self.access != Access::Read) {
            return Err(KeyProblem::Missing("a key"));
        }
        let span = end.saturating_sub(first);
        if !span.is_multiple_of(self.step) {
            return Err(KeyProblem::Missing("a value for the last key"));
        }
        Ok(span / self.step)
    }

    fn count_announced<A: Args + ?Sized>(&self, args: &A, at: usize) -> Result<usize, KeyProblem> {
        let argument = args.get(at).ok_or(KeyProblem::Missing("the number of keys"))?;
        let count = integer(argument)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(KeyProblem::NotANumber("the number of keys"))?;
        let room = (args.len() - at - 1) / self.step;
        if count > room { Err(KeyProblem::Missing("a key")) } else { Ok(count) }
    }
}

fn parse_runs(text: &str) -> Option<[Option<RunRule>; MAX_RUNS]> {
    let mut rules = [None; MAX_RUNS];
    for (nth, word) in text.split(' ').enumerate() {
        *rules.get_mut(nth)? = Some(parse_run(word)?);
    }
    Some(rules)
}

fn parse_run(word: &str) -> Option<RunRule> {
    let access = match word.get(..1)? {
        "w" => Access::Write,
        "r" => Access::Read,
        "x" => Access::Take,
        _ => return None,
    };
    let (place, step) = match word.get(1..)?.split_once('/') {
        Some((place, step)) => (place, step.parse().ok()?),
        None => (word.get(1..)?, 1),
    };
    let extent = if let Some(at) = place.strip_prefix('#') {
        Extent::Counted { at: at.parse().ok()? }
    } else if let Some((first, last)) = place.split_once("..") {
        Extent::Fixed { first: first.parse().ok()?, last: last.parse().ok()? }
    } else {
        Extent::Fixed { first: place.parse().ok()?, last: place.parse().ok()? }
    };
    (step > 0).then_some(RunRule { access, extent, step })
}
