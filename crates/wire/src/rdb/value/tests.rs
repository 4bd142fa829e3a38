//! Every encoding against bytes written by hand.

use bytes::Bytes;

use crate::rdb::sample::{len, listpack, text, texts, ziplist};
use crate::rdb::value::{decode, length};
use crate::rdb::{Fault, Flavour, HashField, ModuleId, Value, ValueType};

fn value(byte: u8, flavour: Flavour, raw: &[u8]) -> Value {
    let (kind, raw) = (ValueType::from_byte(byte, flavour).unwrap(), Bytes::from(raw.to_vec()));
    assert_eq!(length(kind, &raw), Ok(raw.len()));
    for end in 0..raw.len() {
        let error = decode(kind, &raw.slice(..end)).unwrap_err();
        assert_eq!(error.fault, Fault::Truncated, "cut off at {end}");
    }
    let longer = Bytes::from([&raw[..], b"!"].concat());
    assert_eq!(decode(kind, &longer).unwrap_err().fault, Fault::TrailingBytes(1));
    decode(kind, &raw).unwrap()
}

fn redis(byte: u8, raw: &[u8]) -> Value {
    value(byte, Flavour::Redis, raw)
}

fn fault(byte: u8, raw: &[u8]) -> Fault {
    let kind = ValueType::from_byte(byte, Flavour::Redis).unwrap();
    decode(kind, &raw.to_vec().into()).unwrap_err().fault
}

fn list(elements: &[&str]) -> Value {
    Value::List(elements.iter().map(|one| Bytes::from((*one).to_owned())).collect())
}

fn set(members: &[&str]) -> Value {
    Value::Set(members.iter().map(|one| Bytes::from((*one).to_owned())).collect())
}

fn zset(members: &[(&'static str, f64)]) -> Value {
    Value::Zset(members.iter().map(|(member, score)| ((*member).into(), *score)).collect())
}

fn hash(fields: &[(&'static str, &'static str, Option<i64>)]) -> Value {
    let field = |(field, value, expire_at_ms): &(&'static str, &'static str, Option<i64>)| {
        HashField { field: (*field).into(), value: (*value).into(), expire_at_ms: *expire_at_ms }
    };
    Value::Hash(fields.iter().map(field).collect())
}

#[test]
fn strings() {
    let string = |raw: &[u8]| redis(0, raw);
    assert_eq!(string(b"\x00"), Value::Str("".into()));
    assert_eq!(string(b"\x03abc"), Value::Str("abc".into()));
    assert_eq!(string(b"\x40\x03abc"), Value::Str("abc".into()));
    assert_eq!(string(b"\x80\x00\x00\x00\x03abc"), Value::Str("abc".into()));
    assert_eq!(string(b"\x81\x00\x00\x00\x00\x00\x00\x00\x03abc"), Value::Str("abc".into()));
    assert_eq!(string(&[0xc0, 0x80]), Value::Str("-128".into()));
    assert_eq!(string(&[0xc1, 0xff, 0x7f]), Value::Str("32767".into()));
    assert_eq!(string(&[0xc2, 0, 0, 0, 0x80]), Value::Str("-2147483648".into()));
    assert_eq!(string(b"\xc3\x04\x08\x00a\xa0\x00"), Value::Str("aaaaaaaa".into()));
}

#[test]
fn strings_that_are_none() {
    assert_eq!(fault(0, b"\x82"), Fault::LengthEncoding(0x82));
    assert_eq!(fault(0, b"\xc4"), Fault::StringEncoding(4));
    assert_eq!(fault(2, b"\xc0\x01"), Fault::StringEncoding(0));
    assert_eq!(fault(0, b"\xc3\x01\x02\x00a"), Fault::Lzf);
    assert_eq!(fault(0, b"\xc3\x01\x40\x59\x00"), Fault::Lzf, "no byte makes 89");
    let promise = b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff";
    assert!(matches!(fault(0, promise), Fault::Truncated | Fault::TooLong { .. }));
}

#[test]
fn generic_collections() {
    let three = texts(3, &["a", "", "b"]);
    assert_eq!(redis(1, &three), list(&["a", "", "b"]));
    assert_eq!(redis(2, &three), set(&["a", "", "b"]));
    assert_eq!(redis(4, &texts(2, &["f", "v", "g", "w"])[..]), {
        hash(&[("f", "v", None), ("g", "w", None)])
    });
    for (byte, empty) in [(1, list(&[])), (2, set(&[])), (5, zset(&[])), (4, hash(&[]))] {
        assert_eq!(redis(byte, &[0]), empty);
    }
    let binary = [&len(1)[..], &text("m"), &2.5_f64.to_le_bytes()].concat();
    assert_eq!(redis(5, &binary), zset(&[("m", 2.5)]));
}

#[test]
fn scores_as_text() {
    let raw = [&len(3)[..], &text("a"), b"\x032.5", &text("b"), &[254], &text("c"), &[255]];
    let infinite = zset(&[("a", 2.5), ("b", f64::INFINITY), ("c", f64::NEG_INFINITY)]);
    assert_eq!(redis(3, &raw.concat()), infinite);
    let raw = [&len(1)[..], &text("a"), &[253]].concat();
    let Value::Zset(members) = redis(3, &raw) else { panic!("a sorted set") };
    assert!(members[0].1.is_nan());
    assert_eq!(fault(3, b"\x01\x01a\x02x1"), Fault::Score);
}

#[test]
fn ziplists() {
    let entries: [&[u8]; 10] = [
        b"\x03abc",
        b"\x40\x02de",
        b"\x80\x00\x00\x00\x01f",
        &[0xc0, 0x00, 0x80],
        &[0xd0, 0x00, 0x00, 0x00, 0x80],
        &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
        &[0xf0, 0x00, 0x00, 0x80],
        &[0xfe, 0x80],
        &[0xf1],
        &[0xfd],
    ];
    let elements = [
        "abc",
        "de",
        "f",
        "-32768",
        "-2147483648",
        "-9223372036854775808",
        "-8388608",
        "-128",
        "0",
        "12",
    ];
    let blob = text(ziplist(&entries));
    assert_eq!(redis(10, &blob), list(&elements));
    assert_eq!(redis(14, &[&len(2)[..], &blob, &text(ziplist(&[b"\x01z"]))].concat()), {
        list(&[&elements[..], &["z"]].concat())
    });
    let pairs = text(ziplist(&[b"\x01a", b"\x031.5", b"\x01b", &[0xf3]]));
    assert_eq!(redis(12, &pairs), zset(&[("a", 1.5), ("b", 2.0)]));
    assert_eq!(redis(13, &pairs), hash(&[("a", "1.5", None), ("b", "2", None)]));
}

#[test]
fn ziplists_after_a_long_entry() {
    let mut blob = ziplist(&[b"\x01a"]);
    blob.truncate(blob.len() - 1);
    blob.extend(b"\xfe\x03\x00\x00\x00\x01b\xff");
    let total = u32::try_from(blob.len()).unwrap();
    blob[..4].copy_from_slice(&total.to_le_bytes());
    assert_eq!(redis(10, &text(blob)), list(&["a", "b"]));
}

#[test]
fn listpacks() {
    let entries: [&[u8]; 11] = [
        &[0x7f],
        b"\x83abc",
        &[0xd0, 0x00],
        &[0xcf, 0xff],
        b"\xe0\x02de",
        b"\xf0\x01\x00\x00\x00f",
        &[0xf1, 0x00, 0x80],
        &[0xf2, 0x00, 0x00, 0x80],
        &[0xf3, 0x00, 0x00, 0x00, 0x80],
        &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80],
        &[0x80],
    ];
    let elements = [
        "127",
        "abc",
        "-4096",
        "4095",
        "de",
        "f",
        "-32768",
        "-8388608",
        "-2147483648",
        "-9223372036854775808",
        "",
    ];
    let blob = text(listpack(&entries));
    assert_eq!(redis(20, &blob), set(&elements));
    let nodes = [&len(2)[..], &len(2), &blob, &len(1), &text("plain")].concat();
    assert_eq!(redis(18, &nodes), list(&[&elements[..], &["plain"]].concat()));
    let pairs = text(listpack(&[b"\x81a", b"\x831.5", b"\x81b", &[2]]));
    assert_eq!(redis(17, &pairs), zset(&[("a", 1.5), ("b", 2.0)]));
    assert_eq!(redis(16, &pairs), hash(&[("a", "1.5", None), ("b", "2", None)]));
}

#[test]
fn listpacks_with_long_entries() {
    for size in [62_usize, 63, 120, 127, 128, 4000, 16_380, 16_384, 70_000] {
        let long = "x".repeat(size);
        let size = u32::try_from(size).unwrap().to_le_bytes();
        let entry = [&[0xf0][..], &size, long.as_bytes()].concat();
        let blob = text(listpack(&[&entry, b"\x81b"]));
        assert_eq!(redis(20, &blob), set(&[&long, "b"]));
    }
}

#[test]
fn intsets() {
    let head = |width: u32, count: u32| [width.to_le_bytes(), count.to_le_bytes()].concat();
    let blob = [head(2, 2), vec![0xff, 0xff, 5, 0]].concat();
    assert_eq!(redis(11, &text(blob)), set(&["-1", "5"]));
    let blob = [head(4, 1), (-70_000_i32).to_le_bytes().to_vec()].concat();
    assert_eq!(redis(11, &text(blob)), set(&["-70000"]));
    let blob = [head(8, 1), i64::MIN.to_le_bytes().to_vec()].concat();
    assert_eq!(redis(11, &text(blob)), set(&["-9223372036854775808"]));
    for broken in [head(3, 0), head(2, 1), head(8, u32::MAX)] {
        assert!(matches!(fault(11, &text(broken)), Fault::Packed { blob: "intset", .. }));
    }
}

#[test]
fn zipmaps() {
    let blob = b"\x02\x01a\x02\x00bc\xfe\x01\x00\x00\x00d\x01\x03eXXX\xff";
    assert_eq!(redis(9, &text(blob)), hash(&[("a", "bc", None), ("d", "e", None)]));
    let half = b"\x01\x01a\xff";
    assert!(matches!(fault(9, &text(half)), Fault::Packed { blob: "zipmap", .. }));
}

#[test]
fn hashes_with_expiring_fields() {
    let expected = hash(&[("a", "1", Some(1000)), ("b", "2", None), ("c", "3", Some(1007))]);
    let valkey = [
        &len(3)[..],
        &[text("a"), text("1"), 1000_i64.to_le_bytes().to_vec()].concat(),
        &[text("b"), text("2"), (-1_i64).to_le_bytes().to_vec()].concat(),
        &[text("c"), text("3"), 1007_i64.to_le_bytes().to_vec()].concat(),
    ];
    assert_eq!(value(22, Flavour::Valkey, &valkey.concat()), expected);
    let deltas = [
        &1000_i64.to_le_bytes()[..],
        &len(3),
        &[len(1), text("a"), text("1")].concat(),
        &[len(0), text("b"), text("2")].concat(),
        &[len(8), text("c"), text("3")].concat(),
    ];
    assert_eq!(redis(24, &deltas.concat()), expected);
    let deadline = |at: i16| [&[0xf1][..], &at.to_le_bytes()].concat();
    let (first, last) = (deadline(1000), deadline(1007));
    let entries: [&[u8]; 9] =
        [b"\x81a", b"\x811", &first, b"\x81b", b"\x812", &[0], b"\x81c", b"\x813", &last];
    let packed = [&1000_i64.to_le_bytes()[..], &text(listpack(&entries))].concat();
    assert_eq!(redis(25, &packed), expected);
}

#[test]
fn deadlines_that_are_none() {
    let beyond = [&i64::MAX.to_le_bytes()[..], &len(1), &len(2), &text("a"), &text("1")].concat();
    assert!(matches!(fault(24, &beyond), Fault::OutOfRange { .. }));
    let packed = [&[0; 8][..], &text(listpack(&[b"\x81a", b"\x811", b"\x81x"]))].concat();
    assert!(matches!(fault(25, &packed), Fault::Packed { .. }));
}

#[test]
fn module_values() {
    let id = 0x1234_5678_9abc_d000_u64 | 7;
    let raw = [
        len(id),
        [len(1), len(u64::MAX)].concat(),
        [len(2), len(5)].concat(),
        [len(3), 1.5_f32.to_le_bytes().to_vec()].concat(),
        [len(4), 2.5_f64.to_le_bytes().to_vec()].concat(),
        [len(5), text("text")].concat(),
        len(0),
    ]
    .concat();
    let module = ModuleId(id);
    assert_eq!(redis(7, &raw), Value::Module { module, raw: raw.clone().into() });
    assert_eq!(module.version(), 7);
    assert_eq!(fault(7, &[7, 6]), Fault::ModuleOpcode(6));
}

#[test]
fn module_names() {
    // Nine characters of six bits each, the first highest.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for name in ["tairhash-", "vectorset", "MBbloom--", "_09AZaz-9"] {
        let code = |byte: u8| letters.iter().position(|one| *one == byte).unwrap() as u64;
        let id = name.bytes().fold(0, |id, byte| id << 6 | code(byte)) << 10 | 3;
        assert_eq!((ModuleId(id).name(), ModuleId(id).version()), (name.to_owned(), 3));
    }
}

#[test]
fn packed_blobs_that_contradict_themselves() {
    let good = listpack(&[b"\x81a", b"\x81b"]);
    let mut short = good.clone();
    short[0] -= 1;
    let mut early = good.clone();
    early[6] = 0xff;
    let mut long = good.clone();
    long[6] = 0xbf;
    let odd = listpack(&[b"\x81a"]);
    for blob in [short, early, long, odd, vec![], good[..5].to_vec()] {
        assert!(matches!(fault(16, &text(blob)), Fault::Packed { blob: "listpack", .. }));
    }
    assert_eq!(fault(18, &[1, 3]), Fault::Container(3));
}

#[test]
fn strings_are_slices_of_the_raw_value() {
    let raw = Bytes::from(texts(2, &["field", "value"]));
    let Value::Set(members) = decode(ValueType::Set, &raw).unwrap() else { panic!("a set") };
    assert!(members.iter().all(|member| raw.as_ptr_range().contains(&member.as_ptr())));
}
