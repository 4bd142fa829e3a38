//! A source, and a destination at which some of what it has done failed without anybody's having seen it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use event::control::{Barrier as BarrierEvent, Control, FunctionChange};
use event::{Change, Group, GroupedChange, group};

use super::super::meet::{PARTITIONS, number};
use super::super::once::stream::{LARGE, Stream, head};
use super::super::*;
use crate::doubt::Doubt;
use crate::mapping::DbMapping;
use crate::quarantine::set::Spot;
use crate::scope::Point;

/// One change of a source, of databases and keys by number.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Set(u32, u8),
    SetLarge(u32, u8),
    Append(u32, u8),
    Delete(u32, u8),
    SetTwo(u32, u8, u8),
    Rename(u32, u8, u8),
    /// A script that names one key and writes another.
    Script(u32, u8),
    Flush(u32),
    FlushAll,
    Swap(u32, u32),
    /// Changes of function libraries, which belong to no database.
    Load(u8),
    Unload(u8),
    UnloadAll,
    /// Of one library, beside those that are there.
    Restore(u8),
}

/// What a source does at once, and whether each of it fails at the destination.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) acts: Vec<(Act, bool)>,
    pub(super) is_group: bool,
    /// So many steps before stand in the journal again behind this one.
    pub(super) repeated: usize,
}

/// Keys, and libraries, with their databases.
pub(super) type Spots = BTreeSet<(u32, String)>;

/// What a server holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Server(BTreeMap<(u32, String), String>);

/// A stream, what its source holds, and what a destination holds at which some of it failed.
pub(super) struct World {
    pub(super) stream: Stream,
    pub(super) mapping: DbMapping,
    pub(super) source: Server,
    pub(super) destination: Server,
    pub(super) events: Vec<Event>,
    pub(super) offset: u64,
    /// Steps so far.
    steps: usize,
    /// By partition, with which step begins what nobody has judged of its events.
    pub(super) judged: [usize; PARTITIONS],
    /// By partition, the last event that was judged, and the last.
    ends: [(Position, Position); PARTITIONS],
}

// === impl Server ===

impl Server {
    /// Executes a command in a database. What it cannot do it leaves.
    fn run(&mut self, db: u32, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        let spot = |key: &str| (db, key.to_owned());
        match *words {
            ["SET", key, value] | ["EVAL", _, "1", _, key, value] => {
                self.0.insert(spot(key), value.to_owned());
            }
            ["MSET", one, first, other, second] => {
                self.0.insert(spot(one), first.to_owned());
                self.0.insert(spot(other), second.to_owned());
            }
            ["APPEND", key, value] => self.0.entry(spot(key)).or_default().push_str(value),
            ["DEL", key] => {
                self.0.remove(&spot(key));
            }
            ["RENAME", from, to] => {
                if let Some(value) = self.0.remove(&spot(from)) {
                    self.0.insert(spot(to), value);
                }
            }
            ["FUNCTION", "LOAD", "REPLACE", "#!lua", name] => self.load(name),
            ["FUNCTION", "RESTORE", name, "REPLACE"] => self.load(name),
            ["FUNCTION", "DELETE", name] => {
                self.0.remove(&(Spot::LIBRARIES, name.to_owned()));
            }
            ["FUNCTION", "FLUSH"] => self.0.retain(|(db, _), _| *db != Spot::LIBRARIES),
            ["FLUSHDB"] => self.0.retain(|(of, _), _| *of != db),
            ["FLUSHALL"] => self.0.retain(|(db, _), _| *db == Spot::LIBRARIES),
            ["SWAPDB", one, other] => {
                let (one, other): (u32, u32) = (one.parse().unwrap(), other.parse().unwrap());
                let swapped = |db: u32| match db {
                    db if db == one => other,
                    db if db == other => one,
                    db => db,
                };
                let all = std::mem::take(&mut self.0).into_iter();
                self.0 = all.map(|((db, key), value)| ((swapped(db), key), value)).collect();
            }
            _ => panic!("{words:?}"),
        }
    }

    /// A library, named in the first line of its text.
    fn load(&mut self, text: &str) {
        let (name, code) = text.split_once('\n').unwrap();
        let name = name.strip_prefix("name=").unwrap().to_owned();
        self.0.insert((Spot::LIBRARIES, name), code.to_owned());
    }
}

// === impl Act ===

impl Act {
    fn db(&self) -> u32 {
        match self {
            Self::Set(db, _) | Self::SetLarge(db, _) | Self::Append(db, _) => *db,
            Self::Delete(db, _) | Self::SetTwo(db, ..) | Self::Rename(db, ..) => *db,
            Self::Script(db, _) | Self::Flush(db) => *db,
            Self::FlushAll | Self::Swap(..) => 0,
            Self::Load(_) | Self::Unload(_) | Self::UnloadAll | Self::Restore(_) => 0,
        }
    }

    fn words(&self, value: &str) -> String {
        match self {
            Self::Set(_, key) => format!("SET key:{key} {value}"),
            Self::SetLarge(_, key) => format!("SET key:{key} {value}{}", "x".repeat(LARGE)),
            Self::Append(_, key) => format!("APPEND key:{key} {value}"),
            Self::Delete(_, key) => format!("DEL key:{key}"),
            Self::SetTwo(_, one, other) => format!("MSET key:{one} {value} key:{other} {value}"),
            Self::Rename(_, from, to) => format!("RENAME key:{from} key:{to}"),
            Self::Script(_, key) => format!("EVAL text 1 named key:{key} {value}"),
            Self::Flush(_) => "FLUSHDB".into(),
            Self::FlushAll => "FLUSHALL".into(),
            Self::Swap(one, other) => format!("SWAPDB {one} {other}"),
            Self::Load(name) => format!("FUNCTION LOAD REPLACE #!lua name=key:{name}\n{value}"),
            Self::Unload(name) => format!("FUNCTION DELETE key:{name}"),
            Self::UnloadAll => "FUNCTION FLUSH".into(),
            Self::Restore(name) => format!("FUNCTION RESTORE name=key:{name}\n{value} REPLACE"),
        }
    }

    fn change(&self, words: &str) -> Change {
        let listed = |written: &[u32], effect| {
            let keys = KeyArgs::Listed { written: written.to_vec(), read: Vec::new() };
            Change::Command(command(words, effect, keys))
        };
        let single = |effect| Change::Command(command(words, effect, KeyArgs::First));
        match self {
            Self::Set(..) | Self::SetLarge(..) => single(Effect::Overwrite),
            Self::Append(..) => single(Effect::Merge),
            Self::Delete(..) => single(Effect::Delete),
            Self::SetTwo(..) => listed(&[1, 3], Effect::Overwrite),
            Self::Rename(..) => listed(&[1, 2], Effect::Merge),
            Self::Script(..) => listed(&[3], Effect::Merge),
            Self::Flush(_) => Change::Flush { all: false },
            Self::FlushAll => Change::Flush { all: true },
            Self::Swap(first, second) => Change::SwapDb { first: *first, second: *second },
            Self::Load(_) | Self::Unload(_) | Self::UnloadAll | Self::Restore(_) => {
                // The text of a library is one argument.
                let args = if matches!(self, Self::Load(_)) { 4 } else { usize::MAX };
                let args =
                    words.splitn(args, ' ').map(|word| Bytes::copy_from_slice(word.as_bytes()));
                Change::Function(FunctionChange { args: args.collect(), snapshot_id: 0 })
            }
        }
    }

    /// Whether its failure is never passed, or cannot be told.
    fn never_fails(&self) -> bool {
        matches!(self, Self::Script(..)) || self.is_of_databases()
    }

    pub(super) fn is_of_databases(&self) -> bool {
        matches!(self, Self::Flush(_) | Self::FlushAll | Self::Swap(..))
    }

    /// Whether a destination that mixes databases does not take it.
    fn needs_databases(&self) -> bool {
        matches!(self, Self::Flush(_) | Self::Swap(..))
    }
}

// === impl World ===

impl World {
    pub(super) fn new(mapping: DbMapping) -> Self {
        Self {
            stream: Stream::of(&[], false),
            mapping,
            source: Server::default(),
            destination: Server::default(),
            events: Vec::new(),
            offset: 0,
            steps: 0,
            judged: [0; PARTITIONS],
            ends: [(at(0), at(0)); PARTITIONS],
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        let mut changes = Vec::new();
        self.offset += 10;
        for (number, (act, fails)) in step.acts.iter().enumerate() {
            let db = self.mapping.target(act.db());
            // A source says only what it has done.
            let lacks = |key: &u8| !self.source.0.contains_key(&(db, format!("key:{key}")));
            let library = |name: &u8| (Spot::LIBRARIES, format!("key:{name}"));
            let idle = match act {
                Act::Rename(_, from, to) => from == to || lacks(from),
                Act::Unload(name) => !self.source.0.contains_key(&library(name)),
                _ => false,
            };
            let mixed = !self.mapping.keeps_apart() && act.needs_databases();
            if idle || mixed {
                continue;
            }
            let words = act.words(&format!("{}:{number}", self.offset));
            self.source.run(db, &words);
            let change = act.change(&words);
            let key = match &change {
                Change::Command(command) => command.written_keys().next().unwrap().clone(),
                _ => Bytes::new(),
            };
            let change = GroupedChange { db: act.db(), slot: Slot::of_key(&key), key, change };
            let home = changes.first().filter(|_| step.is_group).unwrap_or(&change).slot;
            let is_judged = self.steps < self.judged[usize::from(self::number(home))];
            if !fails || is_judged || act.never_fails() {
                self.destination.run(db, &words);
            }
            changes.push(change);
        }
        if step.is_group {
            self.group(changes);
        } else {
            changes.into_iter().for_each(|change| self.single(change));
        }
        self.steps += 1;
        let again = self.events.len().saturating_sub(step.repeated);
        let again = self.events.split_off(again);
        again.iter().for_each(|event| self.append(event));
        self.events.extend(again);
    }

    fn single(&mut self, change: GroupedChange) {
        let is_command = matches!(change.change, Change::Command(_));
        if is_command && partitions(std::slice::from_ref(&change)).len() > 1 {
            return self.group(vec![change]);
        }
        let body = match change.change {
            Change::Command(command) => Body::Command(command),
            Change::Flush { all } => Body::Control(Control::Flush { all }),
            Change::SwapDb { first, second } => Body::Control(Control::SwapDb { first, second }),
            Change::Function(function) => Body::Control(Control::Function(function)),
        };
        self.offset += 10;
        let event = Event { db: change.db, ..event(at(self.offset), &change.key, body) };
        self.append(&event);
        self.events.push(event);
    }

    fn group(&mut self, changes: Vec<GroupedChange>) {
        let Some(first) = changes.first() else { return };
        let (db, key) = (first.db, first.key.clone());
        let partitions = partitions(&changes);
        let home_partition = partitions[0];
        self.offset += 10;
        for partition in partitions.iter().copied().skip(1) {
            let barrier = BarrierEvent { home_partition, partitions: partitions.clone() };
            let barrier = event(at(self.offset), b"", Body::Control(Control::Barrier(barrier)));
            self.append_to(partition, &barrier);
        }
        let partitions = if partitions.len() > 1 { partitions } else { Vec::new() };
        let group = Group { changes, partitions, number: 0, last: true, transaction: true };
        let whole = Event { db, ..event(at(self.offset), &key, Body::Group(group.clone())) };
        for record in group::cut(&head(&whole), group) {
            self.append(&record);
            self.events.push(record);
        }
    }

    pub(super) fn append(&mut self, event: &Event) {
        if matches!(event.body, Body::Control(_)) {
            (0..4).for_each(|partition| self.append_to(partition, event));
        } else {
            self.append_to(self.stream.partition_of(event), event);
        }
    }

    fn append_to(&mut self, partition: u16, event: &Event) {
        self.stream.append(event, partition);
        let number = usize::from(partition);
        let (judged, last) = &mut self.ends[number];
        if event.position.is_after(last) {
            *last = event.position;
            if self.steps < self.judged[number] {
                *judged = *last;
            }
        }
    }

    /// A planner that begins where everything has been executed and nothing after `judged` has been judged.
    pub(super) fn planner(&self, judged: Position) -> Planner {
        let config = Config { mapping: self.mapping.clone(), ..config() };
        let mut planner = planner_of(&config, &facts(7, 2), true);
        let applied = self.events.last().map_or(judged, |event| event.position);
        planner.progress.advance(0, applied);
        planner.doubt = Doubt::new([(judged, applied.into())], vec![0; 4]);
        planner
    }

    /// Reads everything again, and something new. Gives the keys that are suspects then.
    pub(super) fn recover(&mut self, judged: Position) -> Spots {
        let mut planner = self.planner(judged);
        self.offset += 10;
        let next = written(self.offset, "SET next v", Effect::Overwrite);
        self.append(&next);
        self.source.run(self.mapping.target(0), "SET next v");
        let mut batch = Batch::new(0);
        let suspects = self.read_again(&mut planner, &mut batch);
        self.execute(&mut batch);
        suspects
    }

    /// Reads everything again. Gives the keys, and libraries, that are suspects then.
    pub(super) fn read_again(&self, planner: &mut Planner, batch: &mut Batch) -> Spots {
        for entry in self.stream.from(&[0; 4]) {
            planner.plan(entry.clone(), batch).unwrap();
        }
        suspects_of(planner)
    }

    /// The source sets some keys anew.
    pub(super) fn go_on(&mut self, keys: &[u8]) {
        for key in keys {
            self.offset += 10;
            let words = format!("SET key:{key} {}:anew", self.offset);
            self.source.run(self.mapping.target(0), &words);
            let next = written(self.offset, &words, Effect::Overwrite);
            let partition = self.stream.partition_of(&next);
            self.stream.append(&next, partition);
        }
    }

    /// Lanes of these partitions begin where everything has been executed but what is new, one after the other, read
    /// everything again in such an order, and what is new. Gives the keys that are suspects then.
    pub(super) fn recover_apart(&mut self, spread: &[u8], turns: &[u8]) -> Spots {
        let mut suspects = BTreeSet::new();
        for lane in 0..3 {
            let numbers = (0..4u16).filter(|number| spread[usize::from(*number)] == lane);
            let numbers: Vec<u16> = numbers.collect();
            if !numbers.is_empty() {
                suspects.extend(self.recover_lane(&numbers, turns));
            }
        }
        suspects
    }

    fn recover_lane(&mut self, numbers: &[u16], turns: &[u8]) -> Spots {
        let scope = Scope { numbers: numbers.into(), ..scope(false) };
        let config = Config { mapping: self.mapping.clone(), ..config() };
        let mut progress = Progress::from(vec![0; numbers.len()]);
        let ends = numbers.iter().map(|number| self.ends[usize::from(*number)]);
        for (track, (_, applied)) in ends.clone().enumerate() {
            progress.advance(track, applied);
        }
        let rules = Rules::new(&config, Names::new(&scope), &facts(7, 2));
        let mut planner = Planner::new(rules, &scope, progress, Vec::new());
        let pairs = ends.enumerate();
        let pairs = pairs.map(|(track, (judged, position))| (judged, Point { track, position }));
        planner.doubt = Doubt::new(pairs, vec![0; numbers.len()]);
        let mut records: Vec<VecDeque<Entry>> = vec![VecDeque::new(); numbers.len()];
        for entry in self.stream.from(&[0; 4]) {
            if let Some(track) = scope.index_of(entry.partition.0) {
                records[track].push_back(entry.clone());
            }
        }
        let mut batch = Batch::new(0);
        let mut turns = turns.iter().map(|turn| usize::from(*turn)).chain(0..);
        while let Some(turn) = turns.next().filter(|_| records.iter().any(|of| !of.is_empty())) {
            let track = turn % records.len();
            let Some(next) = records[track].front().filter(|_| !planner.waits(track)) else {
                continue;
            };
            if !planner.is_early(next).unwrap() {
                planner.plan(records[track].pop_front().unwrap(), &mut batch).unwrap();
            }
        }
        assert!(planner.doubt.is_over());
        self.execute(&mut batch);
        for (number, point) in numbers.iter().zip(&planner.progress.applied) {
            self.ends[usize::from(*number)] = (point.position, point.position);
        }
        suspects_of(&planner)
    }

    fn execute(&mut self, batch: &mut Batch) {
        let mut db = 0;
        batch.close_run();
        for words in commands(batch) {
            match words.strip_prefix("SELECT ") {
                Some(number) => db = number.parse().unwrap(),
                None => self.destination.run(db, &words),
            }
        }
    }

    /// The keys, and libraries, at which the destination is not what the source is.
    pub(super) fn wrong(&self) -> Spots {
        let (source, destination) = (&self.source.0, &self.destination.0);
        let spots = source.keys().chain(destination.keys());
        spots.filter(|spot| source.get(*spot) != destination.get(*spot)).cloned().collect()
    }
}

fn suspects_of(planner: &Planner) -> Spots {
    let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    planner.suspects.iter().map(|it| (it.spot.db, name(&it.spot.key))).collect()
}

/// The partitions of the keys of changes, the home first.
fn partitions(changes: &[GroupedChange]) -> Vec<u16> {
    let slots = changes.iter().flat_map(|change| match &change.change {
        Change::Command(command) if command.is_script() => vec![0, 5_000, 9_000, 16_383],
        Change::Command(command) => {
            command.written_keys().map(|key| Slot::of_key(key).get()).collect()
        }
        _ => vec![change.slot.get(), 0, 5_000, 9_000, 16_383],
    });
    let first = changes.first().map(|change| change.slot.get());
    let mut partitions: Vec<u16> = Vec::new();
    for slot in first.into_iter().chain(slots) {
        let partition = number(Slot::new(slot).unwrap());
        if !partitions.contains(&partition) {
            partitions.push(partition);
        }
    }
    partitions
}
