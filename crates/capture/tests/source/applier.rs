//! A small applier: writes what it reads to a second server, as plainly as can be.
//!
//! Unlike a replica, a server that is written to removes what is past its time by itself, also
//! between two writes that came in time at the source. So all deadlines are put off, and taken back
//! in what is compared.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::control::Control;
use event::image::{Elements, Field, ImageHead, ImagePart, ImageValue, StreamGroup, StreamPart};
use event::{Body, Change, Event, Position};
use testkit::dataset::Content;
use testkit::{Client, Command, Dataset, Server, Value};
use wire::rdb::{self, Class, ValueType, dump};

/// Type byte of a module's value.
const MODULE: u8 = 7;

/// By how much deadlines are put off.
const LATER_MS: u64 = 24 * 3_600_000;

/// Applies events in the order of the journal.
pub(crate) struct Applier {
    client: Client,
    db: u32,
    applied: Option<Position>,
    parts: BTreeMap<(u32, Bytes), Vec<ImagePart>>,
    /// What the server refused, with the command.
    pub(crate) refused: Vec<String>,
}

impl Applier {
    pub(crate) fn to(server: &Server) -> Self {
        let client = server.client().unwrap();
        Self { client, db: 0, applied: None, parts: BTreeMap::new(), refused: Vec::new() }
    }

    /// What the server holds, with the deadlines that it was told.
    pub(crate) fn data(&mut self) -> Dataset {
        let mut data = Dataset::read(&mut self.client).unwrap();
        self.db = 0;
        for entry in data.dbs.values_mut().flat_map(|keys| keys.values_mut()) {
            entry.expires_at_ms = entry.expires_at_ms.map(|at| at - LATER_MS);
            if let Content::Hash(fields) = &mut entry.content {
                for field in fields.values_mut() {
                    field.expires_at_ms = field.expires_at_ms.map(|at| at - LATER_MS);
                }
            }
        }
        data
    }

    /// Applies what is not after what was applied already.
    pub(crate) fn apply_all(&mut self, events: &[(u16, Event)]) {
        for (_, event) in events {
            if self.applied.is_none_or(|applied| event.position.is_after(&applied)) {
                self.apply(event);
                self.applied = Some(event.position);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        match &event.body {
            Body::Command(command) => self.run(event.db, &command.args),
            Body::Image(image) => match &image.value {
                ImageValue::Text(text) => {
                    self.run(event.db, &[b"SET".as_slice(), &event.key, text]);
                    self.expire(event, &image.head);
                }
                ImageValue::Rdb(raw) => self.image(event, &image.head, raw),
            },
            Body::ImagePart(part) => {
                let key = (event.db, event.key.clone());
                self.parts.entry(key.clone()).or_default().push(part.clone());
                if part.last {
                    let parts = self.parts.remove(&key).unwrap();
                    self.large(event, parts);
                }
            }
            Body::Group(group) => {
                for change in &group.changes {
                    self.change(change.db, &change.change);
                }
            }
            Body::Control(control) => self.control(event.db, control),
            Body::Fragment(_) => panic!("fragments are put together before"),
        }
    }

    fn image(&mut self, event: &Event, head: &ImageHead, raw: &Bytes) {
        let kind = ValueType::from_byte(head.type_byte, head.flavour).unwrap();
        let decoded = rdb::value::decode(kind, raw).unwrap();
        // Deadlines inside the value are put off one by one.
        let rdb::Value::Hash(fields) = decoded else {
            return self.restore(event, head, head.type_byte, raw);
        };
        let fields = fields.into_iter().map(|field| Field {
            field: field.field,
            value: field.value,
            expire_at_ms: field.expire_at_ms,
        });
        let elements = Elements::Fields(fields.collect());
        let part = ImagePart { head: head.clone(), number: 0, last: true, elements };
        self.large(event, vec![part]);
    }

    fn control(&mut self, db: u32, control: &Control) {
        match control {
            Control::Flush { all } => self.change(db, &Change::Flush { all: *all }),
            Control::SwapDb { first, second } => {
                self.change(db, &Change::SwapDb { first: *first, second: *second });
            }
            Control::Function(function) => self.run(db, &function.args),
            Control::EpochBegin(_)
            | Control::SnapshotBegin(_)
            | Control::SnapshotEnd(_)
            | Control::Heartbeat(_)
            | Control::Barrier(_) => {}
            Control::FlushSlots { .. } | Control::SlotHandover(_) => panic!("no cluster here"),
        }
    }

    fn change(&mut self, db: u32, change: &Change) {
        match change {
            Change::Command(command) => self.run(db, &command.args),
            Change::Flush { all: true } => self.run(db, &["FLUSHALL"]),
            Change::Flush { all: false } => self.run(db, &["FLUSHDB"]),
            Change::SwapDb { first, second } => {
                self.run(db, &["SWAPDB", &first.to_string(), &second.to_string()]);
            }
            Change::Function(function) => self.run(db, &function.args),
        }
    }

    fn large(&mut self, event: &Event, parts: Vec<ImagePart>) {
        let head = parts[0].head.clone();
        let kind = ValueType::from_byte(head.type_byte, head.flavour).unwrap();
        self.run(event.db, &[b"DEL".as_slice(), &event.key]);
        let mut opaque = Vec::new();
        let mut stream = StreamPart::default();
        for part in parts {
            match part.elements {
                Elements::Text(text) => {
                    self.run(event.db, &[b"APPEND".as_slice(), &event.key, &text]);
                }
                Elements::Items(items) => {
                    let name = if kind.class() == Class::List { "RPUSH" } else { "SADD" };
                    self.add(event, name, items.iter().map(|item| vec![item.to_vec()]));
                }
                Elements::Scores(scores) => {
                    let pair = |(member, score): &(Bytes, f64)| {
                        vec![score.to_string().into_bytes(), member.to_vec()]
                    };
                    self.add(event, "ZADD", scores.iter().map(pair));
                }
                Elements::Fields(fields) => {
                    let pairs = fields.iter().map(|f| vec![f.field.to_vec(), f.value.to_vec()]);
                    self.add(event, "HSET", pairs);
                    for field in fields {
                        let Some(ms) = field.expire_at_ms else { continue };
                        let ms = ms.to_string();
                        let words: [&[u8]; 6] = [
                            b"HPEXPIREAT",
                            &event.key,
                            ms.as_bytes(),
                            b"FIELDS",
                            b"1",
                            &field.field,
                        ];
                        self.run(event.db, &words);
                    }
                }
                Elements::Stream(part) => {
                    stream.entries.extend(part.entries);
                    stream.meta = stream.meta.or(part.meta);
                    stream.groups.extend(part.groups);
                }
                Elements::Opaque(bytes) => opaque.extend(bytes),
            }
        }
        match kind.class() {
            Class::Stream => self.stream(event, &stream),
            Class::Module => return self.restore(event, &head, MODULE, &opaque),
            _ => {}
        }
        self.expire(event, &head);
    }

    fn add(&mut self, event: &Event, name: &str, items: impl Iterator<Item = Vec<Vec<u8>>>) {
        let items: Vec<Vec<u8>> = items.flatten().collect();
        if !items.is_empty() {
            let head = [name.as_bytes().to_vec(), event.key.to_vec()];
            self.run(event.db, &[head.as_slice(), &items].concat());
        }
    }

    fn stream(&mut self, event: &Event, stream: &StreamPart) {
        let key = event.key.to_vec();
        let id = |id: event::image::StreamId| format!("{}-{}", id.ms, id.seq).into_bytes();
        for entry in &stream.entries {
            let mut words = vec![b"XADD".to_vec(), key.clone(), id(entry.id)];
            words.extend(entry.content.iter().map(|item| item.to_vec()));
            self.run(event.db, &words);
        }
        let meta = stream.meta.unwrap();
        let mut words = vec![b"XSETID".to_vec(), key.clone(), id(meta.last_id)];
        words.extend([b"ENTRIESADDED".to_vec(), meta.entries_added.to_string().into_bytes()]);
        words.extend([b"MAXDELETEDID".to_vec(), id(meta.max_deleted_id)]);
        self.run(event.db, &words);
        for group in &stream.groups {
            self.group(event, group);
        }
    }

    fn group(&mut self, event: &Event, group: &StreamGroup) {
        let key = event.key.to_vec();
        let name = group.name.to_vec();
        let id = |id: event::image::StreamId| format!("{}-{}", id.ms, id.seq).into_bytes();
        let create = [b"XGROUP".to_vec(), b"CREATE".to_vec(), key.clone(), name.clone()];
        let mut create = [create.as_slice(), &[id(group.last_delivered)]].concat();
        if let Some(read) = group.entries_read {
            create.extend([b"ENTRIESREAD".to_vec(), read.to_string().into_bytes()]);
        }
        self.run(event.db, &create);
        for consumer in &group.consumers {
            let words = [b"XGROUP".as_slice(), b"CREATECONSUMER", &key, &name, &consumer.name];
            self.run(event.db, &words);
        }
        for pending in &group.pending {
            let consumer = &group.consumers[pending.consumer as usize].name;
            let (time, count) = (pending.delivered_ms.to_string(), pending.deliveries.to_string());
            let id = id(pending.id);
            let words: [&[u8]; 12] = [
                b"XCLAIM",
                &key,
                &name,
                consumer,
                b"0",
                &id,
                b"TIME",
                time.as_bytes(),
                b"RETRYCOUNT",
                count.as_bytes(),
                b"FORCE",
                b"JUSTID",
            ];
            self.run(event.db, &words);
        }
    }

    fn restore(&mut self, event: &Event, head: &ImageHead, kind: u8, raw: &[u8]) {
        let payload = dump::payload(kind, raw, head.rdb_version);
        let ttl = head.expire_at_ms.unwrap_or(0).to_string();
        let words: [&[u8]; 6] =
            [b"RESTORE", &event.key, ttl.as_bytes(), &payload, b"REPLACE", b"ABSTTL"];
        self.run(event.db, &words);
    }

    fn expire(&mut self, event: &Event, head: &ImageHead) {
        if let Some(ms) = head.expire_at_ms {
            self.run(event.db, &[b"PEXPIREAT", &event.key[..], ms.to_string().as_bytes()]);
        }
    }

    fn run<W: AsRef<[u8]>>(&mut self, db: u32, words: &[W]) {
        if self.db != db {
            self.client.select(db).unwrap();
            self.db = db;
        }
        let mut words: Command = words.iter().map(|word| word.as_ref().to_vec()).collect();
        put_off(&mut words);
        if let Value::Error(text) = self.client.ask(&words).unwrap() {
            let line: Vec<_> = words.iter().map(|word| testkit::abridged(word)).collect();
            self.refused.push(format!("{}: {text}", line.join(" ")));
        }
    }
}

/// Puts off the deadline that a command names.
fn put_off(words: &mut Command) {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let Some(name) = words.first().cloned() else { return };
    let behind = |option: &str| words.iter().position(|word| is(word, option)).map(|at| at + 1);
    let place = if is(&name, "PEXPIREAT") || is(&name, "HPEXPIREAT") {
        Some(2)
    } else if is(&name, "RESTORE") {
        (words[2] != b"0").then_some(2)
    } else if is(&name, "SET") && words.len() > 4 || is(&name, "HSETEX") {
        behind("PXAT")
    } else {
        None
    };
    if let Some(word) = place.and_then(|place| words.get_mut(place)) {
        let ms: u64 = std::str::from_utf8(word).unwrap().parse().unwrap();
        *word = (ms + LATER_MS).to_string().into_bytes();
    }
}
