//! The source: what it holds, what it has written, what it still remembers of that.

use std::collections::BTreeMap;

use bytes::Bytes;
use runtime::Random;

use super::BEAT;
use crate::resume::{ResumePoint, Tail};
use crate::testing::rdb_of_strings;

/// Databases that are written to.
const DBS: u64 = 3;

/// Keys; with four partitions, in all of them.
const KEYS: [&str; 10] =
    ["foo", "bar", "hello", "x", "{foo}2", "{bar}2", "{hello}2", "{x}2", "k", "long"];

/// Values by database and key.
pub(super) type Data = BTreeMap<(u32, Vec<u8>), Bytes>;

/// A command boundary.
#[derive(Clone, Debug)]
struct Boundary {
    offset: u64,
    data: Data,
    selected_db: u32,
    in_transaction: bool,
}

/// The source.
pub(super) struct World {
    random: Random,
    /// Whether a command keeps to one partition.
    is_partitioned: bool,
    id: String,
    /// The history before, and the first offset that it does not have.
    before: Option<(String, u64)>,
    /// The stream since `base`.
    stream: Vec<u8>,
    base: u64,
    /// What can still be asked for begins after this offset.
    forgotten: u64,
    boundaries: Vec<Boundary>,
    data: Data,
    client_db: u32,
    /// What was last selected on the stream, and whether it must be said again.
    selected_db: u32,
    must_select: bool,
    in_transaction: bool,
    names: u64,
    /// In everything that it names.
    mark: char,
}

// === impl World ===

impl World {
    pub(super) fn new(mut random: Random, is_partitioned: bool, mark: char) -> Self {
        let base = random.below(1000);
        let mut world = Self {
            random,
            is_partitioned,
            id: String::new(),
            before: None,
            stream: Vec::new(),
            base,
            forgotten: base,
            boundaries: Vec::new(),
            data: Data::new(),
            client_db: 0,
            selected_db: 0,
            must_select: false,
            in_transaction: false,
            names: 0,
            mark,
        };
        world.id = world.new_id();
        world.note();
        world
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.stream.len() as u64
    }

    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    /// The stream after an offset.
    pub(super) fn after(&self, offset: u64) -> &[u8] {
        &self.stream[usize::try_from(offset - self.base).unwrap()..]
    }

    pub(super) fn has(&self, offset: u64) -> bool {
        (self.forgotten..=self.end()).contains(&offset)
    }

    /// The history before, and the last offset that both have.
    pub(super) fn branch(&self) -> Option<(&str, u64)> {
        self.before.as_ref().map(|(id, second)| (id.as_str(), second - 1))
    }

    /// The database selected on the stream at a boundary outside transactions.
    pub(super) fn selected_db_at(&self, offset: u64) -> Option<u32> {
        let found = self.boundaries.iter().find(|boundary| boundary.offset == offset)?;
        (!found.in_transaction).then_some(found.selected_db)
    }

    /// A snapshot at the end of the stream. A primary forgets what it selected; a replica says it.
    pub(super) fn snapshot(&mut self) -> Bytes {
        let is_replica = self.random.chance(0.3);
        self.must_select |= !is_replica;
        let keys = self.data.iter().map(|((db, key), value)| (*db, &key[..], &value[..]));
        rdb_of_strings(keys, self.selected_db.into())
    }

    /// Another server takes over. It may lack the end of the stream.
    pub(super) fn fail_over(&mut self) {
        let lost = usize::try_from(self.random.below(4)).unwrap();
        let whole: Vec<usize> = (0..self.boundaries.len())
            .filter(|index| !self.boundaries[*index].in_transaction)
            .collect();
        let kept = whole[whole.len().saturating_sub(1 + lost)];
        self.boundaries.truncate(kept + 1);
        let last = self.boundaries[kept].clone();
        if last.offset < self.forgotten {
            self.forgotten = last.offset;
        }
        self.stream.truncate(usize::try_from(last.offset - self.base).unwrap());
        self.data = last.data;
        self.selected_db = last.selected_db;
        // A new primary begins with a SELECT.
        self.must_select = true;
        self.before = Some((std::mem::take(&mut self.id), last.offset + 1));
        self.id = self.new_id();
    }

    /// The source starts again with its data and without its history.
    pub(super) fn restart_anew(&mut self) {
        self.id = self.new_id();
        self.before = None;
        self.base = self.random.below(3);
        self.forgotten = self.base;
        self.stream.clear();
        self.boundaries.clear();
        (self.selected_db, self.must_select) = (0, true);
        self.note();
    }

    pub(super) fn forget_backlog(&mut self) {
        self.forgotten = self.end();
    }

    /// The place to resume at must be one where nothing is half done.
    pub(super) fn assert_can_resume_at(&self, tail: &Tail) {
        if let Some(point) = self.known(tail) {
            let db = self.selected_db_at(point.offset);
            assert_eq!(db, Some(point.selected_db), "at {}", point.offset);
        }
    }

    /// What was claimed to be durable must be held.
    pub(super) fn assert_holds(&self, tail: &Tail, claimed: u64) {
        let Some(point) = self.known(tail) else { return };
        let expected = super::log::expected_after(self, point.offset, point.selected_db);
        // After a fail-over the stream goes on with something else.
        let common = self.branch().filter(|(id, _)| *id == point.replication_id);
        let claimed = common.map_or(claimed, |(_, last)| claimed.min(last));
        for (partition, held) in tail.held.iter().enumerate() {
            let last = expected.iter().rfind(|place| {
                usize::from(place.partition) == partition && place.offset <= claimed
            });
            if let Some(last) = last {
                let held = held.expect("something is held");
                assert!(held.offset >= last.offset, "{held} before {last:?}, claimed {claimed}");
            }
        }
    }

    /// The place to resume at, if it is in the history that the source still has.
    fn known<'a>(&self, tail: &'a Tail) -> Option<&'a ResumePoint> {
        let point = tail.point.as_ref()?;
        let in_branch = self
            .branch()
            .is_some_and(|(id, last)| id == point.replication_id && point.offset <= last);
        let is_known = point.replication_id == self.id || in_branch;
        let is_there = (self.base..=self.end()).contains(&point.offset);
        (is_known && is_there).then_some(point)
    }

    /// A few commands or transactions.
    pub(super) fn write_some(&mut self) {
        for _ in 0..1 + self.random.below(6) {
            match self.random.below(20) {
                0 => self.emit(&["PING"]),
                1 => {
                    let time = self.names.to_string();
                    self.in_db(0, |world| {
                        world.emit(&["SET", BEAT, &time, "PXAT", "9999999999999"]);
                    });
                }
                2 => {
                    self.emit(&["MULTI"]);
                    self.emit(&["EXEC"]);
                }
                3..7 if !self.is_partitioned => self.transaction(),
                _ => {
                    self.client_db = self.db();
                    self.change();
                }
            }
        }
        self.note();
    }

    fn transaction(&mut self) {
        self.client_db = self.db();
        self.select();
        self.emit(&["multi"]);
        let is_huge = self.random.chance(0.02);
        for _ in 0..if is_huge { 30 } else { 1 + self.random.below(5) } {
            if is_huge {
                let value = self.text(100_000);
                self.set("long", &value);
            } else {
                if self.random.chance(0.3) {
                    self.client_db = self.db();
                }
                self.change();
            }
        }
        self.emit(&["EXEC"]);
    }

    /// MULTI and changes of three megabytes, in several databases; EXEC is not there yet.
    pub(super) fn begin_large_transaction(&mut self) {
        self.client_db = self.db();
        self.select();
        self.emit(&["MULTI"]);
        for number in 0..30 {
            let value = self.text(100_000);
            self.set(KEYS[number % KEYS.len()], &value);
            self.client_db = self.db();
            self.change();
        }
        self.note();
    }

    /// EXEC.
    pub(super) fn end_transaction(&mut self) {
        self.emit(&["EXEC"]);
        self.note();
    }

    fn change(&mut self) {
        let (one, other) = (self.key(), self.key());
        let db = self.client_db;
        match self.random.below(100) {
            0..30 => {
                let value = self.token();
                self.set(one, &value);
            }
            30..60 => {
                let more = self.token();
                self.in_db(db, |world| world.emit(&["append", one, &more]));
                append(&mut self.data, name(db, one), more.as_bytes());
            }
            60..70 => {
                self.in_db(db, |world| world.emit(&["DEL", one, other]));
                self.data.remove(&name(db, one));
                self.data.remove(&name(db, other));
            }
            70..75 => {
                let (first, second) = (self.token(), self.token());
                self.in_db(db, |world| world.emit(&["MSET", one, &first, other, &second]));
                self.data.insert(name(db, one), first.into());
                self.data.insert(name(db, other), second.into());
            }
            75 if self.random.chance(0.5) => {
                let length = 850_000 + self.random.below(1_000_000);
                let value = self.text(usize::try_from(length).unwrap());
                self.set("long", &value);
            }
            _ if self.is_partitioned => {}
            76..86 => self.rename(one, other),
            86..92 => {
                if one != other
                    && let Some(value) = self.data.get(&name(db, one)).cloned()
                {
                    self.in_db(db, |world| world.emit(&["COPY", one, other, "REPLACE"]));
                    self.data.insert(name(db, other), value);
                }
            }
            92..95 => {
                let to = self.db();
                if to != db
                    && !self.data.contains_key(&name(to, one))
                    && let Some(value) = self.data.get(&name(db, one)).cloned()
                {
                    self.in_db(db, |world| world.emit(&["MOVE", one, &to.to_string()]));
                    self.data.remove(&name(db, one));
                    self.data.insert(name(to, one), value);
                }
            }
            95 => {
                self.in_db(db, |world| world.emit(&["flushdb"]));
                self.data.retain(|(of, _), _| *of != db);
            }
            96 => {
                self.emit(&["FLUSHALL"]);
                self.data.clear();
            }
            97..99 => self.swap(),
            _ => {}
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let db = self.client_db;
        self.in_db(db, |world| world.emit(&["SET", key, value]));
        self.data.insert(name(db, key), Bytes::copy_from_slice(value.as_bytes()));
    }

    fn rename(&mut self, one: &str, other: &str) {
        let db = self.client_db;
        if one != other
            && let Some(value) = self.data.get(&name(db, one)).cloned()
        {
            self.in_db(db, |world| world.emit(&["RENAME", one, other]));
            self.data.remove(&name(db, one));
            self.data.insert(name(db, other), value);
        }
    }

    fn swap(&mut self) {
        let (one, other) = (self.db(), self.db());
        self.emit(&["SWAPDB", &one.to_string(), &other.to_string()]);
        let swapped = |db: u32| match db {
            db if db == one => other,
            db if db == other => one,
            db => db,
        };
        let data = std::mem::take(&mut self.data);
        self.data = data.into_iter().map(|((db, key), v)| ((swapped(db), key), v)).collect();
    }

    fn in_db(&mut self, db: u32, write: impl FnOnce(&mut Self)) {
        self.client_db = db;
        self.select();
        write(self);
    }

    fn select(&mut self) {
        if self.must_select || self.selected_db != self.client_db {
            self.emit(&["SELECT", &self.client_db.to_string()]);
            (self.selected_db, self.must_select) = (self.client_db, false);
        }
    }

    /// A command on the stream. What it does to the data is noted before the next one.
    fn emit(&mut self, words: &[&str]) {
        self.note();
        self.stream.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            self.stream.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
        }
        match words {
            ["MULTI" | "multi"] => self.in_transaction = true,
            ["EXEC"] => self.in_transaction = false,
            _ => {}
        }
    }

    /// Notes what is there after the last command.
    fn note(&mut self) {
        let offset = self.end();
        if self.boundaries.last().is_some_and(|last| last.offset == offset) {
            self.boundaries.pop();
        }
        let selected_db = self.selected_db;
        let data = self.data.clone();
        let in_transaction = self.in_transaction;
        self.boundaries.push(Boundary { offset, data, selected_db, in_transaction });
    }

    fn db(&mut self) -> u32 {
        u32::try_from(self.random.below(DBS)).unwrap()
    }

    fn key(&mut self) -> &'static str {
        KEYS[usize::try_from(self.random.below(KEYS.len() as u64)).unwrap()]
    }

    /// A text that no other place has.
    fn token(&mut self) -> String {
        self.names += 1;
        format!("<{}{}>", self.mark, self.names)
    }

    fn text(&mut self, length: usize) -> String {
        let token = self.token();
        token.repeat(length / token.len())
    }

    fn new_id(&mut self) -> String {
        self.names += 1;
        format!("{}{:039}", self.mark, self.names)
    }
}

/// What APPEND does.
pub(super) fn append(data: &mut Data, name: (u32, Vec<u8>), more: &[u8]) {
    let value = data.entry(name).or_default();
    *value = [&value[..], more].concat().into();
}

fn name(db: u32, key: &str) -> (u32, Vec<u8>) {
    (db, key.as_bytes().to_vec())
}
