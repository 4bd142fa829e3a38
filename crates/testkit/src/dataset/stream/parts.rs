//! Streams of Redis 5.0, which tells them in parts: entries, groups, consumers, pending entries.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::{Group, Pending, StreamEntry, StreamValue, part};
use crate::client::{Client, Command, command};
use crate::dataset::clock;
use crate::value::Value;

/// More pending entries than any group of a test has.
const ALL_PENDING: &str = "1000000000";

impl StreamValue {
    /// Reads a stream from a server without `XINFO STREAM … FULL`; none if it has gone meanwhile.
    pub(in crate::dataset) fn read_parts(client: &mut Client, key: &[u8]) -> Result<Option<Self>> {
        let questions =
            [about("XRANGE", key, &["-", "+"]), info("STREAM", key, &[]), info("GROUPS", key, &[])];
        let replies = client.batch(&questions)?;
        let Ok([entries, stream, groups]) = <[Value; 3]>::try_from(replies) else {
            bail!("fewer replies than questions");
        };
        if matches!(&stream, Value::Error(text) if text.contains("no such key")) {
            return Ok(None);
        }
        let mut named = BTreeMap::new();
        for group in groups.array()? {
            let name = part(&group, "name")?.clone().bytes()?;
            let read = Group::read_parts(client, key, (&name, &group))?;
            named.insert(name, read);
        }
        Ok(Some(Self {
            entries: entries.array()?.into_iter().map(StreamEntry::parse).collect::<Result<_>>()?,
            last_id: part(&stream, "last-generated-id")?.clone().text()?,
            max_deleted_id: None,
            entries_added: None,
            groups: named,
        }))
    }
}

impl Group {
    fn read_parts(client: &mut Client, key: &[u8], group: (&[u8], &Value)) -> Result<Self> {
        let (name, info_of_group) = group;
        let questions = [
            info("CONSUMERS", key, &[name]),
            [about("XPENDING", key, &[]), vec![name.to_vec()], command(&["-", "+", ALL_PENDING])]
                .concat(),
        ];
        let (now_ms, replies) = clock::ask(client, &questions)?;
        let Ok([consumers, pending]) = <[Value; 2]>::try_from(replies) else {
            bail!("fewer replies than questions");
        };
        let mut names = BTreeSet::new();
        for consumer in consumers.array()? {
            names.insert(part(&consumer, "name")?.clone().bytes()?);
        }
        let mut by_id = BTreeMap::new();
        for entry in pending.array()? {
            let Ok([id, consumer, idle, deliveries]) = <[Value; 4]>::try_from(entry.array()?)
            else {
                bail!("a pending entry of another shape");
            };
            let now_ms = i64::try_from(now_ms).context("a clock far in the future")?;
            let one = Pending {
                consumer: consumer.bytes()?,
                delivered_at_ms: now_ms - idle.int()?,
                deliveries: deliveries.int()?,
            };
            by_id.insert(id.text()?, one);
        }
        Ok(Self {
            last_delivered_id: part(info_of_group, "last-delivered-id")?.clone().text()?,
            entries_read: None,
            pending: by_id,
            consumers: names,
        })
    }
}

fn info(what: &str, key: &[u8], more: &[&[u8]]) -> Command {
    let mut words = command(&["XINFO", what]);
    words.push(key.to_vec());
    words.extend(more.iter().map(|word| word.to_vec()));
    words
}

fn about(name: &str, key: &[u8], more: &[&str]) -> Command {
    let mut words = command(&[name]);
    words.push(key.to_vec());
    words.extend(command(more));
    words
}
