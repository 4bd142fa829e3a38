//! Generated protobuf types to domain types, with what the protobuf types cannot rule out refused.

mod control;
mod image;

pub(super) use self::control::control;
pub(super) use self::image::image_part;
use super::check;
use super::decode::{keys, slot};
use super::error::DecodeError;
use super::scan::{Fields, nothing_known};
use crate::control::FunctionChange;
use crate::fragment::Fragment;
use crate::{Change, Command, Effect, Group, GroupedChange, Position, Seen, Shard, Stamp, schema};

/// A domain type that a protobuf type may hold.
pub(super) trait Convert<P>: Sized {
    fn convert(proto: P) -> Result<Self, DecodeError>;
}

/// Every element, or the first refusal.
pub(super) fn all<P, T: Convert<P>>(list: Vec<P>) -> Result<Vec<T>, DecodeError> {
    list.into_iter().map(T::convert).collect()
}

/// A message that has to be there.
pub(super) fn required<P, T: Convert<P>>(
    name: &'static str,
    proto: Option<P>,
) -> Result<T, DecodeError> {
    T::convert(proto.ok_or(DecodeError::Missing { name })?)
}

/// A number that has to fit.
pub(super) fn fitting<P, T>(name: &'static str, value: P, limit: T) -> Result<T, DecodeError>
where
    P: Copy + Into<u64>,
    T: TryFrom<P> + Into<u64>,
{
    T::try_from(value).map_err(|_| DecodeError::OutOfRange {
        name,
        value: value.into(),
        limit: limit.into(),
    })
}

/// Numbers of partitions.
pub(super) fn partitions(list: Vec<u32>) -> Result<Vec<u16>, DecodeError> {
    list.into_iter().map(|number| fitting("partition", number, u16::MAX)).collect()
}

/// A group, of whose encoding `bytes` are.
pub(super) fn group(proto: schema::Group, bytes: &[u8]) -> Result<Group, DecodeError> {
    let mut changes = Vec::with_capacity(proto.changes.len());
    for (at, change) in proto.changes.into_iter().enumerate() {
        let body = change.body.ok_or_else(|| unknown_change(bytes, at))?;
        changes.push(GroupedChange {
            db: change.db,
            slot: slot(change.slot)?,
            key: change.key,
            change: Change::convert(body)?,
        });
    }
    Ok(Group {
        changes,
        partitions: partitions(proto.partitions)?,
        number: proto.number,
        last: proto.last,
        transaction: proto.transaction,
    })
}

/// Why the change at `at` of an encoded group says nothing.
fn unknown_change(group: &[u8], at: usize) -> DecodeError {
    let mut fields = Fields::of(group);
    let mut changes = std::iter::from_fn(|| fields.next().ok().flatten())
        .filter(|field| field.number == 1)
        .filter_map(|field| field.bytes().ok());
    let change = changes.nth(at).unwrap_or_default();
    nothing_known("Change", change, &[1, 2, 3, 4, 5, 6, 7])
}

/// A fragment.
pub(super) fn fragment(proto: schema::Fragment) -> Fragment {
    Fragment {
        number: proto.number,
        count: proto.count,
        total_bytes: proto.total_bytes,
        crc32c: proto.crc32c,
        data: proto.data,
        snapshot_id: proto.snapshot_id,
    }
}

// === impl Position ===

impl Convert<schema::Position> for Position {
    fn convert(proto: schema::Position) -> Result<Self, DecodeError> {
        let schema::Position { shard, epoch, offset, index } = proto;
        Ok(Self { shard: Shard(shard), epoch, offset, index })
    }
}

impl Convert<schema::Stamp> for Stamp {
    fn convert(proto: schema::Stamp) -> Result<Self, DecodeError> {
        Ok(Self { time_ms: proto.time_ms, counter: proto.counter, site: proto.site })
    }
}

impl Convert<schema::Seen> for Seen {
    fn convert(proto: schema::Seen) -> Result<Self, DecodeError> {
        Ok(Self { site: proto.site, position: required("position of Seen", proto.position)? })
    }
}

// === impl Command ===

impl Convert<schema::Command> for Command {
    fn convert(proto: schema::Command) -> Result<Self, DecodeError> {
        let command = Self {
            args: proto.args,
            effect: Effect::convert(proto.effect)?,
            keys: keys(proto.written, proto.read),
        };
        check::command_keys(&command)?;
        Ok(command)
    }
}

impl Convert<i32> for Effect {
    fn convert(value: i32) -> Result<Self, DecodeError> {
        match schema::Effect::try_from(value) {
            Ok(schema::Effect::Overwrite) => Ok(Self::Overwrite),
            Ok(schema::Effect::Merge) => Ok(Self::Merge),
            Ok(schema::Effect::Delete) => Ok(Self::Delete),
            Ok(schema::Effect::Expire) => Ok(Self::Expire),
            Ok(schema::Effect::Unspecified) | Err(_) => {
                Err(DecodeError::UnknownValue { name: "Effect", value })
            }
        }
    }
}

impl Convert<schema::FunctionChange> for FunctionChange {
    fn convert(proto: schema::FunctionChange) -> Result<Self, DecodeError> {
        let schema::FunctionChange { args, snapshot_id } = proto;
        Ok(Self { args, snapshot_id })
    }
}

impl Convert<schema::change::Body> for Change {
    fn convert(proto: schema::change::Body) -> Result<Self, DecodeError> {
        use schema::change::Body;
        match proto {
            Body::Command(command) => Command::convert(command).map(Self::Command),
            Body::Flush(flush) => Ok(Self::Flush { all: flush.all }),
            Body::SwapDb(swap) => Ok(Self::SwapDb { first: swap.first, second: swap.second }),
            Body::Function(function) => FunctionChange::convert(function).map(Self::Function),
        }
    }
}
