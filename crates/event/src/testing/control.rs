//! Control events.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use wire::slot::Slots;

use super::image::flavour;
use super::{function, long, name, position, slot, uint, ulong};
use crate::control::{
    Barrier, Control, EpochBegin, EpochCause, Heartbeat, SlotHandover, SnapshotBegin, SnapshotEnd,
};

/// Any control event.
pub fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        epoch_begin().prop_map(Control::EpochBegin),
        snapshot_begin().prop_map(Control::SnapshotBegin),
        snapshot_end().prop_map(Control::SnapshotEnd),
        heartbeat().prop_map(Control::Heartbeat),
        barrier().prop_map(Control::Barrier),
        any::<bool>().prop_map(|all| Control::Flush { all }),
        (any::<bool>(), slots()).prop_map(|(all, slots)| Control::FlushSlots { all, slots }),
        (uint(), uint()).prop_map(|(first, second)| Control::SwapDb { first, second }),
        function().prop_map(Control::Function),
        handover().prop_map(Control::SlotHandover),
    ]
}

fn epoch_begin() -> impl Strategy<Value = EpochBegin> {
    let cause = prop_oneof![
        Just(EpochCause::FullResync),
        Just(EpochCause::Continued),
        Just(EpochCause::SlotMoved)
    ];
    (cause, name(), name(), ulong(), name(), option::of(slots())).prop_map(
        |(cause, shard_name, replication_id, branch_offset, server, slots)| EpochBegin {
            cause,
            shard_name,
            replication_id,
            branch_offset,
            server,
            slots,
        },
    )
}

fn snapshot_begin() -> impl Strategy<Value = SnapshotBegin> {
    (ulong(), ulong(), ulong(), uint(), flavour(), option::of(slots())).prop_map(
        |(snapshot_id, keys_expected, bytes_expected, rdb_version, flavour, slots)| SnapshotBegin {
            snapshot_id,
            keys_expected,
            bytes_expected,
            rdb_version,
            flavour,
            slots,
        },
    )
}

fn snapshot_end() -> impl Strategy<Value = SnapshotEnd> {
    (ulong(), ulong(), ulong()).prop_map(|(snapshot_id, keys, keys_total)| SnapshotEnd {
        snapshot_id,
        keys,
        keys_total,
    })
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    let times = (long(), long());
    (name(), uint(), times, name(), option::of(slots())).prop_map(
        |(replication_id, selected_db, times, shard_name, slots)| Heartbeat {
            replication_id,
            selected_db,
            source_time_ms: times.0,
            capture_time_ms: times.1,
            shard_name,
            slots,
        },
    )
}

fn slots() -> impl Strategy<Value = Slots> {
    vec((slot(), slot()), 1..4).prop_map(|ranges| {
        Slots::of(ranges.into_iter().map(|(one, other)| (one.min(other), one.max(other))))
    })
}

fn barrier() -> impl Strategy<Value = Barrier> {
    (any::<u16>(), vec(any::<u16>(), 0..4))
        .prop_map(|(home_partition, partitions)| Barrier { home_partition, partitions })
}

fn handover() -> impl Strategy<Value = SlotHandover> {
    (slot(), slot(), uint(), uint(), position()).prop_map(|(one, other, from, to, until)| {
        SlotHandover {
            first_slot: one.min(other).get(),
            last_slot: one.max(other).get(),
            from_shard: from,
            to_shard: to,
            until,
        }
    })
}
