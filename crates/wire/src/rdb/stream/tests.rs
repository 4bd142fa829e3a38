//! Streams in every layout, written by hand.

use bytes::Bytes;

use super::{
    Idempotence, PendingEntry, StreamConsumer, StreamEntry, StreamGroup, StreamId, StreamMeta,
    StreamProducer, StreamValue,
};
use crate::rdb::sample::{len, listpack, stream, text};
use crate::rdb::{Fault, Flavour, Value, ValueType, value};

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

fn entries() -> Vec<StreamEntry> {
    let pair = |field: &'static str, value: &'static str| (Bytes::from(field), Bytes::from(value));
    vec![
        StreamEntry { id: id(10, 1), fields: vec![pair("a", "1"), pair("b", "2")] },
        StreamEntry { id: id(15, 0), fields: vec![pair("c", "3")] },
    ]
}

fn expected(version: u8) -> StreamValue {
    let newer = |from: u8| version >= from;
    let pending = |ms| PendingEntry { id: id(ms, 1), delivered_ms: 77, deliveries: 2 };
    let consumer = |name: &'static str, seen_ms, active_ms, owned| StreamConsumer {
        name: name.into(),
        seen_ms,
        active_ms: newer(3).then_some(active_ms),
        owned,
    };
    let group = StreamGroup {
        name: "g".into(),
        last_id: id(15, 0),
        entries_read: newer(2).then_some(2),
        pending: vec![pending(10), pending(15)],
        consumers: vec![consumer("c", 88, 99, vec![id(15, 1)]), consumer("d", 1, -1, vec![])],
    };
    let empty = StreamGroup {
        name: "h".into(),
        last_id: id(0, 0),
        entries_read: None,
        pending: vec![],
        consumers: vec![],
    };
    let producer = |name: &'static str, entries| StreamProducer { name: name.into(), entries };
    StreamValue {
        entries: entries(),
        meta: StreamMeta {
            length: 2,
            last_id: id(15, 0),
            first_id: newer(2).then_some(id(10, 1)),
            max_deleted_id: newer(2).then_some(id(10, 2)),
            entries_added: newer(2).then_some(3),
        },
        groups: vec![group, empty],
        idempotence: newer(4).then(|| Idempotence {
            duration: 100,
            entries_max: 50,
            producers: vec![producer("p", vec![("i".into(), id(10, 1))]), producer("q", vec![])],
            added: 9,
            duplicates: 4,
        }),
    }
}

#[test]
fn every_layout() {
    for (version, byte) in [(1, 15), (2, 19), (3, 21), (4, 26)] {
        let kind = ValueType::from_byte(byte, Flavour::Redis).unwrap();
        let raw = Bytes::from(stream(version));
        assert_eq!(value::length(kind, &raw), Ok(raw.len()));
        let decoded = value::decode(kind, &raw).unwrap();
        assert_eq!(decoded, Value::Stream(expected(version)), "layout {version}");
        for end in 0..raw.len() {
            let error = value::decode(kind, &raw.slice(..end)).unwrap_err();
            assert_eq!(error.fault, Fault::Truncated, "layout {version} cut off at {end}");
        }
    }
}

#[test]
fn nodes_that_contradict_themselves() {
    let decode = |node: &[u8]| {
        let raw = [&len(1)[..], node, &[0; 4]].concat().into();
        value::decode(ValueType::Stream1, &raw).unwrap_err().fault
    };
    assert!(matches!(decode(&text("short id")), Fault::Stream(_)));
    let negative = [text([0; 16]), text(listpack(&[&[1], &[0], &[0xdf, 0xff]]))].concat();
    assert!(matches!(decode(&negative), Fault::Stream(_)));
    let broken: [&[&[u8]]; 4] = [
        &[&[1], &[0]],
        &[&[1], &[0], &[9], b"\x81a"],
        &[&[1], &[0], &[0], &[0], &[0], &[0]],
        &[&[1], &[0], &[0], &[0], b"\x81x"],
    ];
    for entries in broken {
        let node = [text([0; 16]), text(listpack(entries))].concat();
        assert!(matches!(decode(&node), Fault::Packed { blob: "listpack", .. }));
    }
}
