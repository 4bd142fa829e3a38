//! How a file arrives, and whether a value is small or large, changes nothing in what comes out.

use bytes::{Bytes, BytesMut};
use proptest::prelude::{ProptestConfig, prop, proptest};
use wire::rdb::{Limits, Parser, Part, Progress, StreamValue, Value, value};

use crate::fixture::{ALL_LARGE, Large, SERVERS, entries, feed, items, larges, load};

const CHUNKS: [usize; 7] = [1, 2, 3, 17, 256, 4096, 30_000];

#[test]
fn chunks_of_any_size_give_the_same_items() {
    for (server, _) in SERVERS {
        let file = load(server).file;
        let some = Limits { raw_value_bytes: 300, part_bytes: 128, ..ALL_LARGE };
        for limits in [Limits::default(), ALL_LARGE, some] {
            let whole = items(&file, file.len(), limits);
            for chunk in CHUNKS {
                assert_eq!(items(&file, chunk, limits), whole, "{server} in chunks of {chunk}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn any_cuts_give_the_same_items(cuts in prop::collection::vec(1_usize..3000, 1..60)) {
        for ((server, _), limits) in SERVERS.into_iter().zip([ALL_LARGE, Limits::default()].repeat(4)) {
            let file = load(server).file;
            let (mut parser, mut cut) = (Parser::new(limits), Vec::new());
            let (mut rest, mut sizes) = (file.clone(), cuts.iter().cycle());
            while !rest.is_empty() {
                let size = sizes.next().map_or(1, |size| rest.len().min(*size));
                parser.feed(rest.split_to(size));
                while let Progress::Item(item) = parser.next().expect("a good file") {
                    cut.push(item);
                }
            }
            assert_eq!(cut, items(&file, file.len(), limits), "{server}");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_asks_for_more() {
    for (server, _) in SERVERS {
        let file = load(server).file;
        for limits in [Limits::default(), ALL_LARGE] {
            // Feeding byte by byte passes every place at which a file can be cut off.
            let last = feed(&file.slice(..file.len() - 1), 1, limits, drop);
            assert_eq!(last, Ok(Progress::NeedMore), "{server}");
            for end in (0..file.len()).step_by(499) {
                let last = feed(&file.slice(..end), end.max(1), limits, drop);
                assert_eq!(last, Ok(Progress::NeedMore), "{server} cut off at {end}");
            }
        }
    }
}

#[test]
fn parts_together_are_the_value() {
    for (server, _) in SERVERS {
        let file = load(server).file;
        let larges = larges(items(&file, 777, ALL_LARGE));
        let entries = entries(&file);
        assert_eq!(larges.len(), entries.len());
        for (large, (_, entry)) in larges.into_iter().zip(entries) {
            let name = format!("{server} {:?}", entry.head.key);
            assert_eq!(large.head, entry.head, "{name}");
            assert!(sizes_are_bounded(&large), "{name}");
            let whole = value::decode(entry.head.kind, &entry.raw).expect(&name);
            assert_eq!(together(large.parts, &whole), whole, "{name}");
        }
    }
}

/// String parts are full but for the last.
fn sizes_are_bounded(large: &Large) -> bool {
    let sizes: Vec<_> = large
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Str(text) => Some(text.len()),
            _ => None,
        })
        .collect();
    let Some((last, full)) = sizes.split_last() else { return true };
    full.iter().all(|len| *len == ALL_LARGE.part_bytes) && *last <= ALL_LARGE.part_bytes
}

/// The value of which these are the parts; `like` says of which class an empty one is.
fn together(parts: Vec<Part>, like: &Value) -> Value {
    let mut raw = BytesMut::new();
    let (mut texts, mut scored, mut fields, mut items) = (vec![], vec![], vec![], vec![]);
    for part in parts {
        match part {
            Part::Str(bytes) | Part::Module { raw: bytes } => raw.extend_from_slice(&bytes),
            Part::List(part) | Part::Set(part) => texts.extend(part),
            Part::Zset(part) => scored.extend(part),
            Part::Hash(part) => fields.extend(part),
            Part::Stream(part) => items.extend(part),
        }
    }
    let raw: Bytes = raw.freeze();
    match like {
        Value::Str(_) => Value::Str(raw),
        Value::List(_) => Value::List(texts),
        Value::Set(_) => Value::Set(texts),
        Value::Zset(_) => Value::Zset(scored),
        Value::Hash(_) => Value::Hash(fields),
        Value::Stream(_) => Value::Stream(StreamValue::from_items(items)),
        Value::Module { module, .. } => Value::Module { module: *module, raw },
    }
}
