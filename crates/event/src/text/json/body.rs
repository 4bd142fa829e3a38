//! Commands, groups, fragments and control events as JSON.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Blob, Json, object};
use crate::control::{Control, EpochCause};
use crate::fragment::Fragment;
use crate::{Body, Change, Command, Effect, Group, GroupedChange, KeyArgs};

// === impl Body ===

impl Serialize for Json<'_, Body> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Body::Command(command) => Json(command).serialize(serializer),
            Body::Image(image) => Json(image).serialize(serializer),
            Body::ImagePart(part) => Json(part).serialize(serializer),
            Body::Group(group) => Json(group).serialize(serializer),
            Body::Fragment(fragment) => Json(fragment).serialize(serializer),
            Body::Control(control) => Json(control).serialize(serializer),
        }
    }
}

impl Serialize for Json<'_, Command> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Command { args, effect, keys } = self.0;
        let (written, read): (&[u32], &[u32]) = match keys {
            KeyArgs::First if self.0.is_script() => (&[], &[]),
            KeyArgs::First => (&[1], &[]),
            KeyArgs::Listed { written, read } => (written, read),
        };
        object!(serializer, {
            "args": Json(&args[..]),
            "effect": effect_name(*effect),
            "written": written,
            "read": read,
        })
    }
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Overwrite => "overwrite",
        Effect::Merge => "merge",
        Effect::Delete => "delete",
        Effect::Expire => "expire",
    }
}

impl Serialize for Json<'_, Group> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Group { changes, partitions, number, last, transaction } = self.0;
        object!(serializer, {
            "number": number,
            "last": last,
            "transaction": transaction,
            "partitions": partitions,
            "changes": Json(&changes[..]),
        })
    }
}

impl Serialize for Json<'_, GroupedChange> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let GroupedChange { db, slot, key, change } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("db", db)?;
        map.serialize_entry("slot", &slot.get())?;
        map.serialize_entry("key", &Blob(key))?;
        match change {
            Change::Command(command) => map.serialize_entry("command", &Json(command))?,
            Change::Flush { all } => map.serialize_entry("flush_all", all)?,
            Change::SwapDb { first, second } => map.serialize_entry("swapdb", &[first, second])?,
            Change::Function(function) => {
                map.serialize_entry("function", &Json(&function.args[..]))?;
            }
        }
        map.end()
    }
}

impl Serialize for Json<'_, Fragment> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fragment { number, count, total_bytes, crc32c, data, snapshot_id } = self.0;
        object!(serializer, {
            "number": number,
            "count": count,
            "total_bytes": total_bytes,
            "crc32c": crc32c,
            "data": Blob(data),
            "snapshot_id": snapshot_id,
        })
    }
}

// === impl Control ===

impl Serialize for Json<'_, Control> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Control::EpochBegin(begin) => object!(serializer, {
                "cause": cause(begin.cause),
                "shard_name": begin.shard_name,
                "replication_id": begin.replication_id,
                "branch_offset": begin.branch_offset,
                "server": begin.server,
                "slots": begin.slots.as_ref().map(ToString::to_string),
            }),
            Control::SnapshotBegin(begin) => object!(serializer, {
                "snapshot_id": begin.snapshot_id,
                "keys_expected": begin.keys_expected,
                "bytes_expected": begin.bytes_expected,
                "rdb_version": begin.rdb_version,
                "flavour": begin.flavour.to_string(),
                "slots": begin.slots.as_ref().map(ToString::to_string),
            }),
            Control::SnapshotEnd(end) => object!(serializer, {
                "snapshot_id": end.snapshot_id,
                "keys": end.keys,
                "keys_total": end.keys_total,
            }),
            Control::Heartbeat(heartbeat) => object!(serializer, {
                "replication_id": heartbeat.replication_id,
                "selected_db": heartbeat.selected_db,
                "source_time_ms": heartbeat.source_time_ms,
                "capture_time_ms": heartbeat.capture_time_ms,
                "shard_name": heartbeat.shard_name,
                "slots": heartbeat.slots.as_ref().map(ToString::to_string),
            }),
            Control::Barrier(barrier) => object!(serializer, {
                "home_partition": barrier.home_partition,
                "partitions": barrier.partitions,
            }),
            Control::Flush { all } => object!(serializer, { "flush_all": all }),
            Control::FlushSlots { all, slots } => {
                object!(serializer, { "flush_all": all, "slots": slots.to_string() })
            }
            Control::SwapDb { first, second } => {
                object!(serializer, { "swapdb": [first, second] })
            }
            Control::Function(function) => {
                object!(serializer, {
                    "function": Json(&function.args[..]),
                    "snapshot_id": function.snapshot_id,
                })
            }
            Control::SlotHandover(moved) => object!(serializer, {
                "first_slot": moved.first_slot,
                "last_slot": moved.last_slot,
                "from_shard": moved.from_shard,
                "to_shard": moved.to_shard,
                "until": Json(&moved.until),
            }),
        }
    }
}

/// The cause of an epoch, in a word.
pub(in crate::text) fn cause(cause: EpochCause) -> &'static str {
    match cause {
        EpochCause::FullResync => "full-resync",
        EpochCause::Continued => "continued",
        EpochCause::SlotMoved => "slot-moved",
    }
}
