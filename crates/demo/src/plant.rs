//! The demo's check of itself: one small thing of each kind is changed at the destination, and the
//! comparison must name each of them and nothing else.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use testkit::dataset::{Content, Entry};
use testkit::{Client, Command, Dataset};

use crate::keys;
use crate::words::words;

/// What was changed: the database and key, or the function library.
pub(crate) type Planted = BTreeSet<(Option<u32>, Vec<u8>)>;

/// What to look for in a key's value, and how to change it; a deadline by so much that it
/// cannot be forgiven, even where a server tells it so roughly.
struct Plant {
    db: u32,
    suits: fn(&Entry) -> bool,
    change: fn(&[u8], &Entry, u64) -> Option<Command>,
}

const PLANTS: &[Plant] = &[
    Plant {
        db: keys::WORDS,
        suits: |entry| matches!(&entry.content, Content::String(v) if v.starts_with(b"{")),
        change: |key, _, _| Some(words!["SETRANGE", key.to_vec(), 3_u32, "X"]),
    },
    Plant {
        db: keys::WORDS,
        suits: |entry| matches!(entry.content, Content::List(_)),
        change: |key, _, _| Some(words!["LSET", key.to_vec(), "-1", "planted"]),
    },
    Plant {
        db: keys::WORDS,
        suits: |entry| matches!(entry.content, Content::Set(_)),
        change: |key, _, _| Some(words!["SADD", key.to_vec(), "planted"]),
    },
    Plant {
        db: keys::PLACES,
        suits: |entry| matches!(entry.content, Content::Hash(_)),
        change: |key, _, _| Some(words!["HINCRBY", key.to_vec(), "population", 1_u32]),
    },
    Plant {
        db: keys::NAMES,
        suits: |entry| matches!(entry.content, Content::Zset(_)),
        change: |key, _, _| Some(words!["ZADD", key.to_vec(), "0.5", "PLANTED"]),
    },
    Plant { db: keys::HISTORY, suits: has_pending, change: acknowledge },
    Plant {
        db: keys::HISTORY,
        suits: |entry| matches!(&entry.content, Content::Stream(s) if s.groups.is_empty()),
        change: |key, _, _| Some(words!["XADD", key.to_vec(), "*", "planted", "1"]),
    },
    Plant {
        db: keys::CHARACTERS,
        suits: |entry| entry.expires_at_ms.is_some(),
        change: |key, entry, slack_ms| {
            let at_ms = entry.expires_at_ms? + 2 * slack_ms + 1;
            Some(words!["PEXPIREAT", key.to_vec(), at_ms])
        },
    },
    Plant {
        db: keys::LANGUAGES,
        suits: |_| true,
        change: |key, _, _| Some(words!["DEL", key.to_vec()]),
    },
];

/// Changes one thing of each kind at the destination, whose data was read before. Deadlines that
/// differ by `slack_ms` are forgiven.
///
/// # Errors
/// If the data lacks something to change, or the destination refuses.
pub(crate) fn plant(client: &mut Client, known: &Dataset, slack_ms: u64) -> Result<Planted> {
    let mut planted = Planted::new();
    for plant in PLANTS {
        let keys = known.dbs.get(&plant.db).context("a database that the demo fills")?;
        let free = |key: &Vec<u8>| !planted.contains(&(Some(plant.db), key.clone()));
        let found = keys.iter().find(|(key, entry)| free(key) && (plant.suits)(entry));
        let (key, entry) =
            found.with_context(|| format!("nothing to change in db {}", plant.db))?;
        let command =
            (plant.change)(key, entry, slack_ms).context("a change that does not suit")?;
        client.select(plant.db)?;
        client.cmd(&command)?;
        planted.insert((Some(plant.db), key.clone()));
    }
    client.select(keys::ARCHIVE)?;
    client.cmd(&["SET", "planted", "1"])?;
    planted.insert((Some(keys::ARCHIVE), b"planted".to_vec()));
    if known.functions.as_ref().is_some_and(|libraries| libraries.contains_key(keys::LIBRARY)) {
        client.cmd(&["FUNCTION", "DELETE", keys::LIBRARY])?;
        planted.insert((None, keys::LIBRARY.into()));
    }
    Ok(planted)
}

/// Fails unless what was found is what was planted.
///
/// # Errors
/// If something was not found, or something else was.
pub(crate) fn check(planted: &Planted, found: &Planted) -> Result<()> {
    let name = |(_, key): &(Option<u32>, Vec<u8>)| testkit::abridged(key);
    if let Some(missed) = planted.difference(found).next() {
        bail!("the comparison did not find what was changed in {}", name(missed));
    }
    if let Some(surplus) = found.difference(planted).next() {
        bail!("the comparison found a difference in {} that was not made", name(surplus));
    }
    Ok(())
}

fn has_pending(entry: &Entry) -> bool {
    match &entry.content {
        Content::Stream(stream) => stream.groups.values().any(|group| !group.pending.is_empty()),
        _ => false,
    }
}

fn acknowledge(key: &[u8], entry: &Entry, _: u64) -> Option<Command> {
    let Content::Stream(stream) = &entry.content else { return None };
    let (name, group) = stream.groups.iter().find(|(_, group)| !group.pending.is_empty())?;
    let id = group.pending.keys().next()?;
    Some(words!["XACK", key.to_vec(), name, id])
}
