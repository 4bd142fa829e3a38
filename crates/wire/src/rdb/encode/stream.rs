//! Streams in an older layout: entries as they stand, without what the layout has no place for.

use bytes::{BufMut, Bytes, BytesMut};

use super::{length, text};
use crate::rdb::error::{Error, Fault};
use crate::rdb::kind::ValueType;
use crate::rdb::reader::{Reader, Stop};
use crate::rdb::stream::{PendingEntry, StreamId, StreamMeta};
use crate::rdb::walk::{StreamUnit, Unit, Walk};

/// Stands where a group's number of entries read is not known.
const UNKNOWN: u64 = u64::MAX;

/// The first layout that says when a consumer was active.
const LAYOUT_WITH_ACTIVITY: u8 = 3;

/// The first layout that counts what was ever added, deleted and read.
const LAYOUT_WITH_COUNTS: u8 = 2;

/// Encodes a stream of the type `from` as one of the older type `to`. What is lost: idempotence
/// below type 26, when a consumer was active below 21, and counts of what was added, deleted and
/// read below 19.
///
/// # Errors
/// What is wrong with the value; entries are not looked into.
pub fn stream(from: ValueType, raw: &Bytes, to: ValueType) -> Result<Bytes, Error> {
    let (mut walk, layout) = (Walk::new(from), layout(to));
    let mut out = BytesMut::with_capacity(raw.len());
    let mut position = 0;
    loop {
        let mut reader = Reader::new(raw, position, 0, usize::MAX);
        let unit = match walk.next(&mut reader) {
            Ok(Some(Unit::Stream(unit))) => unit,
            Ok(_) => return Ok(out.freeze()),
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::More(_)) => return Err(Fault::Truncated.at(raw.len() as u64)),
        };
        let stands = raw.slice(position..reader.position());
        put(&mut out, unit, (raw, &stands), layout).map_err(|fault| fault.at(position as u64))?;
        position = reader.position();
    }
}

fn layout(kind: ValueType) -> u8 {
    match kind {
        ValueType::Stream1 => 1,
        ValueType::Stream2 => 2,
        ValueType::Stream3 => 3,
        _ => 4,
    }
}

/// Appends one unit, which stands so in the value.
fn put(
    out: &mut BytesMut,
    unit: StreamUnit,
    (value, stands): (&Bytes, &Bytes),
    layout: u8,
) -> Result<(), Fault> {
    match unit {
        // Counts, entries and pending ones look the same in every layout.
        StreamUnit::Nothing
        | StreamUnit::Node { .. }
        | StreamUnit::Pending(PendingEntry { .. })
        | StreamUnit::Owned(_) => out.put_slice(stands),
        StreamUnit::Meta { meta, groups } => {
            put_meta(out, &meta, layout);
            number(out, groups);
        }
        StreamUnit::Group { name, last_id, entries_read, pending } => {
            text(out, &name.bytes(value)?);
            put_id(out, last_id);
            if layout >= LAYOUT_WITH_COUNTS {
                number(out, entries_read.unwrap_or(UNKNOWN));
            }
            number(out, pending);
        }
        StreamUnit::Consumer { name, seen_ms, active_ms, owned } => {
            text(out, &name.bytes(value)?);
            out.put_i64_le(seen_ms);
            if layout >= LAYOUT_WITH_ACTIVITY {
                out.put_i64_le(active_ms.unwrap_or(seen_ms));
            }
            number(out, owned);
        }
        StreamUnit::Idempotence { .. }
        | StreamUnit::Producer { .. }
        | StreamUnit::Produced { .. }
        | StreamUnit::Totals { .. } => {
            if layout >= 4 {
                out.put_slice(stands);
            }
        }
    }
    Ok(())
}

fn put_meta(out: &mut BytesMut, meta: &StreamMeta, layout: u8) {
    number(out, meta.length);
    put_id(out, meta.last_id);
    if layout >= LAYOUT_WITH_COUNTS {
        put_id(out, meta.first_id.unwrap_or_default());
        put_id(out, meta.max_deleted_id.unwrap_or_default());
        number(out, meta.entries_added.unwrap_or(meta.length));
    }
}

fn put_id(out: &mut BytesMut, id: StreamId) {
    number(out, id.ms);
    number(out, id.seq);
}

fn number(out: &mut BytesMut, number: u64) {
    length(out, number);
}
