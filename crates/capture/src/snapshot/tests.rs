//! Snapshot files of real servers, and some written by hand: whole and with every value in parts.

use std::collections::BTreeMap;

use event::Shard;
use event::control::SnapshotBegin;
use event::image::{Elements, Field, ImagePart, StreamGroup, StreamPart};
use wire::rdb::Class;

use super::*;
use crate::testing::{outlet, rdb_of_strings, rdb_text, records, sealed, stamp};

const FIXTURES: [&str; 6] =
    ["redis-2.8", "redis-5.0", "redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"];

fn fixture(name: &str) -> Bytes {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/rdb");
    std::fs::read(format!("{dir}/{name}.rdb")).unwrap().into()
}

fn at() -> Position {
    Position::new(Shard(0), 3, 500).at_index(1)
}

fn start(partitions: u16) -> Start {
    let unsupported = Unsupported::Report;
    Start {
        id: 0,
        at: at(),
        stamp: stamp(9),
        bytes_expected: 77,
        keys_expected: 5,
        partitions,
        unsupported,
        slots: None,
    }
}

fn limits(raw_value_bytes: usize, part_bytes: usize) -> rdb::Limits {
    rdb::Limits { raw_value_bytes, part_bytes, ..rdb::Limits::default() }
}

/// Reads a file in chunks of that many bytes: the reader at its end, and what it wrote.
async fn read_by(
    file: &Bytes,
    limits: rdb::Limits,
    chunk: usize,
) -> (SnapshotReader, Vec<(u16, Event)>) {
    read_from(start(4), file, limits, chunk).await
}

async fn read_from(
    start: Start,
    file: &Bytes,
    limits: rdb::Limits,
    chunk: usize,
) -> (SnapshotReader, Vec<(u16, Event)>) {
    let (journal, mut outlet) = outlet(4).await;
    let mut reader = SnapshotReader::new(start, limits);
    let mut last = Read::NeedMore;
    for chunk in file.chunks(chunk) {
        assert_eq!(last, Read::NeedMore);
        reader.feed(Bytes::copy_from_slice(chunk));
        last = Read::Full;
        while last == Read::Full {
            last = reader.read(&mut outlet, 10_000).unwrap();
            outlet.flush(0).await.unwrap();
        }
    }
    assert!(matches!(last, Read::Complete { .. }), "{last:?}");
    (reader, records(&journal).await)
}

/// A value in a form in which the ways to carry it do not show.
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Text(Bytes),
    List(Vec<Bytes>),
    Set(Vec<Bytes>),
    Zset(Vec<(Bytes, f64)>),
    Hash(Vec<(Bytes, Bytes, Option<i64>)>),
    Stream(Box<StreamPart>),
    Opaque(Bytes),
}

fn class_of(head: &ImageHead) -> Class {
    ValueType::from_byte(head.type_byte, head.flavour).unwrap().class()
}

fn plain_of_image(image: &Image) -> Plain {
    let raw = match &image.value {
        ImageValue::Text(text) => return Plain::Text(text.clone()),
        ImageValue::Rdb(raw) => raw,
    };
    let kind = ValueType::from_byte(image.head.type_byte, image.head.flavour).unwrap();
    match rdb::value::decode(kind, raw).unwrap() {
        Value::Str(text) => Plain::Text(text),
        Value::List(items) => Plain::List(items),
        Value::Set(mut items) => {
            items.sort();
            Plain::Set(items)
        }
        Value::Zset(mut scores) => {
            scores.sort_by(|one, other| one.0.cmp(&other.0));
            Plain::Zset(scores)
        }
        Value::Hash(fields) => {
            let fields = fields.into_iter().map(|f| (f.field, f.value, f.expire_at_ms));
            let mut fields: Vec<_> = fields.collect();
            fields.sort();
            Plain::Hash(fields)
        }
        Value::Stream(stream) => Plain::Stream(Box::new(plain_stream(stream))),
        Value::Module { .. } => Plain::Opaque(raw.clone()),
    }
}

fn plain_stream(stream: rdb::StreamValue) -> StreamPart {
    let id = |id: rdb::StreamId| event::image::StreamId { ms: id.ms, seq: id.seq };
    let entries = stream.entries.into_iter().map(|entry| event::image::StreamEntry {
        id: id(entry.id),
        content: entry.fields.into_iter().flat_map(|(name, value)| [name, value]).collect(),
    });
    let groups = stream.groups.into_iter().map(|group| {
        let owner = |wanted: &rdb::StreamId| {
            group.consumers.iter().position(|consumer| consumer.owned.contains(wanted))
        };
        let pending = group.pending.iter().map(|pending| event::image::StreamPending {
            id: id(pending.id),
            consumer: u32::try_from(owner(&pending.id).expect("somebody's")).unwrap(),
            delivered_ms: pending.delivered_ms,
            deliveries: pending.deliveries,
        });
        let consumers = group.consumers.iter().map(|consumer| event::image::StreamConsumer {
            name: consumer.name.clone(),
            seen_ms: consumer.seen_ms,
            active_ms: consumer.active_ms.unwrap_or(consumer.seen_ms),
        });
        StreamGroup {
            name: group.name.clone(),
            last_delivered: id(group.last_id),
            entries_read: group.entries_read,
            pending: pending.collect(),
            consumers: consumers.collect(),
        }
    });
    let meta = event::image::StreamMeta {
        length: stream.meta.length,
        last_id: id(stream.meta.last_id),
        first_id: stream.meta.first_id.map(id).unwrap_or_default(),
        max_deleted_id: stream.meta.max_deleted_id.map(id).unwrap_or_default(),
        entries_added: stream.meta.entries_added.unwrap_or(stream.meta.length),
    };
    StreamPart { entries: entries.collect(), meta: Some(meta), groups: groups.collect() }
}

/// What the parts of one value make together.
fn plain_of_parts(parts: &[ImagePart]) -> Plain {
    let class = class_of(&parts[0].head);
    let mut plain = match class {
        Class::String => Plain::Text(Bytes::new()),
        Class::List => Plain::List(Vec::new()),
        Class::Set => Plain::Set(Vec::new()),
        Class::Zset => Plain::Zset(Vec::new()),
        Class::Hash => Plain::Hash(Vec::new()),
        Class::Stream => Plain::Stream(Box::default()),
        Class::Module => Plain::Opaque(Bytes::new()),
    };
    for (number, part) in (0..).zip(parts) {
        assert_eq!((part.number, part.last), (number, number + 1 == parts.len() as u64));
        assert_eq!(part.head, parts[0].head);
        match (&mut plain, &part.elements) {
            (Plain::Text(all), Elements::Text(more))
            | (Plain::Opaque(all), Elements::Opaque(more)) => {
                *all = [&all[..], more].concat().into();
            }
            (Plain::List(all) | Plain::Set(all), Elements::Items(more)) => {
                all.extend(more.iter().cloned());
            }
            (Plain::Zset(all), Elements::Scores(more)) => all.extend(more.iter().cloned()),
            (Plain::Hash(all), Elements::Fields(more)) => {
                all.extend(more.iter().map(|Field { field, value, expire_at_ms }| {
                    (field.clone(), value.clone(), *expire_at_ms)
                }));
            }
            (Plain::Stream(all), Elements::Stream(more)) => {
                assert_ne!(*more, StreamPart::default(), "a part of nothing");
                all.entries.extend(more.entries.iter().cloned());
                all.meta = all.meta.or(more.meta);
                all.groups.extend(more.groups.iter().cloned());
            }
            (plain, other) => panic!("{other:?} in {plain:?}"),
        }
    }
    match &mut plain {
        Plain::Set(items) => items.sort(),
        Plain::Zset(scores) => scores.sort_by(|one, other| one.0.cmp(&other.0)),
        Plain::Hash(fields) => fields.sort(),
        _ => {}
    }
    plain
}

type Keys = BTreeMap<(u32, Bytes), (ImageHead, Plain)>;

/// The keys of a snapshot, however their values came, in one form.
fn keys_of(events: &[(u16, Event)]) -> Keys {
    let mut keys = Keys::new();
    let mut parts: Vec<ImagePart> = Vec::new();
    for (partition, event) in events {
        let name = (event.db, event.key.clone());
        match &event.body {
            Body::Image(image) => {
                assert!(parts.is_empty(), "between the parts of another value");
                let value = (image.head.clone(), plain_of_image(image));
                assert_eq!(keys.insert(name, value), None, "a key came twice");
            }
            Body::ImagePart(part) => {
                parts.push(part.clone());
                if part.last {
                    let value = (part.head.clone(), plain_of_parts(&parts));
                    assert_eq!(keys.insert(name, value), None, "a key came twice");
                    parts.clear();
                }
            }
            _ => continue,
        }
        assert_eq!(event.slot, Slot::of_key(&event.key));
        assert_eq!(u32::from(*partition), wire::slot::partition_of(event.slot, 4));
    }
    assert!(parts.is_empty(), "the end of a value is missing");
    keys
}

/// All events of the same snapshot, in each partition at positions that grow.
fn assert_framed(events: &[(u16, Event)], keys: &Keys) {
    for partition in 0..4 {
        let here: Vec<_> =
            events.iter().filter(|(p, _)| *p == partition).map(|(_, event)| event).collect();
        assert!(here.is_sorted_by(|one, other| other.position.is_after(&one.position)));
        assert!(here.iter().all(|event| event.stamp == stamp(9) && event.position.offset == 500));
        let [first, .., last] = here.as_slice() else { panic!("{here:?}") };
        assert_eq!(first.position, at());
        let Body::Control(Control::SnapshotBegin(begin)) = &first.body else { panic!("{first:?}") };
        assert_eq!((begin.snapshot_id, begin.keys_expected, begin.bytes_expected), (0, 5, 77));
        let Body::Control(Control::SnapshotEnd(end)) = &last.body else { panic!("{last:?}") };
        assert_eq!(end.keys_total, keys.len() as u64);
        let in_partition =
            |key: &[u8]| wire::slot::partition_of(Slot::of_key(key), 4) == u32::from(partition);
        let count = keys.keys().filter(|(_, key)| in_partition(key)).count();
        assert_eq!(end.keys, count as u64);
    }
}

#[tokio::test]
async fn every_value_is_the_same_whole_and_in_parts() {
    for name in FIXTURES {
        let file = fixture(name);
        let (reader, events) = read_by(&file, limits(1 << 20, 1 << 20), usize::MAX).await;
        let whole = keys_of(&events);
        assert!(whole.len() > 30, "{name}: {} keys", whole.len());
        assert_framed(&events, &whole);
        assert_eq!(reader.counts().keys, whole.len() as u64);
        assert_eq!(reader.counts().bytes, file.len() as u64);
        for (raw_bytes, part_bytes, chunk) in [(0, 1, 1000), (100, 50, 77), (1000, 300, 1)] {
            let (_, events) = read_by(&file, limits(raw_bytes, part_bytes), chunk).await;
            let parts = keys_of(&events);
            assert_framed(&events, &parts);
            assert_eq!(parts.len(), whole.len(), "{name}");
            for (key, value) in &whole {
                assert_eq!(parts.get(key), Some(value), "{name} {key:?} by {raw_bytes}");
            }
            let in_parts = events.iter().filter(|(_, event)| event.kind() == "image-part").count();
            assert!(in_parts > 10, "{name}: only {in_parts} parts");
        }
    }
}

#[tokio::test]
async fn function_libraries_go_everywhere() {
    let (_, events) = read_by(&fixture("redis-7.0"), limits(1000, 1000), 4096).await;
    let functions: Vec<_> = events
        .iter()
        .filter_map(|(partition, event)| match &event.body {
            Body::Control(Control::Function(change)) => Some((*partition, event.position, change)),
            _ => None,
        })
        .collect();
    assert!(!functions.is_empty());
    for each in functions.chunks(4) {
        let (_, position, change) = each[0];
        assert_eq!(change.args[..3], ["FUNCTION", "LOAD", "REPLACE"].map(Bytes::from));
        assert!(change.args[3].starts_with(b"#!"), "{change:?}");
        assert!(each.iter().all(|(_, p, c)| *p == position && *c == change));
        assert_eq!(each.iter().map(|(p, ..)| *p).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}

#[tokio::test]
async fn the_head_tells_format_deadline_and_use() {
    let mut file = b"REDIS0009".to_vec();
    file.push(252);
    file.extend(1_800_000_000_123_i64.to_le_bytes());
    file.extend([249, 17, 0]);
    file.extend(rdb_text(b"key"));
    file.extend(rdb_text(b"value"));
    let (_, events) = read_by(&sealed(file), limits(1000, 1000), 5).await;
    let keys = keys_of(&events);
    let (head, value) = &keys[&(0, Bytes::from("key"))];
    assert_eq!((head.type_byte, head.flavour, head.rdb_version), (0, Flavour::Redis, 9));
    assert_eq!(
        (head.expire_at_ms, head.freq, head.idle_s),
        (Some(1_800_000_000_123), Some(17), None)
    );
    assert_eq!(*value, Plain::Text(Bytes::from("value")));
}

#[tokio::test]
async fn an_empty_snapshot_has_a_beginning_and_an_end() {
    let file = rdb_of_strings([], 0);
    let (_, events) = read_by(&file, limits(1000, 1000), usize::MAX).await;
    let kinds: Vec<_> = events.iter().map(|(p, event)| (*p, event.kind())).collect();
    let expected = |kind| (0..4).map(move |partition| (partition, kind));
    let expected: Vec<_> = expected("snapshot-begin").chain(expected("snapshot-end")).collect();
    assert_eq!(kinds, expected);
    let Body::Control(Control::SnapshotBegin(begin)) = &events[0].1.body else { panic!() };
    let SnapshotBegin { rdb_version, flavour, .. } = begin;
    assert_eq!((*rdb_version, *flavour), (9, Flavour::Redis));
}

#[tokio::test]
async fn the_file_tells_which_database_the_stream_goes_on_in() {
    for (said, expected) in [(7, Some(7)), (-1, None)] {
        let (_, mut outlet) = outlet(1).await;
        let mut reader = SnapshotReader::new(start(1), limits(1000, 1000));
        reader.feed(rdb_of_strings([], said));
        let read = reader.read(&mut outlet, 10_000).unwrap();
        assert_eq!(read, Read::Complete { stream_db: expected });
    }
}

#[tokio::test]
async fn our_own_keys_are_left_out_also_when_they_are_large() {
    let long = vec![b'x'; 5000];
    let keys: [(u32, &[u8], &[u8]); 4] = [
        (0, b"a", b"1"),
        (0, b"keyferry:heartbeat:shop", b"1"),
        (0, b"keyferry:heartbeat:other", &long),
        (2, b"b", &long),
    ];
    let (reader, events) = read_by(&rdb_of_strings(keys, 0), limits(100, 1000), 64).await;
    let found: Vec<_> = keys_of(&events).into_keys().collect();
    assert_eq!(found, [(0, Bytes::from("a")), (2, Bytes::from("b"))]);
    assert_eq!(reader.counts().keys, 2);
}

#[tokio::test]
async fn without_the_sources_word_the_file_tells_how_many_keys_there_are() {
    let mut file = b"REDIS0009".to_vec();
    file.extend([254, 0, 251, 30, 0, 254, 1, 251, 12, 0]);
    let (_, mut outlet) = outlet(1).await;
    let begin = Start { keys_expected: 0, ..start(1) };
    let mut reader = SnapshotReader::new(begin, limits(1000, 1000));
    reader.feed(sealed(file));
    reader.read(&mut outlet, 10_000).unwrap();
    assert_eq!(reader.counts().keys_expected, 42);
}

/// A file with a bit of everything that is not carried.
fn foreign() -> Bytes {
    let mut file = b"REDIS0013".to_vec();
    // Values of a module, before the keys and after them.
    let aux: &[u8] = &[247, 0x81, 0xb6, 0x29, 0x9e, 0xb1, 0xea, 0xe2, 0xd0, 0x01, 2, 1, 2, 7, 0];
    file.extend(aux);
    for (key, class) in [("a", [8, 0, 0, 0]), ("b", [8, 0, 0, 0]), ("c", [8, 1, 0, 0])] {
        file.extend([&[243, 1][..], &class, &[2, 9, 0], &[2], &rdb_text(key.as_bytes())].concat());
        file.extend([&[1][..], &rdb_text(b"m")].concat());
    }
    for member in ["m1", "m 2"] {
        for (name, value) in [("keydb-subexpire-key", member), ("keydb-subexpire-when", "9")] {
            file.extend(
                [&[250][..], &rdb_text(name.as_bytes()), &rdb_text(value.as_bytes())].concat(),
            );
        }
    }
    for job in ["job", "other"] {
        file.extend(
            [&[64][..], &rdb_text(job.as_bytes()), &rdb_text(b"return 1"), &[0; 18]].concat(),
        );
    }
    file.extend(aux);
    sealed(file)
}

#[tokio::test]
async fn what_is_not_carried_is_counted_and_named_once() {
    let (reader, events) = read_by(&foreign(), limits(1000, 1000), usize::MAX).await;
    let expected = "values of the module timeseri0 outside keys; \
                    metadata AAAA that a module keeps on keys: 2, the first on db 0 a; \
                    metadata AAAB that a module keeps on keys: 1, the first on db 0 c; \
                    expiry of members of collections (KeyDB): 2, the first of m1 in db 0 c; \
                    cron job of KeyDB: 2, the first job";
    assert_eq!((reader.left_out().as_str(), reader.counts().keys), (expected, 3));
    assert_eq!(keys_of(&events).len(), 3, "the keys come without what stood beside them");
    let (reader, _) = read_by(&fixture("redis-6.2"), limits(1000, 1000), usize::MAX).await;
    assert_eq!(reader.left_out(), "");
}

#[tokio::test]
async fn what_is_not_carried_stops_the_reading_where_that_is_wanted() {
    let (_, mut outlet) = outlet(1).await;
    let begin = Start { unsupported: Unsupported::Fail, ..start(1) };
    let mut reader = SnapshotReader::new(begin, limits(1000, 1000));
    reader.feed(foreign());
    let error = reader.read(&mut outlet, 10_000).unwrap_err();
    assert!(error.to_string().contains("module timeseri0 outside keys"), "{error}");
    assert!(matches!(error, SnapshotError::NotCarried { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_none_is_refused() {
    let (_, mut outlet) = outlet(1).await;
    let mut reader = SnapshotReader::new(start(1), limits(1000, 1000));
    reader.feed(Bytes::from_static(b"HTTP/1.1 400 Bad Request"));
    let error = reader.read(&mut outlet, 10_000).unwrap_err();
    assert!(matches!(error, SnapshotError::Malformed(_)), "{error}");
    let mut broken = rdb_of_strings([(0, b"a".as_slice(), b"1".as_slice())], 0).to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let mut reader = SnapshotReader::new(start(1), limits(1000, 1000));
    reader.feed(broken.into());
    let error = reader.read(&mut outlet, 10_000).unwrap_err();
    assert!(matches!(error, SnapshotError::Malformed(_)), "{error}");
}

/// All but the beginning, which is recorded before the source is asked.
#[tokio::test]
async fn a_snapshot_on_demand_says_the_same_and_each_of_its_events_says_whose_it_is() {
    for name in FIXTURES {
        for limits in [rdb::Limits::default(), limits(16, 64)] {
            let file = fixture(name);
            let (_, of_stream) = read_by(&file, limits, 4_096).await;
            let start = Start { id: 7, ..start(4) };
            let (_, on_demand) = read_from(start, &file, limits, 4_096).await;
            let is_begin =
                |event: &Event| matches!(event.body, Body::Control(Control::SnapshotBegin(_)));
            assert!(
                on_demand.iter().all(|(_, event)| event.snapshot_id() == 7 && !is_begin(event))
            );
            let expected: Vec<_> =
                of_stream.into_iter().filter(|(_, event)| !is_begin(event)).collect();
            let kinds = |all: &[(u16, Event)]| -> Vec<_> {
                let told = |(at, event): &(u16, Event)| (*at, event.kind(), event.key.clone());
                all.iter().map(told).collect()
            };
            assert_eq!(kinds(&on_demand), kinds(&expected), "{name}");
        }
    }
}
