//! What a body must fulfil to be carried: the same in both directions.

use wire::slot::{Slot, Slots};

use super::encode::listed;
use super::error::Invalid;
use crate::checkpoint::Checkpoint;
use crate::control::{Control, SlotHandover};
use crate::image::{Elements, Field, StreamEntry, StreamPart};
use crate::{Body, Change, Command, limits};

/// Refuses a body that would not decode to itself.
pub(super) fn body(body: &Body) -> Result<(), Invalid> {
    match body {
        Body::Command(command) => command_keys(command),
        Body::ImagePart(part) => match &part.elements {
            Elements::Fields(fields) => fields.iter().try_for_each(field),
            Elements::Stream(stream) => self::stream(stream),
            Elements::Text(_) | Elements::Items(_) | Elements::Scores(_) | Elements::Opaque(_) => {
                Ok(())
            }
        },
        Body::Group(group) => group.changes.iter().try_for_each(|change| match &change.change {
            Change::Command(command) => command_keys(command),
            Change::Flush { .. } | Change::SwapDb { .. } | Change::Function(_) => Ok(()),
        }),
        Body::Control(Control::SlotHandover(moved)) => handover(moved),
        Body::Control(control) if control.slots().flatten().is_some_and(Slots::is_empty) => {
            Err(Invalid::NoSlots)
        }
        Body::Image(_) | Body::Fragment(_) | Body::Control(_) => Ok(()),
    }
}

/// Refuses a name of a site that is too long to repeat in every event.
pub(super) fn site(name: &str) -> Result<(), Invalid> {
    let (bytes, limit) = (name.len(), limits::SITE_BYTES);
    if bytes > limit { Err(Invalid::SiteName { bytes, limit }) } else { Ok(()) }
}

/// Refuses keys that are not among the arguments.
pub(super) fn command_keys(command: &Command) -> Result<(), Invalid> {
    keys(command.args.len(), listed(&command.keys))
}

/// Refuses keys that are not among `args` arguments.
pub(super) fn keys(args: usize, keys: Option<(&[u32], &[u32])>) -> Result<(), Invalid> {
    let (written, read) = keys.unwrap_or((&[1], &[]));
    if written.is_empty() && read.is_empty() {
        return Err(Invalid::NoKeys);
    }
    match written.iter().chain(read).find(|index| **index as usize >= args) {
        Some(index) => Err(Invalid::KeyIndex { index: *index, args }),
        None => Ok(()),
    }
}

fn field(field: &Field) -> Result<(), Invalid> {
    if field.expire_at_ms == Some(0) { Err(Invalid::FieldExpiry) } else { Ok(()) }
}

/// Refuses entries whose fields and values do not pair.
pub(super) fn stream(stream: &StreamPart) -> Result<(), Invalid> {
    stream.entries.iter().try_for_each(|StreamEntry { content, .. }| {
        let items = content.len();
        if items % 2 == 0 { Ok(()) } else { Err(Invalid::OddStreamEntry { items }) }
    })
}

/// Refuses slots that do not exist or are no range.
pub(super) fn handover(moved: &SlotHandover) -> Result<(), Invalid> {
    let (first, last) = (moved.first_slot.into(), moved.last_slot.into());
    if moved.last_slot >= Slot::COUNT {
        Err(Invalid::Slot { slot: last })
    } else {
        range("slots", first, last)
    }
}

/// Refuses partitions that are no range, or for which offsets are missing.
pub(super) fn checkpoint(checkpoint: &Checkpoint) -> Result<(), Invalid> {
    let (first, last) = (checkpoint.first_partition, checkpoint.last_partition);
    range("partitions", first.into(), last.into())?;
    lengths(
        ("offsets to read from", checkpoint.read_from.len()),
        ("partitions", usize::from(last - first) + 1),
    )
}

/// Refuses two lists that do not fit each other.
pub(super) fn lengths(
    (left, left_len): (&'static str, usize),
    (right, right_len): (&'static str, usize),
) -> Result<(), Invalid> {
    if left_len == right_len {
        Ok(())
    } else {
        Err(Invalid::Lengths { left, left_len, right, right_len })
    }
}

fn range(name: &'static str, first: u32, last: u32) -> Result<(), Invalid> {
    if first <= last { Ok(()) } else { Err(Invalid::Range { name, first, last }) }
}
