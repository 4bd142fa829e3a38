//! Files as a Redis 7.2 server writes them, each full of one kind of value.

use bytes::{BufMut, Bytes};
use wire::crc64::crc64;

/// One file.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) file: Bytes,
    /// Keys in it.
    pub(crate) keys: usize,
}

/// Elements of each small collection: what fits the encodings for small ones with room to spare.
const SMALL: usize = 16;

/// Bytes of a value of strings.
const STRING_BYTES: usize = 100;

/// Too large for the encoding in 16 bits.
const FIRST_INTEGER: usize = 100_000;

/// A file of about `bytes` for every kind.
pub(crate) fn all(bytes: usize) -> Vec<Sample> {
    let large = large_hash(bytes);
    vec![
        fill("strings of 100 bytes", bytes, 0, |number| text(&string(number))),
        fill("strings of 100 bytes, LZF", bytes, 0, |_| lzf_string()),
        fill("integers", bytes, 0, |number| {
            [&[0xc2][..], &i32::try_from(number).unwrap_or(i32::MAX).to_le_bytes()].concat()
        }),
        fill("lists of 16", bytes, 18, |number| {
            [&[1, 2][..], &listpack((0..SMALL).map(|at| element(number, at)))].concat()
        }),
        fill("sets of 16", bytes, 20, |number| listpack((0..SMALL).map(|at| element(number, at)))),
        fill("sets of 16 integers", bytes, 11, intset),
        fill("sorted sets of 16", bytes, 17, |number| {
            listpack((0..SMALL).flat_map(|at| [element(number, at), format!("{at}.5")]))
        }),
        fill("hashes of 16", bytes, 16, |number| {
            listpack((0..SMALL).flat_map(|at| [format!("field:{at}"), element(number, at)]))
        }),
        large,
    ]
}

/// Values of one type, with as many keys as make the size.
fn fill(name: &'static str, bytes: usize, kind: u8, value: impl Fn(usize) -> Vec<u8>) -> Sample {
    let mut body = Vec::with_capacity(bytes + 4096);
    let mut keys = 0;
    while body.len() < bytes {
        body.push(kind);
        body.extend(text(&format!("key:{keys:012}")));
        body.extend(value(keys));
        keys += 1;
    }
    Sample { name, file: file(&body), keys }
}

/// One hash that is too large to come out whole.
fn large_hash(bytes: usize) -> Sample {
    let (mut fields, mut count) = (Vec::new(), 0);
    while fields.len() < bytes {
        fields.extend(text(&format!("field:{count:012}")));
        fields.extend(text(&string(count)));
        count += 1;
    }
    let body = [&[4][..], &text("large"), &len(count), &fields].concat();
    Sample { name: "one large hash", file: file(&body), keys: 1 }
}

fn file(body: &[u8]) -> Bytes {
    let mut file = [b"REDIS0011".as_slice(), &[254, 0], body, &[255]].concat();
    let checksum = crc64(&file);
    file.put_u64_le(checksum);
    file.into()
}

fn string(number: usize) -> String {
    format!("{number:0STRING_BYTES$}")
}

fn element(number: usize, at: usize) -> String {
    format!("element {at} of {number}")
}

fn text(text: &str) -> Vec<u8> {
    [&len(text.len()), text.as_bytes()].concat()
}

/// A string of equal parts of ten bytes: ten literals and a reference to them.
fn lzf_string() -> Vec<u8> {
    // Beyond six bytes a reference has its length, less nine, in a byte of its own; then the distance less one.
    let packed = [&[9][..], b"0123456789", &[0xe0, byte(STRING_BYTES - 10 - 9), 9]].concat();
    [&[0xc3][..], &len(packed.len()), &len(STRING_BYTES), &packed].concat()
}

/// Sixteen integers of 32 bits, in order.
fn intset(number: usize) -> Vec<u8> {
    let mut set = Vec::new();
    set.put_u32_le(4);
    set.put_u32_le(u32_of(SMALL));
    (0..SMALL).for_each(|at| set.put_u32_le(u32_of(FIRST_INTEGER + at * 7 + number % 7)));
    [&len(set.len())[..], &set].concat()
}

/// A listpack of short texts.
fn listpack(entries: impl Iterator<Item = String>) -> Vec<u8> {
    let (mut body, mut count) = (Vec::new(), 0);
    for entry in entries {
        assert!(entry.len() < 64, "an entry of one byte of length");
        body.push(0x80 | byte(entry.len()));
        body.extend_from_slice(entry.as_bytes());
        body.push(byte(entry.len() + 1));
        count += 1;
    }
    let mut pack = Vec::new();
    pack.put_u32_le(u32_of(body.len() + 7));
    pack.put_u16_le(count);
    pack.extend(body);
    pack.push(0xff);
    [&len(pack.len())[..], &pack].concat()
}

/// A length in its shortest encoding.
fn len(len: usize) -> Vec<u8> {
    match len {
        0..64 => vec![byte(len)],
        64..0x4000 => vec![0x40 | byte(len >> 8), byte(len & 0xff)],
        _ => [&[0x80][..], &u32_of(len).to_be_bytes()].concat(),
    }
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("a number below 256")
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).expect("a number of 32 bits")
}
