//! Proptest strategies for every kind of event and for checkpoints, for the tests of this crate and
//! of others.
//!
//! What they make is valid: it can be encoded. Numbers prefer the edges, and bytes are of any
//! value, so that what holds for these events holds for those of a real source.

mod control;
mod image;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use wire::slot::Slot;

pub use self::control::control;
pub use self::image::{image, image_part};
use crate::checkpoint::{Applied, Checkpoint, Marker, Resync, Territory, Verdict};
use crate::control::FunctionChange;
use crate::fragment::Fragment;
use crate::{
    Body, Change, Command, Effect, Event, Group, GroupedChange, KeyArgs, Position, Seen, Shard,
    Stamp,
};

/// Any event.
pub fn event() -> impl Strategy<Value = Event> {
    let seen = vec((name(), position()), 0..3);
    (position(), stamp(), uint(), slot(), bytes(), body(), seen).prop_map(
        |(position, stamp, db, slot, key, body, seen)| {
            let seen = seen.into_iter().map(|(site, position)| Seen { site, position }).collect();
            Event { position, stamp, db, slot, key, body, seen }
        },
    )
}

/// Any body.
pub fn body() -> impl Strategy<Value = Body> {
    // Boxed: in line, the strategies of all bodies together overflow a test's stack.
    prop_oneof![
        command().prop_map(Body::Command).boxed(),
        image().prop_map(Body::Image).boxed(),
        image_part().prop_map(Body::ImagePart).boxed(),
        group().prop_map(Body::Group).boxed(),
        fragment().prop_map(Body::Fragment).boxed(),
        control().prop_map(Body::Control).boxed(),
    ]
}

/// Any command, with keys that are among its arguments.
pub fn command() -> impl Strategy<Value = Command> {
    (vec(bytes(), 2..6), effect()).prop_flat_map(|(args, effect)| {
        let index = 0..u32::try_from(args.len()).expect("a handful of arguments");
        let lists = (vec(index.clone(), 0..3), vec(index, 0..3));
        let keys = lists.prop_map(|(written, read)| {
            if written.is_empty() && read.is_empty() {
                KeyArgs::First
            } else {
                KeyArgs::Listed { written, read }
            }
        });
        keys.prop_map(move |keys| Command { args: args.clone(), effect, keys })
    })
}

/// Any group.
pub fn group() -> impl Strategy<Value = Group> {
    let partitions = vec(any::<u16>(), 0..4);
    (vec(grouped_change(), 0..4), partitions, uint(), any::<bool>(), any::<bool>()).prop_map(
        |(changes, partitions, number, last, transaction)| Group {
            changes,
            partitions,
            number,
            last,
            transaction,
        },
    )
}

/// Any checkpoint.
pub fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let covers = (any::<u16>(), 0..3u16).prop_flat_map(|(first, more)| {
        let last = first.saturating_add(more);
        (Just((first, last)), vec(ulong(), usize::from(last - first) + 1))
    });
    let who = (name(), ulong(), ulong(), long());
    let places = (option::of(position()), option::of(position()));
    let territory = (vec(uint(), 0..3), any::<bool>());
    let territory = territory.prop_map(|(databases, shared)| Territory { databases, shared });
    let extra = (vec(resync(), 0..3), places, territory, option::of(marker()));
    (who, covers, vec(applied(), 0..4), extra).prop_map(
        |(who, ((first_partition, last_partition), read_from), applied, extra)| Checkpoint {
            stream: who.0,
            incarnation: who.1,
            first_partition,
            last_partition,
            applied,
            read_from,
            owner_epoch: who.2,
            written_ms: who.3,
            resyncs: extra.0,
            waits_at: extra.1.0,
            begun_at: extra.1.1,
            territory: extra.2,
            marker: extra.3,
        },
    )
}

/// Any position.
pub fn position() -> impl Strategy<Value = Position> {
    (uint(), ulong(), ulong(), ulong()).prop_map(|(shard, epoch, offset, index)| Position {
        shard: Shard(shard),
        epoch,
        offset,
        index,
    })
}

/// Any stamp.
pub fn stamp() -> impl Strategy<Value = Stamp> {
    (long(), uint(), name()).prop_map(|(time_ms, counter, site)| Stamp { time_ms, counter, site })
}

/// Any slot.
pub fn slot() -> impl Strategy<Value = Slot> {
    (0..Slot::COUNT).prop_map(|number| Slot::new(number).expect("below the count"))
}

/// A few bytes of any value.
pub fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![
        Just(Effect::Overwrite),
        Just(Effect::Merge),
        Just(Effect::Delete),
        Just(Effect::Expire)
    ]
}

fn grouped_change() -> impl Strategy<Value = GroupedChange> {
    let change = prop_oneof![
        command().prop_map(Change::Command),
        any::<bool>().prop_map(|all| Change::Flush { all }),
        (uint(), uint()).prop_map(|(first, second)| Change::SwapDb { first, second }),
        function().prop_map(Change::Function),
    ];
    (uint(), slot(), bytes(), change).prop_map(|(db, slot, key, change)| GroupedChange {
        db,
        slot,
        key,
        change,
    })
}

fn function() -> impl Strategy<Value = FunctionChange> {
    (vec(bytes(), 0..4), ulong())
        .prop_map(|(args, snapshot_id)| FunctionChange { args, snapshot_id })
}

fn fragment() -> impl Strategy<Value = Fragment> {
    (uint(), uint(), ulong(), any::<u32>(), bytes(), ulong()).prop_map(
        |(number, count, total_bytes, crc32c, data, snapshot_id)| Fragment {
            number,
            count,
            total_bytes,
            crc32c,
            data,
            snapshot_id,
        },
    )
}

fn applied() -> impl Strategy<Value = Applied> {
    (position(), position()).prop_map(|(position, judged)| Applied { position, judged })
}

fn resync() -> impl Strategy<Value = Resync> {
    (uint(), ulong(), any::<bool>(), any::<bool>(), ulong()).prop_map(
        |(shard, epoch, sweep, sweeping, snapshot_id)| Resync {
            shard: Shard(shard),
            epoch,
            sweep,
            sweeping,
            snapshot_id,
        },
    )
}

fn marker() -> impl Strategy<Value = Marker> {
    let verdict =
        prop_oneof![Just(Verdict::Applied), Just(Verdict::Skipped), Just(Verdict::Restored)];
    (name(), position(), stamp(), verdict).prop_map(|(origin, position, stamp, verdict)| Marker {
        origin,
        position,
        stamp,
        verdict,
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect())
    ]
}

fn uint() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(127), Just(128), Just(u32::MAX), any::<u32>()]
}

fn ulong() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(127), Just(128), Just(u64::MAX), any::<u64>()]
}

fn long() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), any::<i64>()]
}
