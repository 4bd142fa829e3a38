//! Every type for every server: which form it takes, and that the form is the same value.

use bytes::Bytes;

use super::{Dialect, Form, Misfit, lower};
use crate::rdb::sample::{len, listpack, stream, text, texts, ziplist};
use crate::rdb::value::{Value, decode};
use crate::rdb::{HashField, ModuleId, StreamValue, ValueType};

/// One server of every sort, from the oldest on.
fn servers() -> [Dialect; 10] {
    [
        Dialect::redis(2, 8),
        Dialect::redis(3, 2),
        Dialect::redis(4, 0),
        Dialect::redis(6, 0),
        Dialect::redis(6, 2),
        Dialect::redis(7, 0),
        Dialect::redis(7, 2),
        Dialect::redis(8, 2),
        Dialect::redis(8, 6),
        Dialect::valkey(9),
    ]
}

/// What becomes of a type at each server: the type byte, or why it cannot be held.
type Row = (ValueType, Vec<u8>, [&'static str; 10]);

const ALWAYS_SAME: [&str; 10] = ["="; 10];

fn scores() -> Vec<u8> {
    let member = |name: &str, score: f64| [text(name), score.to_le_bytes().to_vec()].concat();
    let scores = [0.1 + 0.2, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, -1e300, 3.0];
    let members = scores.iter().enumerate().map(|(at, score)| member(&at.to_string(), *score));
    [vec![8], members.collect::<Vec<_>>().concat()].concat()
}

fn deadlines() -> [Vec<u8>; 3] {
    let at = |ms: i64| ms.to_le_bytes().to_vec();
    let valkey = [len(2), text("a"), text("1"), at(1005), text("b"), text("2"), at(-1)].concat();
    let redis = [at(1005), len(2), len(1), text("a"), text("1"), len(0), text("b"), text("2")];
    let ms = [&[0xf1][..], &1005_i16.to_le_bytes()].concat();
    let entries: [&[u8]; 6] = [b"\x81a", b"\x811", &ms, b"\x81b", b"\x812", &[0]];
    [valkey, redis.concat(), [at(1005), text(listpack(&entries))].concat()]
}

fn module(name: &str) -> Vec<u8> {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let code = |byte: u8| letters.iter().position(|one| *one == byte).unwrap() as u64;
    let id = name.bytes().fold(0, |id, byte| id << 6 | code(byte)) << 10;
    assert_eq!(ModuleId(id).name(), name);
    [len(id), len(2), len(7), len(0)].concat()
}

fn rows() -> Vec<Row> {
    let pairs = text(ziplist(&[b"\x01a", b"\x031.5", b"\x01b", &[0xf3]]));
    let packed = text(listpack(&[b"\x81a", b"\x831.5", b"\x81b", &[2]]));
    let [valkey, redis, redis_packed] = deadlines();
    let no = "it knows no expiry of hash fields";
    let old = "it knows no streams";
    let none = "it does not survive values of modules that it has not";
    vec![
        (ValueType::String, text("v"), ALWAYS_SAME),
        (ValueType::List, texts(1, &["a"]), ALWAYS_SAME),
        (ValueType::Set, texts(1, &["a"]), ALWAYS_SAME),
        (ValueType::ZsetText, b"\x01\x01m\x032.5".to_vec(), ALWAYS_SAME),
        (ValueType::Hash, texts(1, &["f", "v"]), ALWAYS_SAME),
        (ValueType::Zset, scores(), ["3", "3", "=", "=", "=", "=", "=", "=", "=", "="]),
        (
            ValueType::Module,
            module("graphdata"),
            [none, none, none, none, "=", "=", "=", "=", "=", "="],
        ),
        (ValueType::HashZipmap, text(b"\x01\x01f\x01\x00v\xff"), ALWAYS_SAME),
        (ValueType::ListZiplist, pairs.clone(), ALWAYS_SAME),
        (ValueType::SetIntset, text(b"\x02\0\0\0\x01\0\0\0\x05\0"), ALWAYS_SAME),
        (ValueType::ZsetZiplist, pairs.clone(), ALWAYS_SAME),
        (ValueType::HashZiplist, pairs.clone(), ALWAYS_SAME),
        (
            ValueType::ListQuicklist,
            [len(1), pairs].concat(),
            ["1", "=", "=", "=", "=", "=", "=", "=", "=", "="],
        ),
        (ValueType::Stream1, stream(1), [old, old, old, "=", "=", "=", "=", "=", "=", "="]),
        (
            ValueType::HashListpack,
            packed.clone(),
            ["4", "4", "4", "4", "4", "=", "=", "=", "=", "="],
        ),
        (
            ValueType::ZsetListpack,
            packed.clone(),
            ["3", "3", "5", "5", "5", "=", "=", "=", "=", "="],
        ),
        (
            ValueType::ListQuicklist2,
            [len(2), len(2), packed.clone(), len(1), text("plain")].concat(),
            ["1", "1", "1", "1", "1", "=", "=", "=", "=", "="],
        ),
        (ValueType::Stream2, stream(2), [old, old, old, "15", "15", "=", "=", "=", "=", "="]),
        (ValueType::SetListpack, packed, ["2", "2", "2", "2", "2", "2", "=", "=", "=", "="]),
        (ValueType::Stream3, stream(3), [old, old, old, "15", "15", "19", "=", "=", "=", "="]),
        (ValueType::HashExpiryValkey, valkey, [no, no, no, no, no, no, no, "24", "24", "="]),
        (ValueType::HashExpiryRedis, redis, [no, no, no, no, no, no, no, "=", "=", "22"]),
        (ValueType::HashExpiryListpack, redis_packed, [no, no, no, no, no, no, no, "=", "=", "22"]),
        (ValueType::Stream4, stream(4), [old, old, old, "15", "15", "19", "21", "21", "=", "21"]),
    ]
}

/// What is compared of a stream that went through a layout: the rest it has no place for.
fn known_to(layout: ValueType, mut value: StreamValue) -> StreamValue {
    if layout != ValueType::Stream4 {
        value.idempotence = None;
    }
    let has_activity = matches!(layout, ValueType::Stream3 | ValueType::Stream4);
    for consumer in value.groups.iter_mut().flat_map(|group| &mut group.consumers) {
        consumer.active_ms = consumer.active_ms.filter(|_| has_activity);
    }
    if layout == ValueType::Stream1 {
        value.groups.iter_mut().for_each(|group| group.entries_read = None);
        (value.meta.first_id, value.meta.max_deleted_id) = (None, None);
        value.meta.entries_added = None;
    }
    value
}

fn same(value: Value, form: &Form) {
    let found = decode(form.kind, &form.raw).unwrap();
    match value {
        Value::Stream(stream) => {
            assert_eq!(found, Value::Stream(known_to(form.kind, stream)), "{form:?}");
        }
        Value::Zset(members) => {
            let Value::Zset(found) = found else { panic!("a sorted set") };
            let bits = |all: &[(Bytes, f64)]| {
                all.iter().map(|(m, s)| (m.clone(), s.to_bits())).collect::<Vec<_>>()
            };
            assert_eq!(bits(&found), bits(&members));
        }
        value => assert_eq!(found, value, "{form:?}"),
    }
}

#[test]
fn every_type_takes_a_form_that_every_server_knows_or_is_refused_by_name() {
    let rows = rows();
    assert_eq!(rows.len(), 24, "every type that is read");
    for (kind, raw, expected) in rows {
        let raw = Bytes::from(raw);
        for (server, expected) in servers().into_iter().zip(expected) {
            let name = format!("{kind:?} for {server:?}");
            match lower(kind, &raw, server) {
                Ok(form) if expected == "=" => {
                    assert_eq!((form.kind, form.raw.as_ptr()), (kind, raw.as_ptr()), "{name}");
                    assert_eq!(server.version_of(kind), Some(form.version), "{name}");
                }
                Ok(form) => {
                    assert_eq!(form.kind.byte().to_string(), expected, "{name}");
                    assert_eq!(server.version_of(form.kind), Some(form.version), "{name}");
                    same(decode(kind, &raw).unwrap(), &form);
                }
                Err(misfit) => assert_eq!(misfit.to_string(), expected, "{name}"),
            }
        }
    }
}

#[test]
fn payloads_name_a_version_that_the_server_accepts() {
    let string = Bytes::from(text("v"));
    let hash = Bytes::from(deadlines()[1].clone());
    for (server, plain) in servers().into_iter().zip([6, 7, 8, 9, 9, 10, 11, 12, 13, 11]) {
        assert_eq!(lower(ValueType::String, &string, server).unwrap().version, plain);
    }
    let form = lower(ValueType::HashExpiryRedis, &hash, Dialect::valkey(9)).unwrap();
    assert_eq!(form.version, 80);
    let payload = crate::rdb::dump::parse(&form.payload()).unwrap();
    assert_eq!((payload.value_type(), payload.version), (Ok(ValueType::HashExpiryValkey), 80));
}

#[test]
fn a_valkey_before_9_is_taken_for_the_redis_that_it_was() {
    let (eight, seven) = (Dialect::valkey(8), Dialect::redis(7, 2));
    for (kind, ..) in rows() {
        assert_eq!(eight.version_of(kind), seven.version_of(kind), "{kind:?}");
    }
}

#[test]
fn a_hash_whose_fields_stay_is_an_ordinary_one() {
    let forever = [len(1), text("f"), text("v"), (-1_i64).to_le_bytes().to_vec()].concat();
    for server in servers().iter().filter(|server| **server != Dialect::valkey(9)) {
        let form = lower(ValueType::HashExpiryValkey, &forever.clone().into(), *server).unwrap();
        assert_eq!((form.kind, &form.raw[..]), (ValueType::Hash, &b"\x01\x01f\x01v"[..]));
    }
}

#[test]
fn deadlines_of_fields_keep_their_distance() {
    let field = |name: &'static str, expire_at_ms| HashField {
        field: name.into(),
        value: "v".into(),
        expire_at_ms,
    };
    let fields = vec![
        field("late", Some(4_102_444_800_000)),
        field("early", Some(5)),
        field("never", None),
        field("same", Some(5)),
    ];
    let (kind, raw) = crate::rdb::encode::expiring_hash(&fields, crate::rdb::Flavour::Valkey);
    for server in [Dialect::redis(8, 0), Dialect::redis(8, 6)] {
        let form = lower(kind, &raw, server).unwrap();
        assert_eq!(decode(form.kind, &form.raw), Ok(Value::Hash(fields.clone())));
        let back = lower(form.kind, &form.raw, Dialect::valkey(9)).unwrap();
        assert_eq!((back.kind, &back.raw), (kind, &raw));
    }
}

#[test]
fn vector_sets_are_known_to_the_servers_that_bring_them() {
    let vectors = Bytes::from(module("vectorset"));
    let to = |server| lower(ValueType::Module, &vectors, server);
    assert!(to(Dialect::redis(8, 0)).is_ok() && to(Dialect::redis(8, 6)).is_ok());
    for server in [Dialect::redis(3, 2), Dialect::redis(7, 4), Dialect::valkey(9)] {
        assert_eq!(to(server), Err(Misfit::VectorSet));
    }
}

#[test]
fn empty_collections_are_no_keys() {
    let nothing = text(listpack(&[]));
    for (kind, raw) in [
        (ValueType::List, vec![0]),
        (ValueType::Set, vec![0x40, 0]),
        (ValueType::Zset, vec![0]),
        (ValueType::HashExpiryRedis, vec![0; 9]),
        (ValueType::HashListpack, nothing.clone()),
        (ValueType::ListQuicklist2, [len(1), len(2), nothing].concat()),
        (ValueType::SetIntset, text(b"\x02\0\0\0\0\0\0\0")),
        (ValueType::ListZiplist, text(ziplist(&[]))),
        (ValueType::HashZipmap, text(b"\x00\xff")),
    ] {
        for server in servers() {
            assert_eq!(lower(kind, &raw.clone().into(), server), Err(Misfit::Empty), "{kind:?}");
        }
    }
    let empty = Bytes::from(text(""));
    assert!(lower(ValueType::String, &empty, Dialect::redis(2, 8)).is_ok());
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let broken = Bytes::from(text("broken"));
    let error = lower(ValueType::HashListpack, &broken, Dialect::redis(6, 0)).unwrap_err();
    let expected = "the value cannot be read: broken listpack: its length is wrong at byte 0";
    assert_eq!(error.to_string(), expected);
    let cut = Bytes::from(stream(3)).slice(..40);
    let error = lower(ValueType::Stream3, &cut, Dialect::redis(6, 0)).unwrap_err();
    assert!(error.to_string().ends_with("ends too early at byte 40"), "{error}");
}
