//! What the fuzz targets of this module run, and what must hold whatever the bytes are.

use bytes::Bytes;

use super::lower::{Dialect, Form, lower};
use super::{
    Error, Flavour, HashField, Item, Limits, Parser, Progress, Value, ValueType, dump, encode,
    value,
};

/// Small, so that small inputs pass them.
const LIMITS: Limits = Limits { raw_value_bytes: 40, part_bytes: 30, max_string_bytes: 1 << 20 };

/// A file fed whole, byte by byte and in pieces: the same items and the same end.
///
/// # Panics
/// When the parser is wrong.
pub fn file(data: &[u8]) {
    let whole = feed(data, data.len().max(1), LIMITS);
    for chunk in [1, 7, 64] {
        let pieces = feed(data, chunk, LIMITS);
        assert!(same(&whole, &pieces), "in chunks of {chunk}: {pieces:?}, whole: {whole:?}");
    }
    let _as_a_service_would = feed(data, 16 << 10, Limits::default());
}

/// A type byte, a flavour byte and a value: what decodes whole also does in parts, and comes back
/// from its generic encoding.
///
/// # Panics
/// When a decoder is wrong.
pub fn whole_value(data: &[u8]) {
    let Some(([byte, flavour], raw)) = data.split_first_chunk::<2>() else { return };
    let flavour = if flavour % 2 == 0 { Flavour::Redis } else { Flavour::Valkey };
    let Ok(kind) = ValueType::from_byte(*byte, flavour) else { return };
    let raw = Bytes::copy_from_slice(raw);
    let Ok(decoded) = value::decode(kind, &raw) else { return };
    assert_eq!(value::length(kind, &raw), Ok(raw.len()));
    assert_eq!(decoded.class(), kind.class());

    let magic: &[u8] = if flavour == Flavour::Redis { b"REDIS0013" } else { b"VALKEY080" };
    let file = [magic, &[*byte, 1, b'k'], &raw, &[255], &[0; 8]].concat();
    let limits = Limits { raw_value_bytes: 0, max_string_bytes: usize::MAX, ..LIMITS };
    let (items, end) = feed(&file, 5, limits);
    assert_eq!(end, Ok(Progress::End), "{items:?}");

    if let Ok((kind, raw)) = encode::generic(&decoded) {
        let again = value::decode(kind, &raw).expect("what was encoded decodes");
        // Not the values themselves: a score may be no number, and then equals nothing.
        assert_eq!(encode::generic(&again), Ok((kind, raw)));
        assert!(!matches!(again, Value::Stream(_) | Value::Module { .. }));
    }
}

/// A type byte, a flavour byte, two bytes that choose servers, and a value: what a server takes is the
/// same value, also when it goes there by way of the other.
///
/// # Panics
/// When it is not.
pub fn lowered(data: &[u8]) {
    let Some(([byte, flavour, first, second], raw)) = data.split_first_chunk::<4>() else { return };
    let flavour = if flavour % 2 == 0 { Flavour::Redis } else { Flavour::Valkey };
    let Ok(kind) = ValueType::from_byte(*byte, flavour) else { return };
    let raw = Bytes::copy_from_slice(raw);
    let Ok(original) = value::decode(kind, &raw) else { return };
    let Some(there) = lower_checked(kind, &raw, server(*first)) else { return };
    assert!(is_same(&there.1, &original), "{original:?} becomes {:?}", there.1);
    let Some(direct) = lower_checked(kind, &raw, server(*second)) else { return };
    assert!(is_same(&direct.1, &original), "{original:?} becomes {:?}", direct.1);
    let (form, _) = there;
    let Some(onward) = lower_checked(form.kind, &form.raw, server(*second)) else { return };
    assert!(is_same(&onward.1, &original), "{original:?} becomes {:?} on the way", onward.1);
}

fn server(number: u8) -> Dialect {
    match number % 10 {
        0 => Dialect::redis(2, 8),
        1 => Dialect::redis(3, 2),
        2 => Dialect::redis(4, 0),
        3 => Dialect::redis(5, 0),
        4 => Dialect::redis(6, 2),
        5 => Dialect::redis(7, 0),
        6 => Dialect::redis(7, 2),
        7 => Dialect::redis(8, 6),
        8 => Dialect::valkey(8),
        _ => Dialect::valkey(9),
    }
}

/// The form for a server, and what it reads there.
fn lower_checked(kind: ValueType, raw: &Bytes, server: Dialect) -> Option<(Form, Value)> {
    let form = lower(kind, raw, server).ok()?;
    let there = value::decode(form.kind, &form.raw).expect("what a server takes decodes");
    assert_eq!(value::length(form.kind, &form.raw), Ok(form.raw.len()));
    assert_eq!(server.version_of(form.kind), Some(form.version));
    let payload = dump::parse(&form.payload()).expect("a payload");
    assert!(payload.checked && payload.key_meta.is_none());
    assert_eq!(
        (payload.kind, &payload.raw, payload.version),
        (form.kind.byte(), &form.raw, form.version)
    );
    Some((form, there))
}

/// Whether two servers hold the same. Older streams have less around their entries.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Stream(one), Value::Stream(other)) => one.entries == other.entries,
        (Value::Hash(one), Value::Hash(other)) => passed_alike(one) == passed_alike(other),
        // As text, since a score that is no number equals nothing.
        _ => format!("{one:?}") == format!("{other:?}"),
    }
}

/// The fields, where all deadlines before 1970 are one: they have passed, and not every encoding holds them.
fn passed_alike(fields: &[HashField]) -> Vec<HashField> {
    let alike = |field: &HashField| HashField {
        expire_at_ms: field.expire_at_ms.map(|ms| ms.max(0)),
        ..field.clone()
    };
    fields.iter().map(alike).collect()
}

/// A payload: what is taken apart goes together again.
///
/// # Panics
/// When it does not.
pub fn payload(data: &[u8]) {
    let Ok(parsed) = dump::parse(&Bytes::copy_from_slice(data)) else { return };
    if parsed.checked && parsed.key_meta.is_none() {
        let again = dump::payload(parsed.kind, &parsed.raw, parsed.version);
        assert_eq!(again, data);
    }
    if let Ok(kind) = parsed.value_type() {
        let _judged = value::decode(kind, &parsed.raw);
        if let Ok(bare) = parsed.clone().without_notes() {
            assert_eq!(value::length(kind, &parsed.raw), Ok(bare.raw.len()));
        }
    }
}

type Outcome = (Vec<Item>, Result<Progress, Error>);

fn feed(data: &[u8], chunk: usize, limits: Limits) -> Outcome {
    let mut parser = Parser::new(limits);
    let (mut items, mut last) = (Vec::new(), Ok(Progress::NeedMore));
    for chunk in data.chunks(chunk) {
        parser.feed(Bytes::copy_from_slice(chunk));
        last = loop {
            match parser.next() {
                Ok(Progress::Item(item)) => items.push(item),
                other => break other,
            }
        };
    }
    (items, last)
}

/// As text, since a score that is no number equals nothing.
fn same(one: &Outcome, other: &Outcome) -> bool {
    one == other || format!("{one:?}") == format!("{other:?}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Names of the seeds of a target for which `good` does not hold.
    fn without(target: &str, good: fn(&[u8]) -> bool) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
        let mut names = Vec::new();
        for seed in std::fs::read_dir(root.join(target)).expect("seeds") {
            let seed = seed.expect("readable");
            if !good(&std::fs::read(seed.path()).expect("readable")) {
                names.push(seed.file_name().into_string().expect("a name"));
            }
        }
        names.sort();
        names
    }

    #[test]
    fn seeds_are_what_their_names_say() {
        let broken = without("rdb", |file| feed(file, 9, LIMITS).1 == Ok(Progress::End));
        let names = [
            "compressed_string_complete_before_its_end",
            "compressed_string_with_a_broken_end",
            "compressed_string_wrong_before_its_end",
            "field_wrong_beyond_the_limit_of_small_values",
            "newer_version",
            "unknown_type",
        ];
        assert_eq!(broken, names);

        let broken = without("rdb_value", |data| {
            let flavour = if data[1] == 0 { Flavour::Redis } else { Flavour::Valkey };
            let kind = ValueType::from_byte(data[0], flavour).expect("a type");
            value::decode(kind, &Bytes::copy_from_slice(&data[2..])).is_ok()
        });
        let names = [
            "listpack_ends_inside_a_pair",
            "lzf_reference_before_the_beginning",
            "promises_more_than_memory",
        ];
        assert_eq!(broken, names);

        let broken = without("dump", |data| dump::parse(&Bytes::copy_from_slice(data)).is_ok());
        assert_eq!(broken, ["too_short", "wrong_checksum"]);
    }
}
