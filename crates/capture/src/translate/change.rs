//! One data command to changes: made absolute, split by key where that means the same.

use bytes::Bytes;
use event::{Change, Command, Effect, GroupedChange, KeyArgs, names};
use wire::args::Args;
use wire::command::normalise::{Context, Era, Normalised, before, normalise};
use wire::command::{self, CommandSpec, Replaces, Split, by_name, is_whole_state, keys, lookup};
use wire::resp::scan::RawCommand;
use wire::slot::Slot;

use super::TranslateError;

/// Makes changes out of commands of one source.
#[derive(Debug)]
pub(super) struct ChangeMaker {
    pub(super) era: Era,
}

/// What a data command comes to.
pub(super) enum Made {
    /// It stands for itself, writes the key after its name and reads none: the most common case by far, for which
    /// nothing is allocated.
    Itself(Effect),
    /// These.
    Changes(Vec<GroupedChange>),
}

/// Where what has no key belongs.
pub(super) fn first_slot() -> Slot {
    Slot::new(0).expect("there is a slot 0")
}

// === impl ChangeMaker ===

impl ChangeMaker {
    /// The changes of a command with keys; none if it changes nothing that counts as data.
    pub(super) fn changes(
        &self,
        spec: &CommandSpec,
        raw: &RawCommand,
        db: u32,
        now_ms: i64,
    ) -> Result<Made, TranslateError> {
        let context = Context { source: self.era, received_at_ms: now_ms };
        let (spec, args) = match normalise(spec, raw, &context)? {
            Normalised::Verbatim => match itself(spec, raw)? {
                Some(effect) => return Ok(Made::Itself(effect)),
                None => (spec, owned(raw)),
            },
            Normalised::Rewritten { spec, args } => (spec, args),
            Normalised::Drop(_) | Normalised::Control | Normalised::Script => {
                return Ok(Made::Changes(Vec::new()));
            }
        };
        let mut changes = Vec::new();
        if let Some(before) = before(spec, &args, self.era) {
            let spec = lookup(&before).expect("the table knows what comes before");
            changes.extend(one_change(spec, before, db)?);
        }
        if spec.split != Split::PerKey {
            changes.extend(one_change(spec, args, db)?);
            return Ok(Made::Changes(changes));
        }
        let (spec, commands) = split_per_key(spec, args)?;
        changes.reserve(commands.len());
        for args in commands {
            changes.extend(one_change(spec, args, db)?);
        }
        Ok(Made::Changes(changes))
    }

    /// The arguments of a FUNCTION command, made independent of what the destination has.
    pub(super) fn function_args(
        &self,
        spec: &CommandSpec,
        raw: &RawCommand,
    ) -> Result<Vec<Bytes>, TranslateError> {
        let context = Context { source: self.era, received_at_ms: 0 };
        Ok(match normalise(spec, raw, &context)? {
            Normalised::Rewritten { args, .. } => args,
            _ => owned(raw),
        })
    }
}

fn owned(raw: &RawCommand) -> Vec<Bytes> {
    (0..raw.len()).filter_map(|index| raw.bytes(index)).collect()
}

/// The effect of a command that is a change as it came: its one key, not one of ours, is its first argument.
fn itself(spec: &CommandSpec, raw: &RawCommand) -> Result<Option<Effect>, TranslateError> {
    if spec.split == Split::PerKey && raw.len() > 2 {
        return Ok(None);
    }
    let found = keys::keys(spec, raw)?;
    let ours = || raw.get(1).is_some_and(names::is_ours);
    Ok((writes_first_only(&found) && !ours()).then(|| effect_of(spec, raw)))
}

/// The change of a command that is one as it came.
pub(super) fn change_itself(raw: &RawCommand, effect: Effect, db: u32) -> GroupedChange {
    let key = raw.bytes(1).unwrap_or_default();
    let command = Command { args: owned(raw), effect, keys: KeyArgs::First };
    GroupedChange { db, slot: Slot::of_key(&key), key, change: Change::Command(command) }
}

/// The change that one command is; none if all its keys are ours.
fn one_change(
    spec: &CommandSpec,
    args: Vec<Bytes>,
    db: u32,
) -> Result<Option<GroupedChange>, TranslateError> {
    let found = keys::keys(spec, &args)?;
    let mut named = found.iter().filter_map(|at| args.get(at.index));
    if found.is_empty() || named.any(|key| !names::is_ours(key)) {
        let home = home_key(&found).and_then(|at| args.bytes(at));
        let key = home.ok_or_else(|| TranslateError::NoKeys { command: spec.name.to_string() })?;
        let (effect, keys) = (effect_of(spec, &args), key_args(&found));
        let slot = Slot::of_key(&key);
        let change = Change::Command(Command { args, effect, keys });
        return Ok(Some(GroupedChange { db, slot, key, change }));
    }
    Ok(None)
}

/// The change that a script is: it stands at the first key that it declares, if any.
pub(super) fn change_of_script(args: Vec<Bytes>, db: u32) -> Result<GroupedChange, TranslateError> {
    let spec = by_name("EVAL").expect("the table knows EVAL");
    let found = keys::keys(spec, &args)?;
    let key = found.iter().next().and_then(|at| args.bytes(at.index));
    let slot = key.as_deref().map_or_else(first_slot, Slot::of_key);
    let keys = if key.is_some() { key_args(&found) } else { KeyArgs::First };
    let command = Command { args, effect: Effect::Merge, keys };
    let (key, change) = (key.unwrap_or_default(), Change::Command(command));
    Ok(GroupedChange { db, slot, key, change })
}

/// The key whose new state the command makes: of RENAME the second, of all others the first that is
/// written. None if it writes nothing.
fn home_key(found: &keys::Keys) -> Option<usize> {
    let written_only = found.iter().find(|key| key.access == keys::Access::Write);
    let home = written_only.or_else(|| found.iter().find(|key| key.access.writes()));
    home.map(|key| key.index)
}

/// Whether the argument after the name is written, and no other is a key.
fn writes_first_only(found: &keys::Keys) -> bool {
    let mut all = found.iter();
    let first = all.next().is_some_and(|key| key.index == 1 && key.access.writes());
    first && all.next().is_none()
}

fn key_args(found: &keys::Keys) -> KeyArgs {
    let listed = |wanted: bool| {
        let keys = found.iter().filter(|key| key.access.writes() == wanted);
        let mut indexes: Vec<u32> = keys.map(|key| index(key.index)).collect();
        // MOVE names one key for two databases.
        indexes.dedup();
        indexes
    };
    match (listed(true), listed(false)) {
        (written, read) if written == [1] && read.is_empty() => KeyArgs::First,
        (written, read) => KeyArgs::Listed { written, read },
    }
}

fn effect_of<A: Args + ?Sized>(spec: &CommandSpec, args: &A) -> Effect {
    match (spec.effect, spec.replaces) {
        (command::Effect::Delete, _) => Effect::Delete,
        (command::Effect::Expire, _) => Effect::Expire,
        (command::Effect::Overwrite, Replaces::Full)
            if is_whole_state(spec, args) || spec.reads_other_keys =>
        {
            Effect::Overwrite
        }
        _ => Effect::Merge,
    }
}

/// One command per key, each meaning what its share of the whole did, and what they are.
fn split_per_key(
    spec: &CommandSpec,
    args: Vec<Bytes>,
) -> Result<(&CommandSpec, Vec<Vec<Bytes>>), TranslateError> {
    let set = || by_name("SET").expect("the table knows SET");
    let malformed = |what| TranslateError::Malformed { command: spec.name.to_string(), what };
    match spec.name.as_ref() {
        "MSET" => {
            let data = args.as_slice().get(1..).unwrap_or_default();
            if data.is_empty() || data.len() % 2 != 0 {
                return Err(malformed("a value is missing"));
            }
            Ok((set(), sets(data, &[])))
        }
        "MSETEX" => {
            let args = args.as_slice();
            let count = args.get(1).and_then(|count| super::parse::<usize>(count));
            let end = count.and_then(|count| count.checked_mul(2)?.checked_add(2));
            let data = end.and_then(|end| args.get(2..end)).filter(|data| !data.is_empty());
            let data = data.ok_or_else(|| malformed("the number of keys does not fit"))?;
            let options = args.get(2 + data.len()..).unwrap_or_default();
            Ok((set(), sets(data, options)))
        }
        _ if args.len() <= 2 => Ok((spec, vec![args])),
        _ => {
            let name = args.first().cloned().unwrap_or_default();
            let keys = args.into_iter().skip(1);
            Ok((spec, keys.map(|key| vec![name.clone(), key]).collect()))
        }
    }
}

/// `SET key value` with those options, for each pair.
fn sets(data: &[Bytes], options: &[Bytes]) -> Vec<Vec<Bytes>> {
    let name = Bytes::from_static(b"SET");
    let set = |pair: &[Bytes]| {
        let mut args = Vec::with_capacity(1 + pair.len() + options.len());
        args.push(name.clone());
        args.extend_from_slice(pair);
        args.extend_from_slice(options);
        args
    };
    data.chunks_exact(2).map(set).collect()
}

fn index(index: usize) -> u32 {
    u32::try_from(index).expect("a command has fewer arguments than bytes")
}
