//! Tracks that meet, as a property: in whatever order the records of several partitions come, and wherever a lane begins
//! again, every change is executed once, each key's in order, and what several tracks have in common at once.

use std::collections::BTreeMap;

use event::control::{Barrier as BarrierEvent, Control, Heartbeat};
use event::{Change, Group, GroupedChange};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::slot::partition_of;

use super::*;
use crate::plan::{Barrier, Planned};

pub(super) const PARTITIONS: usize = 4;

/// What a source does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// One command on a key of that number.
    Command(usize),
    /// One transaction on keys of these numbers.
    Transaction(Vec<usize>),
    /// FLUSHDB.
    Flush,
    /// A transaction with a FLUSHDB before its last command.
    FlushingTransaction(Vec<usize>),
}

/// A source: the records of its partitions, and what its keys hold.
#[derive(Default)]
pub(super) struct Source {
    pub(super) records: Vec<Vec<Entry>>,
    pub(super) keys: BTreeMap<String, String>,
    pub(super) offset: u64,
}

/// A destination that executes batches at once.
#[derive(Default)]
struct Destination {
    keys: BTreeMap<String, String>,
    progress: Progress,
}

/// A lane that reads partitions in any order.
struct Lane {
    planner: Planner,
    batch: Batch,
    read: Vec<u64>,
}

/// The partition of a slot.
pub(super) fn number(slot: Slot) -> u16 {
    partition_of(slot, 4).try_into().unwrap()
}

impl Source {
    pub(super) fn of(steps: &[Step]) -> Self {
        let mut source = Self { records: vec![Vec::new(); PARTITIONS], ..Self::default() };
        source.everywhere(&begin(1, EpochCause::FullResync));
        for step in steps {
            source.offset += 10;
            match step {
                Step::Command(key) => {
                    let words = source.append(*key, 0);
                    let event = written(source.offset, &words, Effect::Merge);
                    let partition = usize::from(number(event.slot));
                    source.push(partition, &event);
                }
                Step::Transaction(keys) => source.transaction(keys, false),
                Step::FlushingTransaction(keys) => source.transaction(keys, true),
                Step::Flush => {
                    source.keys.clear();
                    let flush = Control::Flush { all: false };
                    source.everywhere(&event(at(source.offset), b"", Body::Control(flush)));
                }
            }
        }
        let beat = Heartbeat {
            replication_id: String::new(),
            selected_db: 0,
            source_time_ms: 0,
            capture_time_ms: 0,
            shard_name: String::new(),
            slots: None,
        };
        let position = at(source.offset).at_index(Position::LAST_INDEX);
        source.everywhere(&event(position, b"", Body::Control(Control::Heartbeat(beat))));
        source
    }

    fn push(&mut self, partition: usize, event: &Event) {
        let records = &mut self.records[partition];
        let number = partition.try_into().unwrap();
        records.push(entry(event, number, records.len() as u64));
    }

    fn everywhere(&mut self, event: &Event) {
        (0..PARTITIONS).for_each(|partition| self.push(partition, event));
    }

    /// Appends a word to a key that nothing else appends.
    fn append(&mut self, key: usize, number: usize) -> String {
        let (key, word) = (format!("key:{key}"), format!("{}.{number},", self.offset));
        self.keys.entry(key.clone()).or_default().push_str(&word);
        format!("RPUSH {key} {word}")
    }

    fn transaction(&mut self, keys: &[usize], flushes: bool) {
        let mut changes = Vec::new();
        for (number, key) in keys.iter().enumerate() {
            if flushes && number + 1 == keys.len() {
                self.keys.clear();
                let (slot, change) = (Slot::of_key(b""), Change::Flush { all: false });
                changes.push(GroupedChange { db: 0, slot, key: Bytes::new(), change });
            }
            let command = command(&self.append(*key, number), Effect::Merge, KeyArgs::First);
            let (key, change) = (command.args[1].clone(), Change::Command(command));
            changes.push(GroupedChange { db: 0, slot: Slot::of_key(&key), key, change });
        }
        let home = changes.iter().find(|change| !change.key.is_empty()).unwrap().key.clone();
        let mut partitions = vec![number(Slot::of_key(&home))];
        let touched = changes.iter().map(|change| number(change.slot));
        for partition in touched.chain((0..4).filter(|_| flushes)) {
            if !partitions.contains(&partition) {
                partitions.push(partition);
            }
        }
        let group = Group {
            changes,
            partitions: if partitions.len() > 1 { partitions.clone() } else { Vec::new() },
            number: 0,
            last: true,
            transaction: true,
        };
        let position = at(self.offset);
        self.push(usize::from(partitions[0]), &event(position, &home, Body::Group(group)));
        for other in &partitions[1..] {
            let barrier =
                BarrierEvent { home_partition: partitions[0], partitions: partitions.clone() };
            let barrier = Body::Control(Control::Barrier(barrier));
            self.push(usize::from(*other), &event(position, b"", barrier));
        }
    }
}

impl Destination {
    fn execute(&mut self, lane: &mut Lane) {
        lane.batch.close_run();
        for words in commands(&lane.batch) {
            let words: Vec<&str> = words.split(' ').collect();
            match words[..] {
                ["RPUSH", key, word] => {
                    self.keys.entry(key.to_owned()).or_default().push_str(word);
                }
                ["FLUSHDB"] => self.keys.clear(),
                ref other => panic!("{other:?}"),
            }
        }
        lane.batch = Batch::new(0);
        self.progress = lane.planner.now();
    }
}

impl Lane {
    fn at(progress: &Progress) -> Self {
        let scope = scope(false);
        let rules = Rules::new(&config(), Names::new(&scope), &facts(7, 2));
        let planner = Planner::new(rules, &scope, progress.clone(), Vec::new());
        Self { planner, batch: Batch::new(0), read: progress.needed.clone() }
    }

    /// Plans the next record of a partition, unless its track waits.
    fn plan(&mut self, source: &Source, partition: usize) -> Option<Box<Barrier>> {
        let record =
            source.records[partition].get(usize::try_from(self.read[partition]).unwrap())?;
        if self.planner.waits(partition) {
            return None;
        }
        self.read[partition] += 1;
        match self.planner.plan(record.clone(), &mut self.batch).unwrap() {
            Planned::Barrier(barrier) => Some(barrier),
            Planned::Done | Planned::Waits => None,
        }
    }

    fn has_read(&self, source: &Source) -> bool {
        let read = self.read.iter().zip(&source.records);
        read.into_iter().all(|(read, records)| *read == records.len() as u64)
    }
}

/// Applies the source by these choices, then on to its end. Gives what the destination holds.
fn apply(source: &Source, choices: &[(u8, u8)]) -> BTreeMap<String, String> {
    let begin = Progress::from(vec![0; PARTITIONS]);
    let mut destination = Destination { progress: begin.clone(), ..Destination::default() };
    let mut lane = Lane::at(&begin);
    // Enough for all to meet: each round at least one record is planned.
    let rounds = source.records.iter().map(Vec::len).sum::<usize>() + 1;
    let rest = [0u8, 1, 2, 3].into_iter().cycle().map(|partition| (partition, 255));
    for (partition, fate) in choices.iter().copied().chain(rest.take(rounds * PARTITIONS)) {
        if let Some(barrier) = lane.plan(source, usize::from(partition) % PARTITIONS) {
            destination.execute(&mut lane);
            lane.planner.plan_barrier(&barrier, true, &mut lane.batch).unwrap();
            assert!(lane.batch.urgent);
            if fate == 7 {
                // It is lost.
                lane = Lane::at(&destination.progress);
                continue;
            }
            destination.execute(&mut lane);
        }
        match fate {
            0..7 => lane = Lane::at(&destination.progress),
            7..60 => destination.execute(&mut lane),
            60..66 => {
                destination.execute(&mut lane);
                lane = Lane::at(&destination.progress);
            }
            _ => {}
        }
        assert!(lane.read.iter().zip(&source.records).all(|(read, of)| *read <= of.len() as u64));
        if lane.has_read(source) && !lane.planner.any_waits() {
            destination.execute(&mut lane);
            break;
        }
    }
    assert!(
        destination.progress.applied.iter().all(|point| point.position.offset == source.offset)
    );
    destination.keys
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..9usize).prop_map(Step::Command),
        5 => vec(0..9usize, 1..5).prop_map(Step::Transaction),
        1 => Just(Step::Flush),
        1 => vec(0..9usize, 1..4).prop_map(Step::FlushingTransaction),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_comes_first_every_change_is_executed_once_and_in_its_place(
        steps in vec(step(), 0..40),
        choices in vec(any::<(u8, u8)>(), 0..300),
    ) {
        let source = Source::of(&steps);
        prop_assert_eq!(apply(&source, &choices), source.keys);
    }
}

#[test]
fn a_track_waits_at_a_barrier_until_the_change_is_planned() {
    let source = Source::of(&[Step::Transaction((0..9).collect()), Step::Command(3)]);
    let mut lane = Lane::at(&Progress::from(vec![0; PARTITIONS]));
    (0..PARTITIONS).for_each(|partition| drop(lane.plan(&source, partition)));
    for partition in 0..PARTITIONS - 1 {
        assert!(lane.plan(&source, partition).is_none());
        assert!(lane.planner.waits(partition));
    }
    assert_eq!(lane.planner.now().needed, [1, 1, 1, 1]);
    assert_eq!(commands(&lane.batch), [""; 0]);
    assert!(lane.plan(&source, PARTITIONS - 1).is_none());
    lane.batch.close_run();
    assert_eq!(commands(&lane.batch).len(), 9);
    assert!(!lane.planner.any_waits());
    assert_eq!(lane.planner.now().needed, [2, 2, 2, 2]);
}

#[test]
fn a_change_that_another_track_has_left_behind_with_a_later_snapshot_is_passed_over() {
    let source = Source::of(&[Step::Transaction((0..9).collect())]);
    let mut lane = Lane::at(&Progress::from(vec![0; PARTITIONS]));
    for partition in [0, 0, 1, 1, 2, 2, 3] {
        assert!(lane.plan(&source, partition).is_none());
    }
    // Its barrier was never recorded: the history broke off before it.
    let later = entry(&begin(2, EpochCause::FullResync), 3, 1);
    let planned = lane.planner.plan(later, &mut lane.batch).unwrap();
    assert!(matches!(planned, Planned::Done));
    let barrier = lane.planner.met().unwrap().expect("nobody is waited for");
    assert!(lane.planner.is_superseded(&barrier));
    lane.planner.leave_behind(&barrier, &mut lane.batch);
    lane.batch.close_run();
    assert_eq!(commands(&lane.batch), [""; 0]);
    assert!(!lane.planner.any_waits());
}
