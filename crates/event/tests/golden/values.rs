//! What the golden files hold.

use bytes::Bytes;
use event::checkpoint::{Applied, Checkpoint, Marker, Resync, Territory, Verdict};
use event::control::{
    Barrier, Control, EpochBegin, EpochCause, FunctionChange, Heartbeat, SlotHandover,
    SnapshotBegin, SnapshotEnd,
};
use event::fragment::Fragment;
use event::image::{
    Elements, Field, Flavour, Image, ImageHead, ImagePart, ImageValue, StreamConsumer, StreamEntry,
    StreamGroup, StreamId, StreamMeta, StreamPart, StreamPending,
};
use event::{
    Body, Change, Command, Effect, Event, Group, GroupedChange, KeyArgs, Position, Seen, Shard,
    Stamp,
};
use wire::slot::{Slot, Slots};

/// Name of the file and the event in it.
pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let keyed = bodies().into_iter().map(|(name, body)| (name, event(b"user:{42}", body)));
    let parts = parts().into_iter().map(|(name, elements)| {
        let part = ImagePart { head: head(), number: 3, last: true, elements };
        (name, event(b"user:{42}", Body::ImagePart(part)))
    });
    let controls = controls().into_iter().chain(controls_of_a_shard()).map(|(name, control)| {
        (name, Event { seen: vec![], ..event(b"", Body::Control(control)) })
    });
    keyed.chain(parts).chain(controls).collect()
}

/// Name of the file and the checkpoint in it.
pub(crate) fn checkpoints() -> Vec<(&'static str, Checkpoint)> {
    let plain = Checkpoint {
        stream: "shop".to_owned(),
        incarnation: 0x0102_0304_0506_0708,
        first_partition: 4,
        last_partition: 6,
        applied: vec![Applied { position: position(), judged: position().at_index(1) }],
        read_from: vec![0, 127, 128],
        owner_epoch: 5,
        written_ms: 1_760_000_000_000,
        resyncs: vec![],
        waits_at: None,
        begun_at: None,
        territory: Territory::default(),
        marker: None,
    };
    let full = Checkpoint {
        resyncs: vec![resync()],
        marker: Some(Marker {
            origin: "vienna".to_owned(),
            position: position(),
            stamp: stamp(),
            verdict: Verdict::Skipped,
        }),
        ..plain.clone()
    };
    let on_demand = Resync { sweep: false, snapshot_id: 77, ..resync() };
    // Nothing of it has been applied.
    let announced = Checkpoint { applied: vec![], resyncs: vec![on_demand], ..plain.clone() };
    let other = Resync { shard: Shard(3), sweeping: true, ..resync() };
    let two = Checkpoint { resyncs: vec![resync(), other], ..plain.clone() };
    let waiting = Checkpoint { waits_at: Some(position().at_index(2)), ..plain.clone() };
    let begun = Checkpoint { begun_at: Some(position().at_index(3)), ..plain.clone() };
    let territory = Territory { databases: vec![0, 300], shared: true };
    let shared = Checkpoint { territory, ..plain.clone() };
    vec![
        ("checkpoint", plain),
        ("checkpoint-resync-marker", full),
        ("checkpoint-on-demand", announced),
        ("checkpoint-two-resyncs", two),
        ("checkpoint-waiting", waiting),
        ("checkpoint-begun", begun),
        ("checkpoint-shared", shared),
    ]
}

fn resync() -> Resync {
    Resync { shard: Shard(2), epoch: 7, sweep: true, sweeping: false, snapshot_id: 0 }
}

fn position() -> Position {
    Position { shard: Shard(2), epoch: 7, offset: 10_000_000_000, index: 3 }
}

fn stamp() -> Stamp {
    Stamp { time_ms: 1_760_000_000_123, counter: 9, site: "graz".to_owned() }
}

fn event(key: &'static [u8], body: Body) -> Event {
    Event {
        position: position(),
        stamp: stamp(),
        db: 5,
        slot: Slot::of_key(key),
        key: Bytes::from_static(key),
        body,
        seen: vec![Seen { site: "vienna".to_owned(), position: position().at_index(0) }],
    }
}

fn bytes(list: &[&'static [u8]]) -> Vec<Bytes> {
    list.iter().copied().map(Bytes::from_static).collect()
}

fn head() -> ImageHead {
    ImageHead {
        type_byte: 22,
        flavour: Flavour::Valkey,
        rdb_version: 80,
        expire_at_ms: Some(1_800_000_000_000),
        idle_s: Some(0),
        freq: Some(255),
        snapshot_id: 77,
    }
}

fn command() -> Command {
    Command {
        args: bytes(&[b"SET", b"user:{42}", b"\x00binary\xff"]),
        effect: Effect::Overwrite,
        keys: KeyArgs::First,
    }
}

fn bodies() -> Vec<(&'static str, Body)> {
    let plain = ImageHead {
        type_byte: 0,
        flavour: Flavour::Redis,
        rdb_version: 11,
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        snapshot_id: 0,
    };
    let listed = Command {
        args: bytes(&[b"LMOVE", b"from", b"to", b"LEFT", b"RIGHT"]),
        effect: Effect::Merge,
        keys: KeyArgs::Listed { written: vec![1, 2], read: vec![0] },
    };
    let text = ImageValue::Text(Bytes::from_static(b"text"));
    let rdb = ImageValue::Rdb(Bytes::from_static(b"\x01\x02\x03"));
    let fragment = Fragment {
        number: 1,
        count: 2,
        total_bytes: 1_000_000,
        crc32c: 0xdead_beef,
        data: Bytes::from_static(b"piece"),
        snapshot_id: 0,
    };
    let of_snapshot = Fragment { snapshot_id: 77, ..fragment.clone() };
    vec![
        ("command", Body::Command(command())),
        ("command-keys-listed", Body::Command(listed)),
        ("image-text", Body::Image(Image { head: plain, value: text })),
        ("image-rdb", Body::Image(Image { head: head(), value: rdb })),
        ("group", Body::Group(group())),
        ("fragment", Body::Fragment(fragment)),
        ("fragment-of-snapshot", Body::Fragment(of_snapshot)),
    ]
}

fn group() -> Group {
    let function = FunctionChange { args: bytes(&[b"FUNCTION", b"FLUSH"]), snapshot_id: 0 };
    let changes = [
        Change::Command(command()),
        Change::Flush { all: true },
        Change::SwapDb { first: 1, second: 2 },
        Change::Function(function),
    ];
    let grouped = |change| GroupedChange {
        db: 1,
        slot: Slot::of_key(b"user:{42}"),
        key: Bytes::from_static(b"user:{42}"),
        change,
    };
    Group {
        changes: changes.into_iter().map(grouped).collect(),
        partitions: vec![300, 0],
        number: 2,
        last: true,
        transaction: true,
    }
}

fn parts() -> Vec<(&'static str, Elements)> {
    let field = |name, expire_at_ms| Field {
        field: Bytes::from_static(name),
        value: Bytes::from_static(b"value"),
        expire_at_ms,
    };
    let scores = [(&b"one"[..], 1.5), (b"top", f64::INFINITY)];
    let scores = scores.map(|(member, score)| (Bytes::from_static(member), score)).to_vec();
    let fields = vec![field(b"a", None), field(b"b", Some(1_800_000_000_000))];
    vec![
        ("image-part-text", Elements::Text(Bytes::from_static(b"more text"))),
        ("image-part-items", Elements::Items(bytes(&[b"first", b"", b"third"]))),
        ("image-part-scores", Elements::Scores(scores)),
        ("image-part-fields", Elements::Fields(fields)),
        ("image-part-stream", Elements::Stream(stream())),
        ("image-part-opaque", Elements::Opaque(Bytes::from_static(b"\x07\x00"))),
    ]
}

fn stream() -> StreamPart {
    let id = |ms| StreamId { ms, seq: 1 };
    StreamPart {
        entries: vec![StreamEntry { id: id(10), content: bytes(&[b"field", b"value"]) }],
        meta: Some(StreamMeta {
            length: 1,
            last_id: id(20),
            first_id: id(10),
            max_deleted_id: StreamId::default(),
            entries_added: 2,
        }),
        groups: vec![StreamGroup {
            name: Bytes::from_static(b"workers"),
            last_delivered: id(10),
            entries_read: Some(0),
            pending: vec![StreamPending {
                id: id(10),
                consumer: 0,
                delivered_ms: 1_760_000_000_000,
                deliveries: 4,
            }],
            consumers: vec![StreamConsumer {
                name: Bytes::from_static(b"alice"),
                seen_ms: 1_760_000_000_000,
                active_ms: -1,
            }],
        }],
    }
}

fn controls() -> Vec<(&'static str, Control)> {
    let id = "0123456789abcdef0123456789abcdef01234567".to_owned();
    vec![
        (
            "control-epoch-begin",
            Control::EpochBegin(EpochBegin {
                cause: EpochCause::Continued,
                shard_name: "shop-2".to_owned(),
                replication_id: id.clone(),
                branch_offset: 9_999_999_000,
                server: "valkey 9.1.0".to_owned(),
                slots: None,
            }),
        ),
        (
            "control-snapshot-begin",
            Control::SnapshotBegin(SnapshotBegin {
                snapshot_id: 77,
                keys_expected: 1_000_000,
                bytes_expected: 200_000_000,
                rdb_version: 80,
                flavour: Flavour::Valkey,
                slots: None,
            }),
        ),
        (
            "control-snapshot-end",
            Control::SnapshotEnd(SnapshotEnd { snapshot_id: 77, keys: 999, keys_total: 1_000_001 }),
        ),
        (
            "control-heartbeat",
            Control::Heartbeat(Heartbeat {
                replication_id: id,
                selected_db: 5,
                source_time_ms: 1_760_000_000_100,
                capture_time_ms: 1_760_000_000_101,
                shard_name: String::new(),
                slots: None,
            }),
        ),
        (
            "control-barrier",
            Control::Barrier(Barrier { home_partition: 300, partitions: vec![300, 0] }),
        ),
        ("control-flush", Control::Flush { all: false }),
        ("control-swapdb", Control::SwapDb { first: 0, second: 15 }),
        (
            "control-function",
            Control::Function(FunctionChange {
                args: bytes(&[b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=lib\n"]),
                snapshot_id: 0,
            }),
        ),
        (
            "control-function-of-snapshot",
            Control::Function(FunctionChange {
                args: bytes(&[b"FUNCTION", b"LOAD", b"REPLACE", b"#!lua name=lib\n"]),
                snapshot_id: 77,
            }),
        ),
        (
            "control-slot-handover",
            Control::SlotHandover(SlotHandover {
                first_slot: 0,
                last_slot: 16383,
                from_shard: 0,
                to_shard: 1,
                until: position(),
            }),
        ),
    ]
}

/// Those of a source that is one shard of several.
fn controls_of_a_shard() -> Vec<(&'static str, Control)> {
    let slot = |number| Slot::new(number).expect("there is such a slot");
    let slots = || Slots::of([(slot(0), slot(5460)), (slot(16383), slot(16383))]);
    vec![
        (
            "control-epoch-begin-of-shard",
            Control::EpochBegin(EpochBegin {
                cause: EpochCause::FullResync,
                shard_name: "shop-2".to_owned(),
                replication_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
                branch_offset: 0,
                server: "valkey 9.1.0".to_owned(),
                slots: Some(slots()),
            }),
        ),
        (
            "control-snapshot-begin-of-shard",
            Control::SnapshotBegin(SnapshotBegin {
                snapshot_id: 77,
                keys_expected: 1_000_000,
                bytes_expected: 200_000_000,
                rdb_version: 80,
                flavour: Flavour::Valkey,
                slots: Some(slots()),
            }),
        ),
        (
            "control-heartbeat-of-shard",
            Control::Heartbeat(Heartbeat {
                replication_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
                selected_db: 5,
                source_time_ms: 1_760_000_000_100,
                capture_time_ms: 1_760_000_000_101,
                shard_name: "shop-2".to_owned(),
                slots: Some(slots()),
            }),
        ),
        ("control-flush-slots", Control::FlushSlots { all: true, slots: slots() }),
    ]
}
