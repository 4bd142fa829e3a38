//! Events for people and for scripts: one line of text, or one line of JSON.
//!
//! Both are made of any event and any bytes, and both are safe to show on a terminal. A line of
//! text is abridged and cannot be read back; JSON says all that the event says.

mod json;
mod quoted;
mod utc;

use std::fmt::{self, Write};

use bytes::Bytes;
use wire::rdb::ValueType;
use wire::slot::Slots;

pub use self::json::{Json, json};
pub use self::quoted::{BadQuote, Quoted, Shortened, unquoted};
pub use self::utc::Utc;
use crate::control::Control;
use crate::fragment::Fragment;
use crate::image::{Elements, Image, ImageHead, ImagePart, ImageValue, StreamPart};
use crate::{Body, Change, Event, Group};

/// The event as one line of at most `width` characters, all printable ASCII but a last `…` where it
/// is abridged: position, time, database, kind, and what it says, arguments escaped as redis-cli
/// does.
#[must_use]
pub fn line(event: &Event, width: usize) -> String {
    let mut line = Line { text: String::new(), width };
    // A line that is full ends the writing; nothing else can fail.
    match write_event(&mut line, event) {
        Ok(()) => line.text,
        Err(fmt::Error) => line.abridged(),
    }
}

/// Text that ends where it is full: values of any size cost no more than what is shown of them.
struct Line {
    text: String,
    width: usize,
}

// === impl Line ===

impl Line {
    fn abridged(mut self) -> String {
        self.text.truncate(self.width.saturating_sub(1));
        if self.width > 0 {
            self.text.push('…');
        }
        self.text
    }
}

impl Write for Line {
    /// Takes ASCII only, so that bytes are characters.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.width - self.text.len();
        let taken = text.get(..room).unwrap_or(text);
        self.text.push_str(taken);
        if taken.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

fn write_event(line: &mut Line, event: &Event) -> fmt::Result {
    let (position, time) = (event.position, Utc(event.stamp.time_ms));
    write!(line, "{position} {time} db{} {}", event.db, event.kind())?;
    if !event.stamp.site.is_empty() {
        write!(line, " site={}", Quoted(event.stamp.site.as_bytes()))?;
    }
    match &event.body {
        Body::Command(command) => write_args(line, &command.args),
        Body::Image(image) => write_image(line, &event.key, image),
        Body::ImagePart(part) => write_part(line, &event.key, part),
        Body::Group(group) => write_group(line, group),
        Body::Fragment(fragment) => write_fragment(line, fragment),
        Body::Control(control) => write_control(line, control),
    }
}

fn write_args<'a>(line: &mut Line, args: impl IntoIterator<Item = &'a Bytes>) -> fmt::Result {
    args.into_iter().try_for_each(|arg| write!(line, " {}", Quoted(arg)))
}

// === images ===

fn write_head(line: &mut Line, key: &[u8], head: &ImageHead) -> fmt::Result {
    write!(line, " {} ", Quoted(key))?;
    match ValueType::from_byte(head.type_byte, head.flavour) {
        Ok(known) => write!(line, "{}", known.class())?,
        Err(_) => write!(line, "type-{}-of-{}", head.type_byte, head.flavour)?,
    }
    if let Some(at) = head.expire_at_ms {
        write!(line, " expires={}", Utc(at))?;
    }
    write_snapshot(line, head.snapshot_id)
}

/// To which snapshot made on demand it belongs, if to any.
fn write_snapshot(line: &mut Line, snapshot_id: u64) -> fmt::Result {
    if snapshot_id == 0 { Ok(()) } else { write!(line, " snapshot={snapshot_id}") }
}

fn write_image(line: &mut Line, key: &[u8], image: &Image) -> fmt::Result {
    write_head(line, key, &image.head)?;
    match &image.value {
        ImageValue::Text(text) => write!(line, " {}", Quoted(text)),
        ImageValue::Rdb(rdb) => write!(line, " ({} bytes)", rdb.len()),
    }
}

fn write_part(line: &mut Line, key: &[u8], part: &ImagePart) -> fmt::Result {
    write_head(line, key, &part.head)?;
    write!(line, " part={}{}", part.number, if part.last { " last" } else { "" })?;
    match &part.elements {
        Elements::Text(text) => write!(line, " {}", Quoted(text)),
        Elements::Items(items) => write_args(line, items),
        Elements::Scores(scores) => scores
            .iter()
            .try_for_each(|(member, score)| write!(line, " {}={score}", Quoted(member))),
        Elements::Fields(fields) => fields.iter().try_for_each(|field| {
            write!(line, " {}={}", Quoted(&field.field), Quoted(&field.value))?;
            field.expire_at_ms.map_or(Ok(()), |at| write!(line, "@{}", Utc(at)))
        }),
        Elements::Stream(stream) => write_stream(line, stream),
        Elements::Opaque(bytes) => write!(line, " ({} bytes)", bytes.len()),
    }
}

fn write_stream(line: &mut Line, stream: &StreamPart) -> fmt::Result {
    for entry in &stream.entries {
        write!(line, " {}-{}", entry.id.ms, entry.id.seq)?;
        write_args(line, &entry.content)?;
    }
    if let Some(meta) = &stream.meta {
        write!(line, " length={} last-id={}-{}", meta.length, meta.last_id.ms, meta.last_id.seq)?;
    }
    for group in &stream.groups {
        write!(line, " group={} pending={}", Quoted(&group.name), group.pending.len())?;
    }
    Ok(())
}

// === the rest ===

fn write_group(line: &mut Line, group: &Group) -> fmt::Result {
    if group.number > 0 || !group.last {
        write!(line, " record={}{}", group.number, if group.last { " last" } else { "" })?;
    }
    if !group.partitions.is_empty() {
        write!(line, " partitions=")?;
        write_list(line, &group.partitions)?;
    }
    for (at, change) in group.changes.iter().enumerate() {
        line.write_str(if at == 0 { " :" } else { " ;" })?;
        match &change.change {
            Change::Command(command) => write_args(line, &command.args)?,
            Change::Flush { all } => line.write_str(flush(*all))?,
            Change::SwapDb { first, second } => write!(line, " SWAPDB {first} {second}")?,
            Change::Function(function) => write_args(line, &function.args)?,
        }
    }
    Ok(())
}

fn flush(all: bool) -> &'static str {
    if all { " FLUSHALL" } else { " FLUSHDB" }
}

fn write_slots(line: &mut Line, slots: Option<&Slots>) -> fmt::Result {
    slots.map_or(Ok(()), |slots| write!(line, " slots={slots}"))
}

fn write_list(line: &mut Line, numbers: &[u16]) -> fmt::Result {
    for (at, number) in numbers.iter().enumerate() {
        write!(line, "{}{number}", if at == 0 { "" } else { "," })?;
    }
    Ok(())
}

fn write_fragment(line: &mut Line, fragment: &Fragment) -> fmt::Result {
    let Fragment { number, count, total_bytes, data, snapshot_id, .. } = fragment;
    let piece = u64::from(*number) + 1;
    write!(line, " {piece} of {count} ({} of {total_bytes} bytes)", data.len())?;
    write_snapshot(line, *snapshot_id)
}

fn write_control(line: &mut Line, control: &Control) -> fmt::Result {
    match control {
        Control::EpochBegin(begin) => {
            write!(
                line,
                " {} shard={} replid={} branch-offset={} server={}",
                json::cause(begin.cause),
                Quoted(begin.shard_name.as_bytes()),
                Quoted(begin.replication_id.as_bytes()),
                begin.branch_offset,
                Quoted(begin.server.as_bytes())
            )?;
            write_slots(line, begin.slots.as_ref())
        }
        Control::SnapshotBegin(begin) => write!(
            line,
            " id={} keys={} bytes={} rdb={}-{}",
            begin.snapshot_id,
            begin.keys_expected,
            begin.bytes_expected,
            begin.flavour,
            begin.rdb_version
        ),
        Control::SnapshotEnd(end) => {
            write!(line, " id={} keys={} of {}", end.snapshot_id, end.keys, end.keys_total)
        }
        Control::Heartbeat(heartbeat) => write!(
            line,
            " replid={} db={} source={} capture={}",
            Quoted(heartbeat.replication_id.as_bytes()),
            heartbeat.selected_db,
            Utc(heartbeat.source_time_ms),
            Utc(heartbeat.capture_time_ms)
        ),
        Control::Barrier(barrier) => {
            write!(line, " home={} partitions=", barrier.home_partition)?;
            write_list(line, &barrier.partitions)
        }
        Control::Flush { all } => line.write_str(flush(*all)),
        Control::FlushSlots { all, slots } => {
            line.write_str(flush(*all))?;
            write_slots(line, Some(slots))
        }
        Control::SwapDb { first, second } => write!(line, " SWAPDB {first} {second}"),
        Control::Function(function) => {
            write_snapshot(line, function.snapshot_id)?;
            write_args(line, &function.args)
        }
        Control::SlotHandover(moved) => write!(
            line,
            " slots={}-{} from={} to={} until={}",
            moved.first_slot, moved.last_slot, moved.from_shard, moved.to_shard, moved.until
        ),
    }
}

#[cfg(test)]
mod tests;
