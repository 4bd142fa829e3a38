//! Reads a server's data through pipelines: three round trips per thousand keys.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::clock::{self, server_ms};
use super::{Content, Dataset, Entry, Field, Score, StreamValue, VECTOR_SET};
use crate::client::{Client, Command, abridged, command};
use crate::value::Value;

/// Keys handled in one go, and asked for per SCAN.
const CHUNK_KEYS: usize = 1000;
/// The same for a server that tells deadlines as times from now on: all are told at one moment.
const CHUNK_KEYS_OF_ONE_MOMENT: usize = 200;
/// What DUMP puts behind a value: version (2 bytes) and checksum (8).
const DUMP_FOOTER_BYTES: usize = 10;

/// A count above any vector set's, which makes VRANDMEMBER name every element once.
const ALL_ELEMENTS: &str = "1000000000";

/// What HPEXPIRETIME says of a field that is not there.
const NO_FIELD: i64 = -2;

/// What this server can be asked.
struct Abilities {
    absolute_expiry: bool,
    field_expiry: bool,
    functions: bool,
    /// `XINFO STREAM … FULL`.
    whole_streams: bool,
}

pub(super) fn dataset(client: &mut Client) -> Result<Dataset> {
    let abilities = Abilities {
        absolute_expiry: knows(client, "pexpiretime")?,
        field_expiry: knows(client, "hpexpiretime")?,
        functions: knows(client, "function")?,
        // Both came with 6.0.
        whole_streams: knows(client, "acl")?,
    };
    let chunk_keys = if abilities.absolute_expiry { CHUNK_KEYS } else { CHUNK_KEYS_OF_ONE_MOMENT };
    let mut dbs = BTreeMap::new();
    for db in populated(client)? {
        client.select(db)?;
        let keys: Vec<Vec<u8>> = scan(client)?.into_iter().collect();
        let mut entries = BTreeMap::new();
        for chunk in keys.chunks(chunk_keys) {
            read_chunk(client, &abilities, chunk, &mut entries)
                .with_context(|| format!("read database {db}"))?;
        }
        if !entries.is_empty() {
            dbs.insert(db, entries);
        }
    }
    client.select(0)?;
    let functions = if abilities.functions { Some(functions(client)?) } else { None };
    Ok(Dataset { read_at_ms: server_ms(&client.cmd(&["TIME"])?)?, dbs, functions })
}

fn knows(client: &mut Client, name: &str) -> Result<bool> {
    let info = client.cmd(&["COMMAND", "INFO", name])?.array()?;
    Ok(matches!(info.first(), Some(Value::Array(members)) if !members.is_empty()))
}

/// The databases that hold keys.
fn populated(client: &mut Client) -> Result<Vec<u32>> {
    let info = client.info("keyspace")?;
    let dbs = info.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':'));
    dbs.map(|(db, _)| db.parse().with_context(|| format!("not a database: {db}"))).collect()
}

/// All keys of the selected database; a set, because SCAN may name a key twice.
fn scan(client: &mut Client) -> Result<BTreeSet<Vec<u8>>> {
    let mut keys = BTreeSet::new();
    let mut cursor = "0".to_owned();
    let count = CHUNK_KEYS.to_string();
    loop {
        let reply = client.cmd(&["SCAN", &cursor, "COUNT", &count])?.array()?;
        let Ok([next, found]) = <[Value; 2]>::try_from(reply) else {
            bail!("SCAN did not answer with a cursor and keys");
        };
        keys.extend(found.list()?);
        cursor = next.text()?;
        if cursor == "0" {
            return Ok(keys);
        }
    }
}

fn read_chunk(
    client: &mut Client,
    abilities: &Abilities,
    keys: &[Vec<u8>],
    into: &mut BTreeMap<Vec<u8>, Entry>,
) -> Result<()> {
    let known = types_and_deadlines(client, abilities, keys)?;
    let in_parts = |known: &Known<'_>| known.type_name == "stream" && !abilities.whole_streams;
    let (told_in_parts, known): (Vec<_>, Vec<_>) = known.into_iter().partition(in_parts);
    let questions: Vec<Command> =
        known.iter().map(|known| question(&known.type_name, known.key)).collect();
    let values = client.batch(&questions)?;
    let mut read = Vec::with_capacity(known.len());
    for (known, value) in known.into_iter().zip(values) {
        // A key may expire between two questions; then it is not there.
        match value {
            Value::Nil => continue,
            Value::Error(text) if text.contains("no such key") => continue,
            Value::Error(text) => bail!("{} answered {text}", abridged(known.key)),
            _ => {}
        }
        let content = content(&known.type_name, value)
            .with_context(|| format!("read key {}", abridged(known.key)))?;
        read.push((known.key, Entry { content, expires_at_ms: known.expires_at_ms }));
    }
    for Known { key, expires_at_ms, .. } in told_in_parts {
        if let Some(stream) = StreamValue::read_parts(client, key)? {
            let content = Content::Stream(Box::new(stream));
            read.push((key, Entry { content, expires_at_ms }));
        }
    }
    if abilities.field_expiry {
        field_deadlines(client, &mut read)?;
    }
    vectors(client, &mut read)?;
    let kept = read.into_iter().filter(|(_, entry)| !is_gone(&entry.content));
    into.extend(kept.map(|(key, entry)| (key.clone(), entry)));
    Ok(())
}

/// Whether a collection came back empty: no server keeps one, so the key went in between.
fn is_gone(content: &Content) -> bool {
    match content {
        Content::List(list) => list.is_empty(),
        Content::Set(set) => set.is_empty(),
        Content::Hash(hash) => hash.is_empty(),
        Content::Zset(zset) => zset.is_empty(),
        Content::Vectors(vectors) => vectors.is_empty(),
        Content::String(_) | Content::Stream(_) | Content::Opaque(..) => false,
    }
}

struct Known<'a> {
    key: &'a Vec<u8>,
    type_name: String,
    expires_at_ms: Option<u64>,
}

/// Types and deadlines of the keys that are (still) there.
fn types_and_deadlines<'a>(
    client: &mut Client,
    abilities: &Abilities,
    keys: &'a [Vec<u8>],
) -> Result<Vec<Known<'a>>> {
    let deadline = if abilities.absolute_expiry { "PEXPIRETIME" } else { "PTTL" };
    let mut questions = Vec::with_capacity(2 * keys.len());
    for key in keys {
        questions.push(vec![b"TYPE".to_vec(), key.clone()]);
        questions.push(vec![deadline.as_bytes().to_vec(), key.clone()]);
    }
    let (now_ms, replies) = match abilities.absolute_expiry {
        true => (0, client.all(&questions)?),
        false => clock::ask(client, &questions)?,
    };
    let mut replies = replies.into_iter();
    let mut known = Vec::with_capacity(keys.len());
    for key in keys {
        let (Some(type_name), Some(deadline)) = (replies.next(), replies.next()) else {
            bail!("fewer replies than questions");
        };
        let type_name = type_name.text()?;
        if type_name == "none" {
            continue;
        }
        // Negative: no deadline, or no key any more, which the value will show.
        let expires_at_ms = u64::try_from(deadline.int()?)
            .ok()
            .map(|ms| if abilities.absolute_expiry { ms } else { now_ms + ms });
        known.push(Known { key, type_name, expires_at_ms });
    }
    Ok(known)
}

fn question(type_name: &str, key: &[u8]) -> Command {
    let (before, after): (&[&str], &[&str]) = match type_name {
        "string" => (&["GET"], &[]),
        "list" => (&["LRANGE"], &["0", "-1"]),
        "set" => (&["SMEMBERS"], &[]),
        "hash" => (&["HGETALL"], &[]),
        "zset" => (&["ZRANGE"], &["0", "-1", "WITHSCORES"]),
        "stream" => (&["XINFO", "STREAM"], &["FULL", "COUNT", "0"]),
        VECTOR_SET => (&["VRANDMEMBER"], &[ALL_ELEMENTS]),
        _ => (&["DUMP"], &[]),
    };
    let mut words = command(before);
    words.push(key.to_vec());
    words.extend(command(after));
    words
}

fn content(type_name: &str, value: Value) -> Result<Content> {
    Ok(match type_name {
        "string" => Content::String(value.bytes()?),
        "list" => Content::List(value.list()?),
        "set" => Content::Set(value.list()?.into_iter().collect()),
        "hash" => {
            let mut hash = BTreeMap::new();
            for (field, value) in value.pairs()? {
                hash.insert(field.bytes()?, Field { value: value.bytes()?, expires_at_ms: None });
            }
            Content::Hash(hash)
        }
        "zset" => {
            let mut zset = BTreeMap::new();
            for (member, score) in value.pairs()? {
                zset.insert(member.bytes()?, parse_score(score.text()?)?);
            }
            Content::Zset(zset)
        }
        "stream" => Content::Stream(Box::new(StreamValue::parse(&value)?)),
        VECTOR_SET => {
            let elements = value.list()?.into_iter();
            Content::Vectors(elements.map(|element| (element, String::new())).collect())
        }
        other => {
            let mut dump = value.bytes()?;
            dump.truncate(dump.len().saturating_sub(DUMP_FOOTER_BYTES));
            Content::Opaque(other.to_owned(), dump)
        }
    })
}

fn parse_score(text: String) -> Result<Score> {
    let number: f64 = text.parse().with_context(|| format!("not a score: {text}"))?;
    Ok(Score { text, bits: number.to_bits() })
}

/// Adds the deadlines of single fields.
fn field_deadlines(client: &mut Client, entries: &mut [(&Vec<u8>, Entry)]) -> Result<()> {
    let mut hashes: Vec<_> = entries
        .iter_mut()
        .filter_map(|(key, entry)| match &mut entry.content {
            Content::Hash(hash) if !hash.is_empty() => Some((&**key, hash)),
            _ => None,
        })
        .collect();
    let questions: Vec<Command> = hashes
        .iter()
        .map(|(key, hash)| {
            let mut words = command(&["HPEXPIRETIME"]);
            words.push((*key).clone());
            words.extend(command(&["FIELDS", &hash.len().to_string()]));
            words.extend(hash.keys().cloned());
            words
        })
        .collect();
    let replies = client.all(&questions)?;
    for ((_, hash), reply) in hashes.iter_mut().zip(replies) {
        // A hash, or a field of it, may expire between two questions; then it is not there.
        if reply == Value::Nil {
            hash.clear();
            continue;
        }
        let deadlines = reply.array()?.iter().map(Value::int).collect::<Result<Vec<i64>>>()?;
        let mut deadlines = deadlines.into_iter();
        hash.retain(|_, field| {
            let deadline = deadlines.next().unwrap_or(NO_FIELD);
            field.expires_at_ms = u64::try_from(deadline).ok();
            deadline != NO_FIELD
        });
    }
    Ok(())
}

/// Fills in what is known of each element of vector sets.
fn vectors(client: &mut Client, entries: &mut [(&Vec<u8>, Entry)]) -> Result<()> {
    for (key, entry) in entries {
        let Content::Vectors(vectors) = &mut entry.content else { continue };
        for (element, told) in vectors {
            let mut vector = vec![b"VEMB".to_vec(), key.clone(), element.clone(), b"RAW".to_vec()];
            let raw = client.cmd(&vector)?;
            vector.pop();
            if let Some(name) = vector.first_mut() {
                *name = b"VGETATTR".to_vec();
            }
            *told = format!("{raw} {}", client.cmd(&vector)?);
        }
    }
    Ok(())
}

fn functions(client: &mut Client) -> Result<BTreeMap<String, String>> {
    let libraries = client.cmd(&["FUNCTION", "LIST", "WITHCODE"])?.array()?;
    let mut functions = BTreeMap::new();
    for library in libraries {
        let part = |name: &str| -> Result<String> {
            library.field(name).with_context(|| format!("a library without {name}"))?.clone().text()
        };
        functions.insert(part("library_name")?, part("library_code")?);
    }
    Ok(functions)
}
