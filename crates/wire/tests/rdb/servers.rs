//! Every key of every fixture is what its server said, by value and byte for byte.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value as Json;
use wire::rdb::{Class, Entry, Flavour, Item, Limits, StreamValue, Value, dump, value};

use crate::fixture::{SERVERS, bytes, entries, items, load};

#[test]
fn decodes_what_the_servers_said() {
    for (server, _) in SERVERS {
        let fixture = load(server);
        let mut found: HashMap<(u64, Vec<u8>), Entry> = HashMap::new();
        for (db, entry) in entries(&fixture.file) {
            found.insert((db.into(), entry.head.key.to_vec()), entry);
        }
        let keys = fixture.said["keys"].as_array().expect("keys");
        assert_eq!(keys.len(), found.len(), "{server}");
        for said in keys {
            let (db, key) = (said["db"].as_u64().expect("a number"), bytes(&said["key"]));
            let name = format!("{server} db {db} {}", key.escape_ascii());
            let entry = &found[&(db, key)];
            assert_eq!(entry.head.expire_at_ms, said["expire_at"].as_i64(), "{name}");
            let value = value::decode(entry.head.kind, &entry.raw).expect(&name);
            compare(&name, &value, said);
        }
    }
}

#[test]
fn makes_the_payloads_that_the_servers_made() {
    for (server, version) in SERVERS {
        let fixture = load(server);
        // A server writes an older file, but not older payloads.
        let version = if server == "valkey-9.1-older" { 80 } else { version };
        let found: HashMap<_, _> = entries(&fixture.file)
            .into_iter()
            .map(|(db, entry)| ((u64::from(db), entry.head.key.to_vec()), entry))
            .collect();
        for said in fixture.said["keys"].as_array().expect("keys") {
            let (db, key) = (said["db"].as_u64().expect("a number"), bytes(&said["key"]));
            let name = format!("{server} db {db} {}", key.escape_ascii());
            let dumped = Bytes::from(unhex(said["dump"].as_str().expect("hex")));
            let Entry { head, raw } = &found[&(db, key)];
            assert_eq!(dump::payload(head.kind.byte(), raw, version), dumped, "{name}");

            let parsed = dump::parse(&dumped).expect(&name);
            assert!(parsed.checked && parsed.key_meta.is_none());
            assert_eq!((&parsed.raw, parsed.version), (raw, version), "{name}");
            assert_eq!(parsed.value_type(), Ok(head.kind), "{name}");
            assert_eq!(value::length(head.kind, raw), Ok(raw.len()), "{name}");
            assert!(head.kind.version_first() <= version, "{name}");
        }
    }
}

#[test]
fn begins_with_the_version() {
    for (server, version) in SERVERS {
        let flavour = Flavour::of_version(version);
        let items = items(&load(server).file, 4096, Limits::default());
        assert_eq!(items.first(), Some(&Item::Header { flavour, version }), "{server}");
    }
}

#[test]
fn gives_the_functions_and_the_notes() {
    for (server, _) in SERVERS {
        let fixture = load(server);
        let (mut functions, mut notes, mut modules) = (Vec::new(), HashMap::new(), Vec::new());
        for item in items(&fixture.file, 4096, Limits::default()) {
            match item {
                Item::Function(source) => functions.push(source.to_vec()),
                Item::Aux { key, value } => drop(notes.insert(key, value)),
                Item::ModuleAux { module, .. } => modules.push(module.name()),
                _ => {}
            }
        }
        let mut said: Vec<_> =
            fixture.said["functions"].as_array().expect("functions").iter().map(bytes).collect();
        functions.sort();
        said.sort();
        assert_eq!(functions, said, "{server}");
        let mut words = server.split('-');
        let (maker, version) = (words.next().expect("a maker"), words.next().expect("a version"));
        let made = notes.get(format!("{maker}-ver").as_bytes());
        assert!(made.is_some_and(|made| made.starts_with(version.as_bytes())) || version == "2.8");
        let with_scripts = ["redis-5.0", "redis-6.2"].contains(&server);
        assert_eq!(notes.contains_key(&b"lua"[..]), with_scripts, "{server}");
        assert_eq!(modules.contains(&"graphdata".to_owned()), server == "redis-8.2", "{modules:?}");
    }
}

#[test]
fn keeps_how_recently_and_how_often_a_key_was_used() {
    for (server, version) in SERVERS {
        let fixture = load(server);
        let policy = fixture.said["policy"].as_str().expect("a policy");
        let policy = if version < 9 { "not written yet" } else { policy };
        for (_, Entry { head, .. }) in entries(&fixture.file) {
            assert_eq!(head.freq.is_some(), policy == "allkeys-lfu", "{server} {:?}", head.key);
            assert_eq!(head.idle_s.is_some(), policy == "allkeys-lru", "{server} {:?}", head.key);
            if head.key == "recency" {
                assert_eq!(head.freq.unwrap_or(77), 77);
                assert!((5000..5100).contains(&head.idle_s.unwrap_or(5000)));
            }
        }
    }
}

fn compare(name: &str, value: &Value, said: &Json) {
    let class = match said["type"].as_str().expect("a type") {
        "graphdata" | "vectorset" => Class::Module.as_str(),
        other => other,
    };
    assert_eq!(value.class().as_str(), class, "{name}");
    let said = &said["value"];
    match value {
        Value::Str(text) => assert_eq!(text, &bytes(said), "{name}"),
        Value::List(elements) => assert_eq!(elements, &texts(said), "{name}"),
        Value::Set(members) => {
            let mut members = members.clone();
            members.sort();
            assert_eq!(members, texts(said), "{name}");
        }
        Value::Zset(members) => {
            let mut members = members.clone();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            // By their bits: -0 is not 0.
            let score = |json| {
                let text = String::from_utf8(bytes(json)).expect("text");
                text.parse::<f64>().expect("a score").to_bits()
            };
            let members: Vec<_> =
                members.into_iter().map(|(member, score)| (member, score.to_bits())).collect();
            let said: Vec<(Bytes, u64)> =
                rows(said).map(|row| (bytes(&row[0]).into(), score(&row[1]))).collect();
            assert_eq!(members, said, "{name}");
        }
        Value::Hash(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|field| (field.field.to_vec(), field.value.to_vec(), field.expire_at_ms))
                .collect();
            fields.sort();
            let said: Vec<_> =
                rows(said).map(|row| (bytes(&row[0]), bytes(&row[1]), row[2].as_i64())).collect();
            assert_eq!(fields, said, "{name}");
        }
        Value::Stream(stream) => compare_stream(name, stream, said),
        Value::Module { module, .. } => {
            assert!(["graphdata", "vectorset"].contains(&module.name().as_str()), "{name}");
        }
    }
}

fn compare_stream(name: &str, stream: &StreamValue, said: &Json) {
    let entries: Vec<_> = stream.entries.iter().map(|e| (e.id.to_string(), &e.fields)).collect();
    let said_entries: Vec<_> = rows(&said["entries"])
        .map(|row| {
            let fields = rows(&row[1]).map(|pair| (bytes(&pair[0]).into(), bytes(&pair[1]).into()));
            (text(&row[0]), fields.collect::<Vec<(Bytes, Bytes)>>())
        })
        .collect();
    let said_entries: Vec<_> = said_entries.iter().map(|(id, f)| (id.clone(), f)).collect();
    assert_eq!(entries, said_entries, "{name}");

    assert_eq!(Some(stream.meta.length), said["length"].as_u64(), "{name}");
    assert_eq!(stream.meta.last_id.to_string(), text(&said["last"]), "{name}");
    let id = |json: &Json| (!json.is_null()).then(|| text(json));
    assert_eq!(stream.meta.first_id.map(|id| id.to_string()), id(&said["first"]), "{name}");
    let deleted = stream.meta.max_deleted_id.map(|id| id.to_string());
    assert_eq!(deleted, id(&said["max_deleted"]), "{name}");
    assert_eq!(stream.meta.entries_added, said["added"].as_u64(), "{name}");

    assert_eq!(stream.groups.len(), rows(&said["groups"]).count(), "{name}");
    for group in &stream.groups {
        let name = format!("{name} group {:?}", group.name);
        let said = rows(&said["groups"]).find(|said| bytes(&said["name"]) == group.name);
        let said = said.expect(&name);
        assert_eq!(group.last_id.to_string(), text(&said["last"]), "{name}");
        assert_eq!(group.entries_read, said["read"].as_u64(), "{name}");
        let pending: Vec<_> = group
            .pending
            .iter()
            .zip(rows(&said["pending"]))
            // Where the server does not say when, its entry says nothing either.
            .map(|(p, said)| {
                (p.id.to_string(), said[1].as_i64().and(Some(p.delivered_ms)), Some(p.deliveries))
            })
            .collect();
        let said_pending: Vec<_> = rows(&said["pending"])
            .map(|row| (text(&row[0]), row[1].as_i64(), row[2].as_u64()))
            .collect();
        assert_eq!(pending, said_pending, "{name}");
        let consumers: Vec<_> = group
            .consumers
            .iter()
            .map(|c| {
                let owned: Vec<_> = c.owned.iter().map(ToString::to_string).collect();
                let seen = group_said_seen(said).then_some(c.seen_ms);
                (c.name.to_vec(), seen, c.active_ms, owned)
            })
            .collect();
        let said_consumers: Vec<_> = rows(&said["consumers"])
            .map(|c| {
                let owned = rows(&c["owned"]).map(text).collect();
                (bytes(&c["name"]), c["seen"].as_i64(), c["active"].as_i64(), owned)
            })
            .collect();
        assert_eq!(consumers, said_consumers, "{name}");
    }
}

/// Whether the server said when a group's consumers were seen.
fn group_said_seen(said: &Json) -> bool {
    rows(&said["consumers"]).all(|consumer| consumer["seen"].is_i64())
}

fn rows(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().expect("rows").iter()
}

fn texts(json: &Json) -> Vec<Vec<u8>> {
    rows(json).map(bytes).collect()
}

fn text(json: &Json) -> String {
    json.as_str().expect("text").to_owned()
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16);
    hex.as_bytes().chunks(2).map(|pair| byte(pair).expect("hex")).collect()
}
