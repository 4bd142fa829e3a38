//! Parts of large values, put together with plain commands. Pure.

use bytes::Bytes;
use event::image::{Field, StreamGroup, StreamId, StreamMeta, StreamPart};
use wire::resp::encode::Decimal;

use super::lower::{Unfit, consumer_by_reading};
use crate::batch::{Batch, Judge, Sent};
use crate::target::{self, Target};

/// Where a value is put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dest<'a> {
    /// Database of the destination.
    pub(crate) db: u32,
    /// How the replies are judged.
    pub(crate) sent: Sent,
    /// The key.
    pub(crate) key: &'a Bytes,
}

/// Elements in one command: a large command holds the destination up, a small one wastes frames.
const ELEMENTS: usize = 512;

/// Group that makes an empty stream exist for a moment.
const SCAFFOLD: &[u8] = b"keyferry-scaffold";

/// The next elements of a list, or members of a set.
pub(super) fn items(batch: &mut Batch, dest: Dest<'_>, command: &str, items: &[Bytes]) {
    for chunk in items.chunks(ELEMENTS) {
        let head: [&[u8]; 2] = [command.as_bytes(), dest.key];
        dest.put(batch, head.into_iter().chain(chunk.iter().map(|item| &item[..])));
    }
}

/// The next bytes of a string.
pub(super) fn text(batch: &mut Batch, dest: Dest<'_>, text: &Bytes) {
    dest.put(batch, [b"APPEND".as_slice(), dest.key, text]);
}

/// Members of a sorted set.
pub(super) fn scores(batch: &mut Batch, dest: Dest<'_>, members: &[(Bytes, f64)]) {
    for chunk in members.chunks(ELEMENTS) {
        // The shortest text that reads back as the same number; infinities as the servers write them.
        let texts: Vec<String> = chunk.iter().map(|(_, score)| score.to_string()).collect();
        let head: [&[u8]; 2] = [b"ZADD", dest.key];
        let pairs =
            texts.iter().zip(chunk).flat_map(|(text, (member, _))| [text.as_bytes(), member]);
        dest.put(batch, head.into_iter().chain(pairs));
    }
}

/// Fields of a hash, with their expiries.
pub(super) fn fields(
    target: Target,
    batch: &mut Batch,
    dest: Dest<'_>,
    fields: &[Field],
) -> Result<(), Unfit> {
    let expiring = fields.iter().any(|field| field.expire_at_ms.is_some());
    if expiring && !target.can(target::FIELD_EXPIRY) {
        return Err(Unfit::new("it knows no expiry of hash fields"));
    }
    for chunk in fields.chunks(ELEMENTS) {
        let head: [&[u8]; 2] = [b"HSET", dest.key];
        let pairs = chunk.iter().flat_map(|field| [&field.field[..], &field.value[..]]);
        dest.put(batch, head.into_iter().chain(pairs));
    }
    let mut expiring: Vec<(i64, &Bytes)> =
        fields.iter().filter_map(|field| Some((field.expire_at_ms?, &field.field))).collect();
    expiring.sort_unstable();
    for chunk in
        expiring.chunk_by(|one, other| one.0 == other.0).flat_map(|same| same.chunks(ELEMENTS))
    {
        let Some((ms, _)) = chunk.first() else { continue };
        let (ms, count) = (Decimal::from(*ms), Decimal::from(chunk.len() as u64));
        let head: [&[u8]; 5] = [b"HPEXPIREAT", dest.key, ms.as_ref(), b"FIELDS", count.as_ref()];
        dest.put(batch, head.into_iter().chain(chunk.iter().map(|(_, field)| &field[..])));
    }
    Ok(())
}

/// A part of a stream. A pending entry whose own entry was deleted does not survive this.
pub(super) fn stream_part(target: Target, batch: &mut Batch, dest: Dest<'_>, part: &StreamPart) {
    for entry in &part.entries {
        let id = shown(entry.id);
        let head: [&[u8]; 3] = [b"XADD", dest.key, id.as_bytes()];
        dest.put(batch, head.into_iter().chain(entry.content.iter().map(|word| &word[..])));
    }
    if let Some(meta) = &part.meta {
        stream_meta(target, batch, dest, meta);
    }
    for group in &part.groups {
        stream_group(target, batch, dest, group);
    }
}

fn stream_meta(target: Target, batch: &mut Batch, dest: Dest<'_>, meta: &StreamMeta) {
    if meta.length == 0 {
        // Without entries nothing but a group makes a stream.
        let create: [&[u8]; 6] = [b"XGROUP", b"CREATE", dest.key, SCAFFOLD, b"0", b"MKSTREAM"];
        dest.put(batch, create);
        dest.put(batch, [b"XGROUP".as_slice(), b"DESTROY", dest.key, SCAFFOLD]);
    }
    let last = shown(meta.last_id);
    if !target.can(target::SEVEN) {
        dest.put(batch, [b"XSETID".as_slice(), dest.key, last.as_bytes()]);
        return;
    }
    let (added, deleted) = (Decimal::from(meta.entries_added), shown(meta.max_deleted_id));
    let args: [&[u8]; 7] = [
        b"XSETID",
        dest.key,
        last.as_bytes(),
        b"ENTRIESADDED",
        added.as_ref(),
        b"MAXDELETEDID",
        deleted.as_bytes(),
    ];
    dest.put(batch, args);
}

fn stream_group(target: Target, batch: &mut Batch, dest: Dest<'_>, group: &StreamGroup) {
    let last = shown(group.last_delivered);
    let create: [&[u8]; 5] = [b"XGROUP", b"CREATE", dest.key, &group.name, last.as_bytes()];
    // A group with more pending entries than a part holds comes again.
    let again = Dest { sent: Sent { judge: Judge::Repeats, ..dest.sent }, ..dest };
    match group.entries_read.filter(|_| target.can(target::SEVEN)).map(Decimal::from) {
        Some(read) => {
            let option: [&[u8]; 2] = [b"ENTRIESREAD", read.as_ref()];
            again.put(batch, create.into_iter().chain(option));
        }
        None => again.put(batch, create),
    }
    for consumer in &group.consumers {
        let (group, consumer) = (&group.name, &consumer.name);
        if target.can(target::PXAT) {
            dest.put(batch, [b"XGROUP".as_slice(), b"CREATECONSUMER", dest.key, group, consumer]);
        } else {
            dest.put(batch, consumer_by_reading(dest.key, group, consumer));
        }
    }
    for pending in &group.pending {
        let owner = usize::try_from(pending.consumer).ok().and_then(|at| group.consumers.get(at));
        let Some(owner) = owner else { continue };
        let id = shown(pending.id);
        let (time, count) =
            (Decimal::from(pending.delivered_ms), Decimal::from(pending.deliveries));
        let args: [&[u8]; 14] = [
            b"XCLAIM",
            dest.key,
            &group.name,
            &owner.name,
            b"0",
            id.as_bytes(),
            b"TIME",
            time.as_ref(),
            b"RETRYCOUNT",
            count.as_ref(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            last.as_bytes(),
        ];
        dest.put(batch, args);
    }
}

fn shown(id: StreamId) -> String {
    format!("{}-{}", id.ms, id.seq)
}

// === impl Dest ===

impl Dest<'_> {
    fn put<I>(&self, batch: &mut Batch, args: I)
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        batch.command(self.db, self.sent, args);
    }
}
