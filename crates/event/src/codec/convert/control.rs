//! Control events.

use wire::slot::{Slot, Slots};

use super::{Convert, fitting, partitions, required};
use crate::codec::check;
use crate::codec::error::{DecodeError, Invalid};
use crate::codec::scan::nothing_known;
use crate::control::{
    Barrier, Control, EpochBegin, EpochCause, FunctionChange, Heartbeat, SlotHandover,
    SnapshotBegin, SnapshotEnd,
};
use crate::image::Flavour;
use crate::schema;

/// A control event, of whose encoding `bytes` are.
pub(in crate::codec) fn control(
    proto: schema::Control,
    bytes: &[u8],
) -> Result<Control, DecodeError> {
    use schema::control::Kind;
    let kind = proto
        .kind
        .ok_or_else(|| nothing_known("Control", bytes, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]))?;
    Ok(match kind {
        Kind::EpochBegin(begin) => Control::EpochBegin(EpochBegin::convert(begin)?),
        Kind::SnapshotBegin(begin) => Control::SnapshotBegin(SnapshotBegin::convert(begin)?),
        Kind::SnapshotEnd(end) => Control::SnapshotEnd(SnapshotEnd::convert(end)?),
        Kind::Heartbeat(heartbeat) => Control::Heartbeat(Heartbeat::convert(heartbeat)?),
        Kind::Barrier(barrier) => Control::Barrier(Barrier::convert(barrier)?),
        Kind::Flush(flush) => Control::Flush { all: flush.all },
        Kind::SwapDb(swap) => Control::SwapDb { first: swap.first, second: swap.second },
        Kind::Function(function) => Control::Function(FunctionChange::convert(function)?),
        Kind::SlotHandover(moved) => Control::SlotHandover(SlotHandover::convert(moved)?),
        Kind::FlushSlots(flush) => {
            let slots = slots(&flush.slots)?.ok_or(Invalid::NoSlots)?;
            Control::FlushSlots { all: flush.all, slots }
        }
    })
}

/// The slots of a shard: the first and the last of each range in turn; nothing where it has all.
fn slots(numbers: &[u32]) -> Result<Option<Slots>, DecodeError> {
    let slot = |number: u32| {
        let slot = u16::try_from(number).ok().and_then(Slot::new);
        slot.ok_or(Invalid::Slot { slot: number })
    };
    let (ranges, rest) = numbers.as_chunks::<2>();
    if let [first] = rest {
        return Err(Invalid::Range { name: "slots", first: *first, last: 0 }.into());
    }
    let mut found = Vec::with_capacity(ranges.len());
    for [first, last] in ranges {
        if first > last {
            return Err(Invalid::Range { name: "slots", first: *first, last: *last }.into());
        }
        found.push((slot(*first)?, slot(*last)?));
    }
    Ok((!found.is_empty()).then(|| Slots::of(found)))
}

// === impl EpochBegin ===

impl Convert<schema::EpochBegin> for EpochBegin {
    fn convert(proto: schema::EpochBegin) -> Result<Self, DecodeError> {
        Ok(Self {
            cause: EpochCause::convert(proto.cause)?,
            shard_name: proto.shard_name,
            replication_id: proto.replication_id,
            branch_offset: proto.branch_offset,
            server: proto.server,
            slots: slots(&proto.slots)?,
        })
    }
}

impl Convert<i32> for EpochCause {
    fn convert(value: i32) -> Result<Self, DecodeError> {
        use schema::epoch_begin::Cause;
        match Cause::try_from(value) {
            Ok(Cause::FullResync) => Ok(Self::FullResync),
            Ok(Cause::Continued) => Ok(Self::Continued),
            Ok(Cause::SlotMoved) => Ok(Self::SlotMoved),
            Ok(Cause::Unspecified) | Err(_) => {
                Err(DecodeError::UnknownValue { name: "Cause", value })
            }
        }
    }
}

// === impl SnapshotBegin ===

impl Convert<schema::SnapshotBegin> for SnapshotBegin {
    fn convert(proto: schema::SnapshotBegin) -> Result<Self, DecodeError> {
        Ok(Self {
            snapshot_id: proto.snapshot_id,
            keys_expected: proto.keys_expected,
            bytes_expected: proto.bytes_expected,
            rdb_version: proto.rdb_version,
            flavour: Flavour::convert(proto.flavour)?,
            slots: slots(&proto.slots)?,
        })
    }
}

impl Convert<schema::SnapshotEnd> for SnapshotEnd {
    fn convert(proto: schema::SnapshotEnd) -> Result<Self, DecodeError> {
        let schema::SnapshotEnd { snapshot_id, keys, keys_total } = proto;
        Ok(Self { snapshot_id, keys, keys_total })
    }
}

// === impl Heartbeat ===

impl Convert<schema::Heartbeat> for Heartbeat {
    fn convert(proto: schema::Heartbeat) -> Result<Self, DecodeError> {
        Ok(Self {
            replication_id: proto.replication_id,
            selected_db: proto.selected_db,
            source_time_ms: proto.source_time_ms,
            capture_time_ms: proto.capture_time_ms,
            shard_name: proto.shard_name,
            slots: slots(&proto.slots)?,
        })
    }
}

// === impl Barrier ===

impl Convert<schema::Barrier> for Barrier {
    fn convert(proto: schema::Barrier) -> Result<Self, DecodeError> {
        Ok(Self {
            home_partition: fitting("partition", proto.home_partition, u16::MAX)?,
            partitions: partitions(proto.partitions)?,
        })
    }
}

// === impl SlotHandover ===

impl Convert<schema::SlotHandover> for SlotHandover {
    fn convert(proto: schema::SlotHandover) -> Result<Self, DecodeError> {
        let moved = Self {
            first_slot: fitting("slot", proto.first_slot, u16::MAX)?,
            last_slot: fitting("slot", proto.last_slot, u16::MAX)?,
            from_shard: proto.from_shard,
            to_shard: proto.to_shard,
            until: required("end of SlotHandover", proto.until)?,
        };
        check::handover(&moved)?;
        Ok(moved)
    }
}
