//! One data command to changes: made absolute, split by key where that means the same.

use bytes::Bytes;
use event::{Change, Command, Effect, GroupedChange, KeyArgs, names};
use wire::args::Args;
use wire::command::normalise::{Context, Era, Normalised, normalise};
use wire::command::{self, CommandSpec, Replaces, Split, is_whole_state, keys, lookup};
use wire::resp::scan::RawCommand;
use wire::slot::Slot;

use super::TranslateError;

/// Makes changes out of commands of one source.
#[derive(Debug)]
pub(super) struct ChangeMaker {
    pub(super) era: Era,
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
        raw: &RawCommand,
        spec: &CommandSpec,
        db: u32,
        now_ms: i64,
    ) -> Result<Vec<GroupedChange>, TranslateError> {
        let context = Context { source: self.era, received_at_ms: now_ms };
        let (spec, args) = match normalise(spec, raw, &context)? {
            Normalised::Verbatim => (spec, owned(raw)),
            Normalised::Rewritten { spec, args } => (spec, args),
            Normalised::Drop(_) | Normalised::Control | Normalised::Script => return Ok(Vec::new()),
        };
        let split = match spec.split {
            Split::PerKey => split_per_key(spec, args),
            _ => vec![args],
        };
        let mut changes = Vec::with_capacity(split.len());
        for args in split {
            let spec = lookup(&args).unwrap_or(spec);
            changes.extend(one_change(spec, args, db)?);
        }
        Ok(changes)
    }

    /// The arguments of a FUNCTION command, made independent of what the destination has.
    pub(super) fn function_args(&self, raw: &RawCommand) -> Result<Vec<Bytes>, TranslateError> {
        let spec =
            lookup(raw).ok_or_else(|| TranslateError::unknown(raw.get(0).unwrap_or_default()))?;
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

fn one_change(
    spec: &CommandSpec,
    args: Vec<Bytes>,
    db: u32,
) -> Result<Option<GroupedChange>, TranslateError> {
    let found = keys::keys(spec, &args)?;
    let (keys, home) = match found.single() {
        Some(1) => (KeyArgs::First, 1),
        _ => {
            let written: Vec<u32> = found.written().map(index).collect();
            let read = found
                .iter()
                .filter(|key| !key.access.writes())
                .map(|key| index(key.index))
                .collect();
            let home = home_key(&found);
            (KeyArgs::Listed { written, read }, home)
        }
    };
    let Some(key) = args.bytes(home) else { return Ok(None) };
    if names::is_ours(&key) {
        return Ok(None);
    }
    let effect = effect_of(spec, &args);
    let slot = Slot::of_key(&key);
    let change = Change::Command(Command { args, effect, keys });
    Ok(Some(GroupedChange { db, slot, key, change }))
}

/// The key whose new state the command makes: of RENAME the second, of all others the first that is written.
fn home_key(found: &keys::Keys) -> usize {
    let written_only = found.iter().find(|key| key.access == keys::Access::Write);
    written_only.or_else(|| found.iter().find(|key| key.access.writes())).map_or(1, |key| key.index)
}

fn effect_of(spec: &CommandSpec, args: &Vec<Bytes>) -> Effect {
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

/// One command per key, each meaning what its share of the whole did.
fn split_per_key(spec: &CommandSpec, args: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let set = || Bytes::from_static(b"SET");
    match spec.name.as_ref() {
        "MSET" => pairs(args.as_slice().get(1..).unwrap_or_default())
            .map(|(key, value)| vec![set(), key, value])
            .collect(),
        "MSETEX" => {
            let count = args.get(1).and_then(super::parse::<usize>).unwrap_or(0);
            let behind = args.as_slice().get(2..).unwrap_or_default();
            let (data, options) = behind.split_at((2 * count).min(behind.len()));
            pairs(data)
                .map(|(key, value)| [vec![set(), key, value], options.to_vec()].concat())
                .collect()
        }
        _ if args.len() <= 2 => vec![args],
        _ => {
            let name = args.bytes(0).unwrap_or_default();
            args.into_iter().skip(1).map(|key| vec![name.clone(), key]).collect()
        }
    }
}

fn pairs(args: &[Bytes]) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
    args.chunks_exact(2).filter_map(|pair| match pair {
        [key, value] => Some((key.clone(), value.clone())),
        _ => None,
    })
}

fn index(index: usize) -> u32 {
    u32::try_from(index).expect("a command has fewer arguments than bytes")
}
