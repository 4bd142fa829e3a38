//! Exactly once, as a property: whatever batches are lost and wherever a lane begins again, every change of the stream is
//! executed once and in order.

use event::fragment;
use event::group;
use event::{Change, Group, GroupedChange};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::BatchLimits;
use crate::plan::Planned;

/// What a source does next.
#[derive(Clone, Debug)]
enum Step {
    /// One command.
    Command,
    /// One command that needs fragments.
    Large,
    /// A transaction of so many commands.
    Transaction(usize),
    /// A transaction that needs several records.
    LargeTransaction,
}

/// What happens to a lane next.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// The batch is executed.
    Executed,
    /// It is lost, and planned again by the same process.
    Lost,
    /// It is lost with the process: another begins at the checkpoint.
    Restarted,
    /// It was executed, and the process died before it knew.
    ExecutedThenRestarted,
}

/// The records of a stream, and the commands that it stands for.
struct Stream {
    entries: Vec<Entry>,
    expected: Vec<String>,
    next: Vec<u64>,
    offset: u64,
}

const LARGE: usize = 1_200_000;

impl Stream {
    fn of(steps: &[Step]) -> Self {
        let mut stream =
            Self { entries: Vec::new(), expected: Vec::new(), next: vec![0; 4], offset: 0 };
        for partition in 0..4 {
            stream.append(&begin(1, EpochCause::FullResync), partition);
        }
        for step in steps {
            stream.offset += 10;
            match step {
                Step::Command => stream.command(3),
                Step::Large => stream.command(LARGE),
                Step::Transaction(count) => stream.transaction(*count, 3),
                Step::LargeTransaction => stream.transaction(4, LARGE / 3),
            }
        }
        stream
    }

    fn words(&mut self, number: usize, bytes: usize) -> String {
        let value = format!("{}:{number}:{}", self.offset, "x".repeat(bytes));
        let words = format!("APPEND key:{} {value}", self.offset % 7);
        self.expected.push(words.clone());
        words
    }

    fn command(&mut self, bytes: usize) {
        let words = self.words(0, bytes);
        let event = written(self.offset, &words, Effect::Merge);
        let partition = self.partition_of(&event);
        self.append(&event, partition);
    }

    fn transaction(&mut self, count: usize, bytes: usize) {
        let changes: Vec<GroupedChange> = (0..count)
            .map(|number| {
                let command = command(&self.words(number, bytes), Effect::Merge, KeyArgs::First);
                let key = command.args[1].clone();
                let slot = Slot::of_key(&key);
                GroupedChange { db: 0, slot, key, change: Change::Command(command) }
            })
            .collect();
        let key = changes[0].key.clone();
        let group =
            Group { changes, partitions: Vec::new(), number: 0, last: true, transaction: true };
        let whole = event(at(self.offset), &key, Body::Group(group.clone()));
        let partition = self.partition_of(&whole);
        for record in group::cut(&head(&whole), group) {
            self.append(&record, partition);
        }
    }

    fn partition_of(&self, event: &Event) -> u16 {
        wire::slot::partition_of(event.slot, 4).try_into().unwrap()
    }

    fn append(&mut self, event: &Event, partition: u16) {
        let mut encoded = BytesMut::new();
        event::codec::encode(event, &mut encoded).unwrap();
        let encoded = encoded.freeze();
        if fragment::is_needed(encoded.len()) {
            let pieces: Vec<Event> = fragment::split(encoded, &head(event)).collect();
            pieces.iter().for_each(|piece| self.push(piece, partition));
        } else {
            self.push(event, partition);
        }
    }

    fn push(&mut self, event: &Event, partition: u16) {
        let next = &mut self.next[usize::from(partition)];
        self.entries.push(entry(event, partition, *next));
        *next += 1;
    }

    /// What a reader that begins at these offsets sees.
    fn from(&self, needed: &[u64]) -> impl Iterator<Item = &Entry> {
        let needed = needed.to_vec();
        let wanted = move |entry: &&Entry| entry.offset.0 >= needed[usize::from(entry.partition.0)];
        self.entries.iter().filter(wanted)
    }
}

fn head(event: &Event) -> event::codec::Head<'_> {
    event::codec::Head {
        position: event.position,
        stamp: &event.stamp,
        db: event.db,
        slot: event.slot,
        key: &event.key,
        seen: &[],
    }
}

/// Plans and executes until everything has been executed. Gives the commands in the order of their execution.
fn run(stream: &Stream, limits: BatchLimits, mut fates: impl Iterator<Item = Fate>) -> Vec<String> {
    let (mut planner, mut done) = (planner(), Vec::new());
    let mut executed = planner.now();
    loop {
        let mut batch = Batch::new(0);
        let mut all_read = true;
        let records: Vec<&Entry> = stream.from(&planner.now().needed).collect();
        for record in records {
            if batch.is_full(limits) {
                all_read = false;
                break;
            }
            let planned = planner.plan(record.clone(), &mut batch).unwrap();
            assert!(matches!(planned, Planned::Done));
        }
        // What is open is read again with the next batch.
        planner.rewind(planner.now());
        if all_read && !batch.has_work() {
            return done;
        }
        let fate = fates.next().unwrap_or(Fate::Executed);
        if matches!(fate, Fate::Executed | Fate::ExecutedThenRestarted) {
            done.extend(commands(&batch));
            executed = planner.now();
        }
        match fate {
            Fate::Executed => {}
            Fate::Lost => planner.rewind(executed.clone()),
            Fate::Restarted | Fate::ExecutedThenRestarted => {
                let rules = planner.rules.clone();
                planner = Planner::new(rules, &scope(true), executed.clone(), None);
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Command),
        1 => Just(Step::Large),
        4 => (2..9usize).prop_map(Step::Transaction),
        1 => Just(Step::LargeTransaction),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Executed),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Restarted),
        1 => Just(Fate::ExecutedThenRestarted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_change_is_executed_once_and_in_order(
        steps in vec(step(), 0..40),
        fates in vec(fate(), 0..40),
        commands in 1..20usize,
    ) {
        let stream = Stream::of(&steps);
        let limits = BatchLimits { commands, bytes: 1 << 20 };
        let done = run(&stream, limits, fates.into_iter());
        prop_assert!(done == stream.expected, "{} of {} commands", done.len(), stream.expected.len());
    }
}

#[test]
fn a_transaction_is_never_cut_by_the_limits_of_a_batch() {
    let stream = Stream::of(&[Step::Command, Step::Transaction(8), Step::LargeTransaction]);
    let mut planner = planner();
    let mut batch = Batch::new(0);
    for record in stream.from(&[0; 4]) {
        if batch.is_full(BatchLimits { commands: 3, bytes: 10_000 }) {
            let first = commands(&batch);
            assert_eq!(first.len(), 9, "{first:?}");
            batch = Batch::new(0);
        }
        planner.plan(record.clone(), &mut batch).unwrap();
    }
    assert_eq!(commands(&batch).len(), 4);
}
