//! The edit history as streams: one of all commits, one of each file; with groups whose consumers
//! have read a part of it and acknowledged a part of that; and hashes that count for each author.

use std::collections::BTreeMap;

use anyhow::Result;
use testkit::Value;

use super::Loader;
use crate::data::{Data, Edit};
use crate::keys;
use crate::words::words;

/// Who reads for a group.
const CONSUMERS: [&str; 2] = ["ada", "grace"];
/// How much each consumer has read of a stream.
const READ_ENTRIES: u32 = 5;
/// How much of the stream of all commits: a long list of pending entries.
const READ_COMMITS: u32 = 400;

pub(super) fn history(loader: &mut Loader, data: &Data) -> Result<()> {
    let mut ids = Ids::default();
    for edit in &data.edits {
        let id = ids.next(keys::COMMITS, edit.at_ms);
        let Edit { hash, author, subject, files, .. } = edit;
        loader.put(words![
            "XADD",
            keys::COMMITS,
            id,
            "commit",
            hash,
            "author",
            author,
            "subject",
            subject,
            "files",
            files.len()
        ])?;
        let key = keys::author(author);
        loader.put(words!["HINCRBY", key, "commits", 1_u32])?;
        loader.put(words!["HSETNX", key, "first", edit.at_ms])?;
        loader.put(words!["HSET", key, "last", edit.at_ms])?;
        for (file, lines) in files {
            let id = ids.next(file, edit.at_ms);
            let stream = keys::edits(file);
            loader.put(words![
                "XADD", stream, id, "commit", hash, "author", author, "lines", lines
            ])?;
        }
    }
    read(loader, keys::COMMITS, READ_COMMITS)?;
    for (n, file) in data.files.iter().enumerate() {
        if n % 3 == 0 {
            read(loader, &keys::edits(file), READ_ENTRIES)?;
        }
    }
    Ok(())
}

/// Makes the groups of a stream; both consumers of the first read, and acknowledge every other
/// entry.
fn read(loader: &mut Loader, stream: &str, entries: u32) -> Result<()> {
    for group in keys::GROUPS {
        loader.put(words!["XGROUP", "CREATE", stream, group, "0"])?;
    }
    let group = keys::GROUPS[0];
    for consumer in CONSUMERS {
        let read = words![
            "XREADGROUP",
            "GROUP",
            group,
            consumer,
            "COUNT",
            entries,
            "STREAMS",
            stream,
            ">"
        ];
        let delivered = delivered_ids(&loader.ask(&read)?);
        let done: Vec<_> = delivered.into_iter().step_by(2).collect();
        if !done.is_empty() {
            let mut acknowledge = words!["XACK", stream, group];
            acknowledge.extend(done);
            loader.put(acknowledge)?;
        }
    }
    Ok(())
}

/// The ids in a reply to XREADGROUP of one stream; none if there was nothing to read.
pub(crate) fn delivered_ids(reply: &Value) -> Vec<Vec<u8>> {
    let Value::Array(streams) = reply else { return Vec::new() };
    let Some(Value::Array(stream)) = streams.first() else { return Vec::new() };
    let Some(Value::Array(entries)) = stream.get(1) else { return Vec::new() };
    let id = |entry: &Value| match entry {
        Value::Array(parts) => parts.first().cloned()?.bytes().ok(),
        _ => None,
    };
    entries.iter().filter_map(id).collect()
}

/// Ids of stream entries: the time of the edit, and a number where one millisecond saw several.
#[derive(Default)]
struct Ids<'a>(BTreeMap<&'a str, (u64, u32)>);

// === impl Ids ===

impl<'a> Ids<'a> {
    fn next(&mut self, stream: &'a str, at_ms: u64) -> String {
        let last = self.0.entry(stream).or_insert((at_ms, 0));
        *last = if last.0 == at_ms { (at_ms, last.1 + 1) } else { (at_ms, 1) };
        format!("{}-{}", last.0, last.1)
    }
}
