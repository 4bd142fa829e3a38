//! What is in doubt after a crash, as a property: whatever failed unseen, every key is as at the source in the end, or a
//! suspect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use event::control::{Barrier as BarrierEvent, Control};
use event::fragment::Fragment;
use event::{Change, Group, GroupedChange, group};
use proptest::collection::vec;
use proptest::prelude::*;

use super::meet::{PARTITIONS, number};
use super::once::stream::{LARGE, Stream, head};
use super::*;
use crate::config::Inexact;
use crate::doubt::Doubt;
use crate::mapping::DbMapping;
use crate::scope::Point;

/// One change of a source, of databases and keys by number.
#[derive(Clone, Debug)]
enum Act {
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
}

/// What a source does at once, and whether each of it fails at the destination.
#[derive(Clone, Debug)]
struct Step {
    acts: Vec<(Act, bool)>,
    is_group: bool,
    /// So many steps before stand in the journal again behind this one.
    repeated: usize,
}

/// What a server holds.
#[derive(Clone, Debug, Default, PartialEq)]
struct Server(BTreeMap<(u32, String), String>);

/// A stream, what its source holds, and what a destination holds at which some of it failed.
struct World {
    stream: Stream,
    mapping: DbMapping,
    source: Server,
    destination: Server,
    events: Vec<Event>,
    offset: u64,
    /// Steps so far.
    steps: usize,
    /// By partition, with which step begins what nobody has judged of its events.
    judged: [usize; PARTITIONS],
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
            ["FLUSHDB"] => self.0.retain(|(of, _), _| *of != db),
            ["FLUSHALL"] => self.0.clear(),
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
}

// === impl Act ===

impl Act {
    fn db(&self) -> u32 {
        match self {
            Self::Set(db, _) | Self::SetLarge(db, _) | Self::Append(db, _) => *db,
            Self::Delete(db, _) | Self::SetTwo(db, ..) | Self::Rename(db, ..) => *db,
            Self::Script(db, _) | Self::Flush(db) => *db,
            Self::FlushAll | Self::Swap(..) => 0,
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
        }
    }

    /// Whether its failure is never passed, or cannot be told.
    fn never_fails(&self) -> bool {
        matches!(self, Self::Script(..)) || self.is_of_databases()
    }

    fn is_of_databases(&self) -> bool {
        matches!(self, Self::Flush(_) | Self::FlushAll | Self::Swap(..))
    }

    /// Whether a destination that mixes databases does not take it.
    fn needs_databases(&self) -> bool {
        matches!(self, Self::Flush(_) | Self::Swap(..))
    }
}

// === impl World ===

impl World {
    fn new(mapping: DbMapping) -> Self {
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

    fn step(&mut self, step: &Step) {
        let mut changes = Vec::new();
        self.offset += 10;
        for (number, (act, fails)) in step.acts.iter().enumerate() {
            let db = self.mapping.target(act.db());
            // A source says only what it has done.
            let lacks = |key: &u8| !self.source.0.contains_key(&(db, format!("key:{key}")));
            let idle = matches!(act, Act::Rename(_, from, to) if from == to || lacks(from));
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
            Change::Function(_) => return,
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

    fn append(&mut self, event: &Event) {
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
    fn planner(&self, judged: Position) -> Planner {
        let config = Config { mapping: self.mapping.clone(), ..config() };
        let mut planner = planner_of(&config, &facts(7, 2), true);
        let applied = self.events.last().map_or(judged, |event| event.position);
        planner.progress.advance(0, applied);
        planner.doubt = Doubt::new([(judged, applied.into())], vec![0; 4]);
        planner
    }

    /// Reads everything again, and something new. Gives the keys that are suspects then.
    fn recover(&mut self, judged: Position) -> BTreeSet<(u32, String)> {
        let mut planner = self.planner(judged);
        self.offset += 10;
        let next = written(self.offset, "SET next v", Effect::Overwrite);
        self.append(&next);
        self.source.run(self.mapping.target(0), "SET next v");
        let mut batch = Batch::new(0);
        for entry in self.stream.from(&[0; 4]) {
            planner.plan(entry.clone(), &mut batch).unwrap();
        }
        self.execute(&mut batch);
        planner.suspects.iter().map(|it| (it.spot.db, name(&it.spot.key))).collect()
    }

    /// The source sets some keys anew.
    fn go_on(&mut self, keys: &[u8]) {
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
    fn recover_apart(&mut self, spread: &[u8], turns: &[u8]) -> BTreeSet<(u32, String)> {
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

    fn recover_lane(&mut self, numbers: &[u16], turns: &[u8]) -> BTreeSet<(u32, String)> {
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
        planner.suspects.iter().map(|it| (it.spot.db, name(&it.spot.key))).collect()
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

    /// The keys at which the destination is not what the source is.
    fn wrong(&self) -> BTreeSet<(u32, String)> {
        let (source, destination) = (&self.source.0, &self.destination.0);
        let spots = source.keys().chain(destination.keys());
        spots.filter(|spot| source.get(*spot) != destination.get(*spot)).cloned().collect()
    }
}

fn name(key: &Bytes) -> String {
    String::from_utf8_lossy(key).into_owned()
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

/// A world after transactions and single commands of database 0: blanks separate words, bars the commands of a group.
fn world(steps: &[&[Act]], fails: &[(usize, usize)]) -> World {
    let mut world = World::new(DbMapping::default());
    for (number, acts) in steps.iter().enumerate() {
        let acts = acts.iter().cloned().enumerate();
        let acts: Vec<_> =
            acts.map(|(place, act)| (act, fails.contains(&(number, place)))).collect();
        world.step(&Step { is_group: acts.len() > 1, acts, repeated: 0 });
    }
    world
}

fn named(keys: &[(u32, u8)]) -> BTreeSet<(u32, String)> {
    keys.iter().map(|(db, key)| (*db, format!("key:{key}"))).collect()
}

#[test]
fn an_older_value_never_takes_the_place_of_a_large_one() {
    for steps in [
        &[&[Act::Set(0, 1), Act::SetLarge(0, 1)][..]][..],
        &[&[Act::Set(0, 1)], &[Act::SetLarge(0, 1)]],
    ] {
        let mut world = world(steps, &[]);
        assert_eq!(world.recover(at(0)), named(&[]));
        assert_eq!(world.wrong(), named(&[]));
    }
}

#[test]
fn a_large_change_that_failed_is_applied_again() {
    let mut world = world(&[&[Act::SetLarge(0, 1)]], &[(0, 0)]);
    assert_eq!(world.wrong(), named(&[(0, 1)]));
    assert_eq!(world.recover(at(0)), named(&[]));
    assert_eq!(world.wrong(), named(&[]));
}

#[test]
fn what_came_before_a_flush_is_not_applied_again() {
    let acts = [Act::Set(0, 1), Act::Set(2, 1), Act::Flush(0), Act::Set(0, 3)];
    let mut grouped = world(&[&acts], &[(0, 3)]);
    assert_eq!(grouped.recover(at(0)), named(&[]));
    assert_eq!(grouped.wrong(), named(&[]));
    let single: Vec<&[Act]> = acts.chunks(1).collect();
    let mut alone = world(&single, &[(1, 0)]);
    assert_eq!(alone.recover(at(0)), named(&[]));
    assert_eq!(alone.wrong(), named(&[]));
}

#[test]
fn what_changed_before_an_exchange_of_databases_is_suspect_where_it_is_now() {
    let acts = [Act::Set(0, 1), Act::Append(2, 2), Act::Swap(0, 1), Act::Set(0, 3)];
    let single: Vec<&[Act]> = acts.chunks(1).collect();
    for steps in [&[&acts[..]][..], &single] {
        let mut world = world(steps, &[]);
        assert_eq!(world.recover(at(0)), named(&[(1, 1), (2, 2)]));
        assert_eq!(world.wrong(), named(&[]));
    }
}

#[test]
fn nothing_from_before_a_script_is_applied_again() {
    let mut world = world(&[&[Act::Set(0, 1), Act::Script(0, 1), Act::Set(0, 2)]], &[(0, 2)]);
    let mut suspects = named(&[(0, 1)]);
    suspects.insert((0, "named".to_owned()));
    assert_eq!(world.recover(at(0)), suspects);
    assert_eq!(world.wrong(), named(&[]));
}

#[test]
fn a_flush_that_may_have_been_left_out_makes_suspects() {
    let mut world = world(&[&[Act::Set(0, 1), Act::FlushAll, Act::Set(0, 2)]], &[]);
    let mut planner = world.planner(at(0));
    let config = Config { inexact: Inexact::Skip, ..config() };
    planner.rules = Rules::new(&config, Names::new(&scope(true)), &facts(7, 2));
    let next = written(1_000, "SET next v", Effect::Overwrite);
    world.append(&next);
    let mut batch = Batch::new(0);
    for entry in world.stream.from(&[0; 4]) {
        planner.plan(entry.clone(), &mut batch).unwrap();
    }
    assert_eq!(planner.suspects.len(), 1);
    batch.close_run();
    assert_eq!(commands(&batch).len(), 2, "{:?}", commands(&batch));
}

#[test]
fn nothing_from_before_what_cannot_be_put_together_is_applied_again() {
    let mut world = world(&[&[Act::Set(0, 1)]], &[]);
    let total_bytes = crate::limits::EVENT_BYTES as u64 + 1;
    world.offset += 10;
    for number in 0..3 {
        let data = Bytes::from_static(b"x");
        let piece = Fragment { number, count: 700, total_bytes, crc32c: 0, data, snapshot_id: 0 };
        let piece = event(at(world.offset), b"", Body::Fragment(piece));
        world.stream.append(&piece, 0);
    }
    world.step(&Step { acts: vec![(Act::Set(0, 2), true)], is_group: false, repeated: 0 });
    assert_eq!(world.recover(at(0)), named(&[(0, 1)]));
    assert_eq!(world.wrong(), named(&[]));
}

fn act() -> impl Strategy<Value = Act> {
    let (db, key) = (0..3u32, 0..4u8);
    let spot = (db.clone(), key.clone());
    let pair = (db.clone(), key.clone(), key);
    prop_oneof![
        8 => spot.clone().prop_map(|(db, key)| Act::Set(db, key)),
        1 => spot.clone().prop_map(|(db, key)| Act::SetLarge(db, key)),
        6 => spot.clone().prop_map(|(db, key)| Act::Append(db, key)),
        3 => spot.clone().prop_map(|(db, key)| Act::Delete(db, key)),
        5 => pair.clone().prop_map(|(db, one, other)| Act::SetTwo(db, one, other)),
        2 => pair.prop_map(|(db, from, to)| Act::Rename(db, from, to)),
        1 => spot.prop_map(|(db, key)| Act::Script(db, key)),
        1 => db.clone().prop_map(Act::Flush),
        1 => Just(Act::FlushAll),
        2 => (db.clone(), db).prop_map(|(one, other)| Act::Swap(one, other)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let acts = |count| vec((act(), prop::bool::weighted(0.3)), count);
    let repeated = || prop_oneof![9 => Just(0usize), 1 => 1..4usize];
    let make = |is_group: bool| {
        move |(acts, repeated): (Vec<(Act, bool)>, usize)| Step { acts, is_group, repeated }
    };
    prop_oneof![
        3 => (acts(1..2), repeated()).prop_map(make(false)),
        1 => (acts(1..7), repeated()).prop_map(make(true)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_key_is_as_at_the_source_or_a_suspect(
        judged in vec(step(), 0..4),
        doubtful in vec(step(), 1..14),
        mixed in prop::bool::weighted(0.2),
    ) {
        let mapping = if mixed { DbMapping::all_to(0) } else { DbMapping::default() };
        let mut world = World::new(mapping);
        for step in judged {
            let acts = step.acts.into_iter().map(|(act, _)| (act, false)).collect();
            world.step(&Step { acts, ..step });
        }
        let judged = world.events.last().map_or(at(0), |event| event.position);
        doubtful.iter().for_each(|step| world.step(step));
        let suspects = world.recover(judged);
        let wrong = world.wrong();
        let unknown: Vec<_> = wrong.difference(&suspects).collect();
        prop_assert!(unknown.is_empty(), "{unknown:?} of {wrong:?}, suspects {suspects:?}");
    }

    #[test]
    fn the_same_of_several_tracks_however_they_are_spread(
        steps in vec(step(), 1..14),
        judged in 0..8usize,
        // Numbers of lanes beyond the third: nobody has the partition.
        first in vec(0..6u8, 4),
        second in vec(0..3u8, 4),
        anew in vec(0..4u8, 0..3),
        turns in vec(any::<u8>(), 0..40),
    ) {
        // What changes whole databases is executed by itself, when all before it has been judged.
        let alone = |step: &Step| step.acts.iter().any(|(act, _)| act.is_of_databases());
        let alone = steps.iter().rposition(alone).unwrap_or_default();
        let mut world = World::new(DbMapping::default());
        world.judged = [judged.max(alone); PARTITIONS];
        steps.iter().for_each(|step| world.step(step));
        world.go_on(&anew);
        let mut suspects = world.recover_apart(&first, &turns);
        suspects.extend(world.recover_apart(&second, &turns));
        let wrong = world.wrong();
        let unknown: Vec<_> = wrong.difference(&suspects).collect();
        prop_assert!(unknown.is_empty(), "{unknown:?} of {wrong:?}, suspects {suspects:?}");
    }
}
