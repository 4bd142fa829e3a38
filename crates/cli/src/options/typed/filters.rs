//! What of the stream is taken, and where it goes: filters and the mapping of databases.
//!
//! Guarantees: a filter that could never do anything is a problem, not a silence.

use std::collections::BTreeMap;

use apply::filter::{CommandName, Filters, Glob, KeyPattern, Rule, ValueKind};
use apply::mapping::{DbMapping, MAPPED_DBS};
use bytes::Bytes;
use wire::command::{self, Effect, normalise};

use super::Reader;
use crate::options::near::hint;

const KINDS: [(&str, ValueKind); 7] = [
    ("string", ValueKind::String),
    ("list", ValueKind::List),
    ("set", ValueKind::Set),
    ("zset", ValueKind::SortedSet),
    ("hash", ValueKind::Hash),
    ("stream", ValueKind::Stream),
    ("module", ValueKind::Module),
];

/// What is wrong with a pattern of keys: what a server takes without a word and nobody can have meant.
pub(crate) fn pattern_problem(pattern: &str) -> Option<&'static str> {
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return Some("ends with a \\ that protects nothing"),
            '[' => {
                let mut class = 0;
                loop {
                    match rest.next() {
                        None => return Some("has a [ without its ]; \\[ is the character itself"),
                        Some(']') if class == 0 => return Some("has a [] that nothing fits"),
                        Some(']') => break,
                        Some('\\') => drop(rest.next()),
                        Some(_) => {}
                    }
                    class += 1;
                }
            }
            _ => {}
        }
    }
    pattern.is_empty().then_some("is empty: only the key without a name fits it")
}

/// What is wrong with the name of a command in a filter.
fn command_problem(name: &str) -> Option<String> {
    let upper = name.to_uppercase();
    let first_words = || command::all().iter().filter_map(|spec| spec.name.split(' ').next());
    let mut specs = command::all()
        .iter()
        .filter(|spec| spec.name.split(' ').next() == Some(upper.as_str()))
        .peekable();
    if specs.peek().is_none() {
        // Names of modules' commands have a dot; no list of them is complete.
        let hint = hint(&upper, first_words());
        return (!upper.contains('.'))
            .then(|| format!("{name:?} is not the name of a command that writes{hint}"));
    }
    let carried: Vec<_> = specs.map(|spec| (spec.effect, normalise::carried_as(spec))).collect();
    if carried
        .iter()
        .any(|(effect, _)| matches!(effect, Effect::Flush | Effect::FlushSlots | Effect::SwapDb))
    {
        return Some(format!("{name:?} cannot be left out like this: see destination.inexact"));
    }
    let names: Vec<_> = carried.iter().filter_map(|(_, name)| *name).collect();
    match names.first() {
        None => Some(format!("{name:?} never stands in a stream: its effects do")),
        Some(_) if names.contains(&upper.as_str()) => None,
        Some(other) => Some(format!("{name:?} travels as {other}: name that")),
    }
}

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn filters(&mut self) -> Filters {
        Filters {
            dbs: Rule {
                include: self.dbs("filter.include_dbs"),
                exclude: self.dbs("filter.exclude_dbs"),
            },
            keys: Rule {
                include: self.keys("filter.include_keys", "filter.include_prefixes"),
                exclude: self.keys("filter.exclude_keys", "filter.exclude_prefixes"),
            },
            kinds: Rule {
                include: self.kinds("filter.include_types"),
                exclude: self.kinds("filter.exclude_types"),
            },
            commands: Rule {
                include: self.commands("filter.include_commands"),
                exclude: self.commands("filter.exclude_commands"),
            },
        }
    }

    fn dbs(&mut self, path: &str) -> Vec<u32> {
        let mut dbs = Vec::new();
        for item in self.list(path) {
            let (first, last) = item.split_once('-').unwrap_or((&item, &item));
            match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                (Ok(first), Ok(last)) if first <= last && last < MAPPED_DBS => {
                    dbs.extend(first..=last);
                }
                _ => {
                    let what = format!(
                        "has {item:?}, which is not a database or a range of them, 0 to {}",
                        MAPPED_DBS - 1
                    );
                    self.problem(path, &what);
                }
            }
        }
        dbs
    }

    fn keys(&mut self, globs: &str, prefixes: &str) -> Vec<KeyPattern> {
        let mut patterns = Vec::new();
        for text in self.list(globs) {
            if let Some(what) = pattern_problem(&text) {
                self.problem(globs, &format!("has the pattern {text:?}, which {what}"));
            }
            patterns.push(KeyPattern::Glob(Glob::new(Bytes::from(text))));
        }
        let prefixes = self.list(prefixes).into_iter();
        patterns.extend(prefixes.map(|text| KeyPattern::Prefix(Bytes::from(text))));
        patterns
    }

    fn kinds(&mut self, path: &str) -> Vec<ValueKind> {
        let names = KINDS.map(|(name, _)| name);
        let mut kinds = Vec::new();
        for item in self.list(path) {
            match KINDS.iter().find(|(name, _)| item.eq_ignore_ascii_case(name)) {
                Some((_, kind)) => kinds.push(*kind),
                None => {
                    let (all, hint) = (names.join(", "), hint(&item, names));
                    self.problem(path, &format!("has {item:?}, which is none of {all}{hint}"));
                }
            }
        }
        kinds
    }

    fn commands(&mut self, path: &str) -> Vec<CommandName> {
        let names = self.list(path);
        for name in &names {
            if let Some(what) = command_problem(name) {
                self.problem(path, &format!("has a name that does nothing: {what}"));
            }
        }
        names.into_iter().map(CommandName).collect()
    }

    pub(super) fn mapping(&mut self) -> DbMapping {
        const PATH: &str = "map.dbs";
        let mut pairs = BTreeMap::new();
        let items = self.list(PATH);
        let mut all = None;
        for item in &items {
            let parts =
                item.split_once(':').map(|(from, to)| (from.trim(), to.trim().parse::<u32>()));
            let Some((from, Ok(to))) =
                parts.filter(|(_, to)| to.as_ref().is_ok_and(|db| *db < MAPPED_DBS))
            else {
                self.bad_pair(item);
                continue;
            };
            match from.parse::<u32>() {
                _ if from == "all" && items.len() == 1 => all = Some(to),
                _ if from == "all" => {
                    self.problem(PATH, &format!("has {item:?} and others: all:… stands alone"));
                }
                Ok(from) if from < MAPPED_DBS => {
                    if let Some(other) = pairs.insert(from, to) {
                        let what =
                            format!("sends database {from} to {other} and to {to}: name it once");
                        self.problem(PATH, &what);
                    }
                }
                _ => self.bad_pair(item),
            }
        }
        let mapping = match all {
            Some(to) => Ok(DbMapping::all_to(to)),
            None => DbMapping::of(pairs),
        };
        let mapping = mapping.unwrap_or_else(|error| {
            self.problem(PATH, &format!("cannot be: {error}"));
            DbMapping::default()
        });
        if !mapping.keeps_apart() {
            self.warning(
                PATH,
                "puts several databases into one: of keys with the same name the last write wins there",
            );
        }
        mapping
    }

    fn bad_pair(&mut self, item: &str) {
        let last = MAPPED_DBS - 1;
        self.problem(
            "map.dbs",
            &format!("has {item:?}, which is not of the form 0:5 or all:0, databases 0 to {last}"),
        );
    }
}
