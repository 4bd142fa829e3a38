//! Exactly once, as a property: whatever batches are lost and wherever a lane begins again, every change of the stream is
//! executed once and in order.

use event::control::Control;
use event::fragment;
use event::group;
use event::{Change, Group, GroupedChange};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::config::BatchLimits;
use crate::filter::{Filters, KeyPattern, Rule};
use crate::plan::{Barrier, Planned};

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
    /// FLUSHDB, for which a lane first finishes everything before it.
    Flush,
    /// A transaction with a FLUSHDB inside.
    FlushingTransaction,
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
    /// It was executed, and the process was asked to stop: another goes on where it said that it stood.
    ExecutedThenStopped,
}

/// The records of a stream, and the commands that it stands for.
struct Stream {
    entries: Vec<Entry>,
    expected: Vec<String>,
    next: Vec<u64>,
    offset: u64,
    /// Whether keys are filtered: then databases are not emptied.
    filtered: bool,
}

/// The keys that a filter leaves out.
const LEFT_OUT: &str = "key:3";
/// What is executed for a flush of database 0.
const FLUSH: &str = "FLUSHDB";

const LARGE: usize = 1_200_000;

impl Stream {
    fn of(steps: &[Step], filtered: bool) -> Self {
        let mut stream = Self {
            entries: Vec::new(),
            expected: Vec::new(),
            next: vec![0; 4],
            offset: 0,
            filtered,
        };
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
                Step::Flush => stream.flush(),
                Step::FlushingTransaction => stream.flushing_transaction(),
            }
        }
        stream
    }

    fn words(&mut self, number: usize, bytes: usize) -> String {
        let value = format!("{}:{number}:{}", self.offset, "x".repeat(bytes));
        let key = format!("key:{}", self.offset / 10 % 7);
        let words = format!("APPEND {key} {value}");
        if !(self.filtered && key == LEFT_OUT) {
            self.expected.push(words.clone());
        }
        words
    }

    fn command(&mut self, bytes: usize) {
        let words = self.words(0, bytes);
        let event = written(self.offset, &words, Effect::Merge);
        let partition = self.partition_of(&event);
        self.append(&event, partition);
    }

    fn flush(&mut self) {
        self.expect_flush();
        let flush = Control::Flush { all: false };
        self.append(&event(at(self.offset), b"", Body::Control(flush)), 0);
    }

    fn expect_flush(&mut self) {
        if !self.filtered {
            self.expected.push(FLUSH.to_owned());
        }
    }

    fn change(&mut self, number: usize, bytes: usize) -> GroupedChange {
        let command = command(&self.words(number, bytes), Effect::Merge, KeyArgs::First);
        let key = command.args[1].clone();
        GroupedChange { db: 0, slot: Slot::of_key(&key), key, change: Change::Command(command) }
    }

    fn transaction(&mut self, count: usize, bytes: usize) {
        let changes = (0..count).map(|number| self.change(number, bytes)).collect();
        self.group(changes);
    }

    fn flushing_transaction(&mut self) {
        let mut changes = vec![self.change(0, 3)];
        self.expect_flush();
        let change = Change::Flush { all: false };
        changes.push(GroupedChange { db: 0, slot: Slot::of_key(b""), key: Bytes::new(), change });
        changes.push(self.change(1, 3));
        self.group(changes);
    }

    fn group(&mut self, changes: Vec<GroupedChange>) {
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

/// A planner that takes everything, or not all keys.
fn planner_for(filtered: bool) -> Planner {
    let pattern = KeyPattern::Prefix(Bytes::from_static(LEFT_OUT.as_bytes()));
    let exclude = if filtered { vec![pattern] } else { Vec::new() };
    let keys = Rule { include: Vec::new(), exclude };
    let config = Config { filters: Filters { keys, ..Filters::default() }, ..config() };
    planner_of(&config, &facts(7, 2), true)
}

/// Plans into a batch up to its limits, or up to a barrier. Says whether all that is there was read.
fn fill(
    planner: &mut Planner,
    stream: &Stream,
    limits: BatchLimits,
    batch: &mut Batch,
) -> (bool, Option<Box<Barrier>>) {
    let records: Vec<&Entry> = stream.from(&planner.now().needed).collect();
    for record in records {
        if batch.is_full(limits) {
            return (false, None);
        }
        if let Planned::Barrier(barrier) = planner.plan(record.clone(), batch).unwrap() {
            return (false, Some(barrier));
        }
    }
    (true, None)
}

/// Plans and executes until everything has been executed. Gives the commands in the order of their execution.
fn run(stream: &Stream, limits: BatchLimits, mut fates: impl Iterator<Item = Fate>) -> Vec<String> {
    let (mut planner, mut done) = (planner_for(stream.filtered), Vec::new());
    let mut executed = planner.now();
    let mut waiting: Option<Box<Barrier>> = None;
    loop {
        let mut batch = Batch::new(0);
        let (all_read, barrier) = match waiting.take() {
            // Everything before it is done.
            Some(barrier) => {
                planner.plan_barrier(&barrier, !stream.filtered, &mut batch).unwrap();
                (false, None)
            }
            None => fill(&mut planner, stream, limits, &mut batch),
        };
        if barrier.is_none() {
            // What is open is read again with the next batch.
            planner.rewind(planner.now());
        }
        if all_read && !batch.has_work() {
            return done;
        }
        let fate = fates.next().unwrap_or(Fate::Executed);
        if !matches!(fate, Fate::Lost | Fate::Restarted) {
            done.extend(commands(&batch).into_iter().filter(|words| !words.starts_with("SELECT")));
            executed = planner.now();
        }
        match fate {
            Fate::Executed => waiting = barrier,
            Fate::Lost => planner.rewind(executed.clone()),
            Fate::Restarted | Fate::ExecutedThenRestarted | Fate::ExecutedThenStopped => {
                if matches!(fate, Fate::ExecutedThenStopped) {
                    assert_eq!(planner.now(), executed, "it says that it stands elsewhere");
                }
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
        3 => Just(Step::Flush),
        2 => Just(Step::FlushingTransaction),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Executed),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Restarted),
        1 => Just(Fate::ExecutedThenRestarted),
        1 => Just(Fate::ExecutedThenStopped),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_change_is_executed_once_and_in_order(
        steps in vec(step(), 0..40),
        fates in vec(fate(), 0..40),
        commands in 1..20usize,
        filtered in any::<bool>(),
    ) {
        let stream = Stream::of(&steps, filtered);
        let limits = BatchLimits { commands, bytes: 1 << 20 };
        let done = run(&stream, limits, fates.into_iter());
        prop_assert!(done == stream.expected, "{} of {} commands", done.len(), stream.expected.len());
    }
}

#[test]
fn a_transaction_is_never_cut_by_the_limits_of_a_batch() {
    let steps = [Step::Command, Step::Transaction(8), Step::LargeTransaction];
    let stream = Stream::of(&steps, false);
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

#[test]
fn a_flush_that_waits_is_not_passed_by_a_stop_or_a_failure_beside_it() {
    for step in [Step::Flush, Step::FlushingTransaction] {
        let stream = Stream::of(&[Step::Command, step, Step::Command], false);
        let mut planner = planner();
        let mut batch = Batch::new(0);
        let mut barrier = None;
        for record in stream.from(&[0; 4]) {
            match planner.plan(record.clone(), &mut batch).unwrap() {
                Planned::Done => {}
                Planned::Barrier(found) => {
                    barrier = Some((found, record.partition, record.offset));
                    break;
                }
            }
        }
        let (found, partition, offset) = barrier.expect("the flush waits");
        // A stop, or the batch that is executed meanwhile, says that the lane stands before it.
        let stands = planner.now();
        assert_eq!(stands.needed[usize::from(partition.0)], offset.0);
        assert!(stands.applied.iter().all(|applied| found.event.position.is_after(applied)));
        // A failure beside it: it is met again.
        planner.rewind(stands.clone());
        let again = stream.from(&stands.needed).find_map(|record| {
            match planner.plan(record.clone(), &mut Batch::new(0)).unwrap() {
                Planned::Barrier(again) => Some(again.event.position),
                Planned::Done => None,
            }
        });
        assert_eq!(again, Some(found.event.position));
    }
}
