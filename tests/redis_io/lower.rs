//! Every value of every kept file, in the form that another server is said to take, given to that server.
//!
//! The values are compared with what a server of the file's own kind holds after a RESTORE of the bytes as they stand.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use testkit::{Client, Dataset, Kind, Server, Tolerance, assert_same};
use wire::rdb::lower::{Dialect, Misfit, lower};
use wire::rdb::{Entry, Item, Limits, Parser, Progress, ValueType, dump};

/// The kept files, the servers that made them, and the version of those servers' payloads.
const FILES: [(&str, Kind, u16); 8] = [
    ("redis-2.8", Kind::Redis2_8, 6),
    ("redis-3.2", Kind::Redis3_2, 7),
    ("redis-5.0", Kind::Redis5_0, 9),
    ("redis-6.2", Kind::Redis6_2, 9),
    ("redis-7.0", Kind::Redis7_0, 10),
    ("redis-8.2", Kind::Redis8_2, 12),
    ("valkey-9.1", Kind::Valkey9_1, 80),
    ("valkey-9.1-older", Kind::Valkey9_1, 80),
];

const SERVERS: [Kind; 7] = [
    Kind::Redis2_8,
    Kind::Redis3_2,
    Kind::Redis5_0,
    Kind::Redis6_2,
    Kind::Redis7_0,
    Kind::Redis8_2,
    Kind::Valkey9_1,
];

/// The type of the module that comes with one of the servers.
const MODULE: &str = "graphdata";

fn dialect(kind: Kind) -> Dialect {
    match kind {
        Kind::Redis2_8 => Dialect::redis(2, 8),
        Kind::Redis3_2 => Dialect::redis(3, 2),
        Kind::Redis5_0 => Dialect::redis(5, 0),
        Kind::Redis6_2 => Dialect::redis(6, 2),
        Kind::Redis7_0 => Dialect::redis(7, 0),
        Kind::Redis8_2 => Dialect::redis(8, 2),
        Kind::Valkey9_1 => Dialect::valkey(9),
    }
}

/// A server of that kind, with the module that comes with it if there is one.
fn start(kind: Kind) -> Result<Server> {
    match kind.tool("falkordb.so") {
        Ok(module) => Server::start(kind, &[&format!("loadmodule {}", module.display())]),
        Err(_) => Server::start(kind, &[]),
    }
}

/// The entries of a kept file, of all databases together: no two have one name.
fn entries(name: &str) -> Result<BTreeMap<Vec<u8>, Entry>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/testkit/fixtures/rdb");
    let mut parser = Parser::new(Limits::default());
    parser.feed(std::fs::read(folder.join(format!("{name}.rdb")))?.into());
    let mut entries = BTreeMap::new();
    loop {
        match parser.next()? {
            Progress::Item(Item::Entry(entry)) => {
                let known = entries.insert(entry.head.key.to_vec(), entry);
                anyhow::ensure!(known.is_none(), "a key in two databases: {known:?}");
            }
            Progress::Item(_) => {}
            Progress::End => return Ok(entries),
            Progress::NeedMore => anyhow::bail!("{name} is cut off"),
        }
    }
}

fn restore(client: &mut Client, key: &[u8], payload: &Bytes) -> Result<()> {
    let name = || format!("{}, payload {}", key.escape_ascii(), payload.escape_ascii());
    client.cmd(&[b"RESTORE".as_slice(), key, b"0", payload]).with_context(name)?;
    Ok(())
}

/// Which of the keys of a file a server is said not to hold, and why.
fn expected_misfit(kind: Kind, key: &[u8]) -> Option<Misfit> {
    let starts = |prefix: &str| key.starts_with(prefix.as_bytes());
    if starts("stream:") && !kind.at_least(5, 0) {
        Some(Misfit::Stream)
    } else if starts("hash:ttl-") && key != b"hash:ttl-persisted" && !kind.has_field_expiry() {
        Some(Misfit::FieldExpiry)
    } else if key == b"vectors" && kind != Kind::Redis8_2 {
        Some(Misfit::VectorSet)
    } else if key == b"graph" && !kind.is_valkey() && !kind.at_least(6, 2) {
        Some(Misfit::Module)
    } else {
        None
    }
}

fn every_value_arrives(name: &str, own: Kind, own_version: u16) -> Result<()> {
    let entries = entries(name)?;
    for kind in SERVERS {
        let (reference, server) = (start(own)?, start(kind)?);
        let (mut reference, mut client) = (reference.client()?, server.client()?);
        let mut arrived = 0;
        for (key, Entry { head, raw }) in &entries {
            let found = match lower(head.kind, raw, dialect(kind)) {
                Ok(form) => form,
                Err(misfit) => {
                    assert_eq!(Some(misfit), expected_misfit(kind, key), "{name} to {kind}");
                    continue;
                }
            };
            if key == b"graph" && kind != Kind::Redis8_2 {
                // It is for the destination to say that it has no such module.
                assert!(restore(&mut client, key, &found.payload()).is_err());
                continue;
            }
            assert_eq!(expected_misfit(kind, key), None, "{name} to {kind}");
            restore(&mut reference, key, &dump::payload(head.kind.byte(), raw, own_version))?;
            restore(&mut client, key, &found.payload())
                .with_context(|| format!("{name} to {kind}: as {:?}", found.kind))?;
            arrived += 1;
        }
        assert!(arrived > 100, "{name} to {kind}: only {arrived} values arrived");
        let (left, right) = (Dataset::read(&mut reference)?, Dataset::read(&mut client)?);
        let tolerance = Tolerance { module_bytes: true, ..Tolerance::native(own, kind) };
        assert_same(&left, &right, &tolerance);
    }
    Ok(())
}

#[test]
fn every_value_arrives_at_every_server_that_can_hold_it() -> Result<()> {
    for (name, own, version) in FILES {
        every_value_arrives(name, own, version).with_context(|| format!("values of {name}"))?;
    }
    Ok(())
}

/// What Redis 8.6 writes behind a stream: it remembers producers for 100 s and 50 entries, one of them with an entry, and
/// has counted nine and four.
const IDEMPOTENCE: &[u8] = b"\x40\x64\x32\x01\x01p\x01\x01i\x05\x07\x09\x04";

#[test]
fn a_stream_with_the_state_of_its_producers_arrives_without_it() -> Result<()> {
    let mut entries = entries("redis-8.2")?;
    entries.retain(|key, _| key.starts_with(b"stream:"));
    assert!(entries.len() > 5, "only {} streams", entries.len());
    for kind in SERVERS.into_iter().filter(|kind| kind.has_streams()) {
        let (reference, server) = (start(Kind::Redis8_2)?, start(kind)?);
        let (mut reference, mut client) = (reference.client()?, server.client()?);
        for (key, Entry { raw, .. }) in &entries {
            let newer = Bytes::from([raw, IDEMPOTENCE].concat());
            let form = lower(ValueType::Stream4, &newer, dialect(kind))?;
            restore(&mut client, key, &form.payload()).with_context(|| format!("to {kind}"))?;
            restore(&mut reference, key, &dump::payload(ValueType::Stream3.byte(), raw, 11))?;
        }
        let (left, right) = (Dataset::read(&mut reference)?, Dataset::read(&mut client)?);
        assert_same(&left, &right, &Tolerance::native(Kind::Redis8_2, kind));
    }
    Ok(())
}

/// Encodings that no server here writes any more, or yet, by hand: what they hold is the same everywhere.
#[test]
fn forms_that_no_server_here_writes_arrive_at_every_one() -> Result<()> {
    let text = |bytes: &[u8]| [&[u8::try_from(bytes.len()).expect("short")], bytes].concat();
    let zipmap = text(b"\x02\x01f\x02\x00vw\x01g\x01\x03xXXX\xff");
    let scores = b"\x05\x01a\x032.5\x01b\xfe\x01c\xff\x01d\x02-0\x01e\x065e-324".to_vec();
    let valkey = [b"\x01\x01f\x01v".as_slice(), &(-1_i64).to_le_bytes()].concat();
    for kind in SERVERS {
        let server = start(kind)?;
        let mut client = server.client()?;
        for (key, value_type, raw) in [
            ("zipmap", ValueType::HashZipmap, &zipmap),
            ("scores", ValueType::ZsetText, &scores),
            ("valkey", ValueType::HashExpiryValkey, &valkey),
        ] {
            let form = lower(value_type, &raw.clone().into(), dialect(kind))?;
            restore(&mut client, key.as_bytes(), &form.payload())
                .with_context(|| format!("{kind}"))?;
        }
        let fields = client.cmd(&["HMGET", "zipmap", "f", "g"])?.list()?;
        assert_eq!(fields, [b"vw".to_vec(), b"x".to_vec()], "{kind}");
        assert_eq!(client.cmd(&["HGETALL", "valkey"])?.list()?, [b"f", b"v"], "{kind}");
        let members = client.cmd(&["ZRANGE", "scores", "0", "-1", "WITHSCORES"])?.list()?;
        let told: Vec<f64> = members
            .chunks(2)
            .map(|pair| String::from_utf8_lossy(&pair[1]).parse())
            .collect::<Result<_, _>>()?;
        // Some keep small sorted sets with whole numbers as such, and -0 is none.
        assert_eq!(told, [f64::NEG_INFINITY, 0.0, 5e-324, 2.5, f64::INFINITY], "{kind}");
    }
    Ok(())
}

#[test]
fn a_value_of_an_unknown_module_is_carried_byte_for_byte() -> Result<()> {
    let entries = entries("redis-8.2")?;
    let Entry { head, raw } = entries.get(b"graph".as_slice()).context("the graph")?;
    let server = start(Kind::Redis8_2)?;
    let mut client = server.client()?;
    let form = lower(head.kind, raw, dialect(Kind::Redis8_2))?;
    restore(&mut client, b"graph", &form.payload())?;
    assert_eq!(client.cmd(&["TYPE", "graph"])?.text()?, MODULE);
    let told =
        client.cmd(&["GRAPH.RO_QUERY", "graph", "MATCH (p:Person)-[:KNOWS]->(q) RETURN p.name"])?;
    assert!(
        format!("{told:?}").contains("[97]") || format!("{told:?}").contains("\"a\""),
        "{told:?}"
    );
    // What it dumps then is a value of the same module again, and is taken apart to its last byte.
    let again = dump::parse(&client.cmd(&["DUMP", "graph"])?.bytes()?.into())?;
    let kind = again.value_type()?;
    assert_eq!((kind, wire::rdb::value::length(kind, &again.raw)?), (head.kind, again.raw.len()));
    Ok(())
}
