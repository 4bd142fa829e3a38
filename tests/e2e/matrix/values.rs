//! One of everything that a server can hold: every type, below and above the sizes at which servers
//! change the encoding, bytes that are no text, nothing at all, deadlines of every kind, several
//! databases.

use anyhow::Result;
use testkit::{Client, Kind};

/// More elements than any encoding of small collections takes.
const MANY: usize = 600;
/// Longer than any element of an encoding of small collections.
const LONG_BYTES: usize = 300;
/// Longer than a node of a list: since 7.0 such an element is a node of its own.
const HUGE_BYTES: usize = 9_000;
/// 2100-01-01 and some milliseconds.
const FAR: &str = "4102444800123";

/// Fills a server, in databases 0 to 2. One key is past its deadline and still there.
pub(super) fn fill(client: &mut Client, kind: Kind) -> Result<()> {
    for db in 0..3 {
        client.select(db)?;
        strings(client)?;
        collections(client)?;
        if kind.at_least(3, 2) {
            client.cmd(&["GEOADD", "geo", "13.361389", "38.115556", "p", "15.08", "37.5", "c"])?;
        }
        if kind.has_streams() {
            streams(client)?;
        }
        if kind.has_field_expiry() {
            expiring_fields(client)?;
        }
        if kind == Kind::Redis8_2 {
            client.cmd(&["VADD", "vectors", "VALUES", "3", "1", "0.5", "0", "a"])?;
        }
        deadlines(client)?;
    }
    client.select(0)?;
    if kind.has_functions() {
        let code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
        client.cmd(&["FUNCTION", "LOAD", code])?;
    }
    Ok(())
}

fn strings(client: &mut Client) -> Result<()> {
    let every_byte: Vec<u8> = (0..=255).collect();
    for (key, value) in [
        (&b"string"[..], &b"value"[..]),
        (b"empty", b""),
        (b"bytes", &every_byte),
        (&every_byte, b"a key of bytes"),
        (b"", b"an empty key"),
        (b"small number", b"-7"),
        (b"number", b"1234567890123"),
        (b"largest number", b"9223372036854775807"),
        (b"no number", b"0123"),
        (b"compressible", &[b'x'; 20_000]),
    ] {
        client.cmd(&[b"SET", key, value])?;
    }
    client.cmd(&["SETBIT", "bits", "9999", "1"])?;
    client.cmd(&["PFADD", "few counted", "a", "b", "c"])?;
    let counted: Vec<String> = (0..5_000).map(|number| format!("counted:{number}")).collect();
    some(client, &["PFADD", "many counted"], &counted)
}

fn collections(client: &mut Client) -> Result<()> {
    let few: Vec<Vec<u8>> =
        vec![b"a".to_vec(), Vec::new(), b"\x00\xff\r\n".to_vec(), b"12".to_vec()];
    let many: Vec<Vec<u8>> = (0..MANY).map(|n| format!("element:{n}").into_bytes()).collect();
    let sizes = [
        ("small", few),
        ("large", many),
        ("long", vec![vec![b'x'; LONG_BYTES], b"short".to_vec()]),
        ("huge", vec![vec![b'y'; HUGE_BYTES], b"short".to_vec(), vec![b'z'; HUGE_BYTES]]),
    ];
    for (size, elements) in &sizes {
        some(client, &["RPUSH", &format!("{size} list")], elements)?;
        some(client, &["SADD", &format!("{size} set")], elements)?;
        let pairs: Vec<Vec<u8>> =
            elements.iter().flat_map(|element| [element.clone(), element.clone()]).collect();
        some(client, &["HMSET", &format!("{size} hash")], &pairs)?;
        let scored: Vec<Vec<u8>> = elements
            .iter()
            .enumerate()
            .flat_map(|(n, element)| [format!("{}.1", n % 7).into_bytes(), element.clone()])
            .collect();
        some(client, &["ZADD", &format!("{size} sorted set")], &scored)?;
    }
    for (key, step, count) in [
        ("16 bits", 100, 20),
        ("32 bits", 1_000_000, 20),
        ("64 bits", 1 << 40, 20),
        ("more", 3, MANY),
    ] {
        let numbers: Vec<String> =
            (0..count).map(|n| (i64::try_from(n).unwrap_or(0) * step - 50).to_string()).collect();
        some(client, &["SADD", &format!("numbers of {key}")], &numbers)?;
        some(client, &["RPUSH", &format!("list of {key}")], &numbers)?;
    }
    let scores = "-inf a +inf b 0 c -0 d 0.1 e 1e300 f 5e-324 g 3 h -1.5 i 123456789012345680 j";
    some(client, &["ZADD", "scores"], &scores.split(' ').collect::<Vec<_>>())
}

fn streams(client: &mut Client) -> Result<()> {
    let add = |key: &str, count: usize| -> Vec<String> {
        (1..=count).map(|n| format!("XADD {key} {n}-{} field {n} other value", n % 3)).collect()
    };
    let mut lines = [add("stream", 5), add("long stream", MANY), add("emptied stream", 2)].concat();
    let fixed = [
        "XADD stream 9-1 field value and another",
        "XDEL stream 2-2",
        "XDEL emptied 1-1",
        "XGROUP CREATE stream group 0",
        "XGROUP CREATE stream unread $",
        "XREADGROUP GROUP group alice COUNT 3 STREAMS stream >",
        "XREADGROUP GROUP group bob COUNT 1 STREAMS stream >",
        "XACK stream group 1-1",
        "XCLAIM stream group carol 0 3-0 TIME 1000 RETRYCOUNT 7",
        "XGROUP CREATE only:group group 0 MKSTREAM",
        "XADD moved 1-1 f v",
        "XSETID moved 77-7",
    ];
    lines.extend(fixed.iter().map(|line| (*line).to_owned()));
    for line in lines {
        let line = line.replace("long stream", "long:stream").replace("emptied stream", "emptied");
        client.cmd(&line.split(' ').collect::<Vec<_>>())?;
    }
    client.cmd(&["XDEL", "emptied", "2-2"])?;
    let old: Vec<String> = (100..300).map(|n| format!("{n}-{}", n % 3)).collect();
    some(client, &["XDEL", "long:stream"], &old)
}

fn expiring_fields(client: &mut Client) -> Result<()> {
    for (key, count) in [("few expiring fields", 4), ("many expiring fields", MANY)] {
        let pairs: Vec<String> =
            (0..count).flat_map(|n| [format!("field:{n}"), format!("value:{n}")]).collect();
        some(client, &["HSET", key], &pairs)?;
        client.cmd(&["HPEXPIREAT", key, FAR, "FIELDS", "2", "field:0", "field:2"])?;
    }
    Ok(())
}

fn deadlines(client: &mut Client) -> Result<()> {
    client.cmd(&["SETEX", "in a day", "86400", "v"])?;
    client.cmd(&["RPUSH", "far", "v"])?;
    client.cmd(&["PEXPIREAT", "far", FAR])?;
    client.cmd(&["HSET", "very far", "f", "v"])?;
    client.cmd(&["PEXPIREAT", "very far", "253402300799999"])?;
    client.cmd(&["SET", "past", "v"])?;
    client.cmd(&["PEXPIRE", "past", "1"]).map(drop)
}

fn some(client: &mut Client, before: &[&str], elements: &[impl AsRef<[u8]>]) -> Result<()> {
    let words: Vec<&[u8]> =
        before.iter().map(|w| w.as_bytes()).chain(elements.iter().map(AsRef::as_ref)).collect();
    client.cmd(&words).map(drop)
}
