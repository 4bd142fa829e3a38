//! Builds files for tests, byte by byte.

use bytes::Bytes;

use super::{Error, Item, Limits, Parser, Progress};
use crate::crc64::crc64;

/// A length in the shortest encoding.
pub(crate) fn len(n: u64) -> Vec<u8> {
    match n {
        0..=63 => vec![u8::try_from(n).unwrap()],
        64..=16383 => u16::try_from(n | 0x4000).unwrap().to_be_bytes().to_vec(),
        _ => match u32::try_from(n) {
            Ok(n) => [&[0x80][..], &n.to_be_bytes()].concat(),
            Err(_) => [&[0x81][..], &n.to_be_bytes()].concat(),
        },
    }
}

/// A plain string.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&len(bytes.len() as u64)[..], bytes].concat()
}

/// A count and strings.
pub(crate) fn texts<T: AsRef<[u8]>>(count: u64, texts: &[T]) -> Vec<u8> {
    let mut all = len(count);
    texts.iter().for_each(|one| all.extend(text(one)));
    all
}

/// A key with its value, as they stand in a file.
pub(crate) fn entry(kind: u8, key: &str, raw: &[u8]) -> Vec<u8> {
    [&[kind][..], &text(key), raw].concat()
}

/// A whole file.
pub(crate) fn file(magic: &str, body: &[u8]) -> Vec<u8> {
    let mut file = [magic.as_bytes(), body, &[255]].concat();
    let crc = crc64(&file);
    file.extend(crc.to_le_bytes());
    file
}

/// All items of a file that is fed in chunks of these lengths (the rest as one).
pub(crate) fn parse(file: &[u8], cuts: &[usize], limits: Limits) -> Result<Vec<Item>, Error> {
    let (items, progress) = parse_some(file, cuts, limits)?;
    assert_eq!(progress, Progress::End, "the file is complete");
    Ok(items)
}

/// What comes out of the beginning of a file, and what the parser says last.
pub(crate) fn parse_some(
    file: &[u8],
    cuts: &[usize],
    limits: Limits,
) -> Result<(Vec<Item>, Progress), Error> {
    let mut parser = Parser::new(limits);
    let mut rest = Bytes::copy_from_slice(file);
    let mut items = Vec::new();
    let mut cuts = cuts.iter();
    loop {
        let cut = cuts.next().map_or(rest.len(), |cut| rest.len().min(*cut));
        parser.feed(rest.split_to(cut));
        let last = loop {
            match parser.next()? {
                Progress::Item(item) => items.push(item),
                other => break other,
            }
        };
        if rest.is_empty() || last == Progress::End {
            return Ok((items, last));
        }
        assert!(parser.wanted() > 0);
    }
}

/// A listpack of entries that are encoded already; their lengths are added.
pub(crate) fn listpack(entries: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in entries {
        body.extend_from_slice(entry);
        // Seven bits each, highest first; all but the first are marked.
        let (mut left, mut length) = (entry.len(), Vec::new());
        loop {
            length.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
            if left == 0 {
                break;
            }
        }
        *length.last_mut().unwrap() &= 0x7f;
        length.reverse();
        body.extend(length);
    }
    blob(&[&u16::try_from(entries.len()).unwrap().to_le_bytes()[..], &body].concat())
}

/// A ziplist of entries that are encoded already; the lengths of those before are added.
pub(crate) fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut before) = (vec![0; 4], 0);
    body.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    for entry in entries {
        body.push(before);
        body.extend_from_slice(entry);
        before = u8::try_from(entry.len() + 1).unwrap();
    }
    blob(&body)
}

/// Total length, body, end mark.
fn blob(body: &[u8]) -> Vec<u8> {
    let total = u32::try_from(body.len() + 5).unwrap();
    [&total.to_le_bytes()[..], body, &[0xff]].concat()
}

fn raw_id(ms: u64, seq: u64) -> Vec<u8> {
    [ms.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// A node from 10-1 on: an entry with the node's fields, a deleted one, one with its own, one
/// before the node's first.
fn node() -> Vec<u8> {
    let master: [&[u8]; 6] = [&[3], &[1], &[2], b"\x81a", b"\x81b", &[0]];
    let same: [&[u8]; 6] = [&[2], &[0], &[0], b"\x811", b"\x812", &[5]];
    let deleted: [&[u8]; 6] = [&[3], &[0], &[1], b"\x818", b"\x819", &[5]];
    let own: [&[u8]; 7] = [&[0], &[5], &[0xdf, 0xff], &[1], b"\x81c", &[3], &[6]];
    [text(raw_id(10, 1)), text(listpack(&[&master[..], &same, &deleted, &own].concat()))].concat()
}

/// A stream in the layout of `version`.
pub(crate) fn stream(version: u8) -> Vec<u8> {
    let newer = |from: u8, bytes: Vec<u8>| if version >= from { bytes } else { vec![] };
    let pending = |ms| [raw_id(ms, 1), 77_i64.to_le_bytes().to_vec(), len(2)].concat();
    [
        [len(1), node()].concat(),
        [len(2), len(15), len(0)].concat(),
        newer(2, [len(10), len(1), len(10), len(2), len(3)].concat()),
        [len(2), text("g"), len(15), len(0), newer(2, len(2))].concat(),
        [len(2), pending(10), pending(15)].concat(),
        [len(2), text("c"), 88_i64.to_le_bytes().to_vec()].concat(),
        newer(3, 99_i64.to_le_bytes().to_vec()),
        [len(1), raw_id(15, 1)].concat(),
        [text("d"), 1_i64.to_le_bytes().to_vec(), newer(3, (-1_i64).to_le_bytes().to_vec())]
            .concat(),
        len(0),
        [text("h"), len(0), len(0), newer(2, len(u64::MAX)), len(0), len(0)].concat(),
        newer(4, [len(100), len(50), len(2)].concat()),
        newer(4, [text("p"), len(1), text("i"), len(10), len(1), text("q"), len(0)].concat()),
        newer(4, [len(9), len(4)].concat()),
    ]
    .concat()
}
