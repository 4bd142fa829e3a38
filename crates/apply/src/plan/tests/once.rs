//! Exactly once, as a property: whatever batches are lost and wherever a lane begins again, every change of the stream is
//! executed once and in order.

pub(super) mod stream;

use std::collections::HashSet;

use event::Change;
use proptest::collection::vec;
use proptest::prelude::*;

use self::stream::{LEFT_OUT, Step, Stream};
use super::*;
use crate::batch::Judge;
use crate::config::BatchLimits;
use crate::filter::{Filters, KeyPattern, Rule};
use crate::plan::{Barrier, Failure, Planned};
use crate::quarantine::Draft;
use crate::quarantine::set::Spot;

/// What happens to a lane next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// The batch is executed.
    Executed,
    /// It is lost, and planned again by the same process.
    Lost,
    /// It is lost with the process: another begins at the checkpoint.
    Restarted,
    /// It was executed, and one of its changes failed: its key is set aside.
    Failed,
    /// It was executed, and the process died before it knew.
    ExecutedThenRestarted,
    /// It was executed, and the process was asked to stop: another goes on where it said that it stood.
    ExecutedThenStopped,
}

/// A planner that takes everything, or not all keys, and cuts groups of more bytes than that.
fn planner_for(filtered: bool, group_bytes: usize) -> Planner {
    let pattern = KeyPattern::Prefix(Bytes::from_static(LEFT_OUT.as_bytes()));
    let exclude = if filtered { vec![pattern] } else { Vec::new() };
    let keys = Rule { include: Vec::new(), exclude };
    let config =
        Config { filters: Filters { keys, ..Filters::default() }, group_bytes, ..config() };
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

/// What a destination has: the commands in the order of their execution, letters likewise, and the keys set aside.
#[derive(Default)]
pub(super) struct Done {
    pub(super) executed: Vec<String>,
    letters: Vec<String>,
    held: Vec<(Spot, Bytes)>,
}

impl Done {
    /// Executes a batch.
    fn take(&mut self, planner: &mut Planner, batch: &Batch) {
        self.executed
            .extend(commands(batch).into_iter().filter(|words| !words.starts_with("SELECT")));
        self.letters.extend(batch.letters.iter().map(words_of));
        planner.held.take_changes();
        self.held = planner.held.iter().map(|(spot, why)| (spot.clone(), why.clone())).collect();
    }

    /// Finds that a change of the batch just executed failed: sets its key aside, with what came behind it.
    fn fail(&mut self, planner: &mut Planner, batch: &Batch) {
        let data = batch.sent().iter().copied().filter(|sent| sent.judge == Judge::Data);
        let data: Vec<_> = data.collect();
        let Some(sent) = data.get(data.len() / 2).copied() else { return };
        let failure = Failure { sent, said: Some("WRONGTYPE".to_owned()) };
        let aftermath = planner.aftermath(batch, &[failure]);
        let mut letters = Batch::new(0);
        for draft in aftermath.drafts {
            let words = words_of(&draft);
            self.executed.retain(|executed| *executed != words);
            planner.hold(draft, &mut letters).unwrap();
        }
        self.take(planner, &letters);
    }

    /// Everything in the order of the stream, if what was executed is, and the letters of each key are.
    fn all(mut self, expected: &[String]) -> Vec<String> {
        let letters: HashSet<String> = self.letters.iter().cloned().collect();
        let set_aside = expected.iter().filter(|words| letters.contains(*words)).cloned();
        let by_key = |mut words: Vec<String>| {
            words.sort_by_key(|words| words.split(' ').nth(1).map(str::to_owned));
            words
        };
        let (found, wanted) = (by_key(self.letters), by_key(set_aside.collect()));
        assert!(found == wanted, "{} of {} letters", found.len(), wanted.len());
        let mut executed = self.executed.drain(..);
        let all = expected.iter().map_while(|words| match letters.contains(words) {
            true => Some(words.clone()),
            false => executed.next(),
        });
        let mut all: Vec<String> = all.collect();
        all.extend(executed);
        all
    }
}

/// The command of a letter.
fn words_of(draft: &Draft) -> String {
    let event = event::codec::decode(draft.record.clone()).unwrap();
    let command = match &event.body {
        Body::Command(command) => command,
        Body::Group(group) => match &group.changes[draft.change as usize].change {
            Change::Command(command) => command,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let words: Vec<_> = command.args.iter().map(|word| String::from_utf8_lossy(word)).collect();
    words.join(" ")
}

/// Takes back what was planned and not executed.
fn go_back(planner: &mut Planner, to: Progress) {
    let planned = planner.held.take_changes();
    planner.held.undo(&planned);
    planner.rewind(to);
}

/// Plans and executes until everything has been executed. Gives the commands in the order of their execution.
fn run(
    stream: &Stream,
    (limits, group_bytes): (BatchLimits, usize),
    fates: impl Iterator<Item = Fate>,
) -> Vec<String> {
    run_all(stream, (limits, group_bytes), fates).all(&stream.expected)
}

/// The same; gives what the destination has then.
pub(super) fn run_all(
    stream: &Stream,
    (limits, group_bytes): (BatchLimits, usize),
    mut fates: impl Iterator<Item = Fate>,
) -> Done {
    let (mut planner, mut done) = (planner_for(stream.filtered, group_bytes), Done::default());
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
            done.take(&mut planner, &batch);
            executed = planner.now();
        }
        match fate {
            Fate::Executed => waiting = barrier,
            Fate::Lost => go_back(&mut planner, executed.clone()),
            Fate::Failed => {
                done.fail(&mut planner, &batch);
                go_back(&mut planner, executed.clone());
            }
            Fate::Restarted | Fate::ExecutedThenRestarted | Fate::ExecutedThenStopped => {
                if matches!(fate, Fate::ExecutedThenStopped) {
                    assert_eq!(planner.now(), executed, "it says that it stands elsewhere");
                }
                let rules = planner.rules.clone();
                planner = Planner::new(rules, &scope(true), executed.clone(), Vec::new());
                planner.held.load(done.held.clone());
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
        4 => (2..9usize).prop_map(Step::Records),
        2 => (2..9usize).prop_map(Step::FlushingRecords),
        3 => Just(Step::Flush),
        2 => Just(Step::FlushingTransaction),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Executed),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Failed),
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
        group_bytes in prop_oneof![1..600usize, Just(crate::limits::GROUP_BYTES)],
    ) {
        let stream = Stream::of(&steps, filtered);
        let limits = BatchLimits { commands, bytes: 1 << 20 };
        let done = run(&stream, (limits, group_bytes), fates.into_iter());
        prop_assert!(done == stream.expected, "{} of {} commands", done.len(), stream.expected.len());
    }
}

#[test]
fn a_transaction_that_is_applied_in_pieces_goes_on_after_any_of_them() {
    let stream = Stream::of(&[Step::Command, Step::Records(7), Step::Command], false);
    for fate in [
        Fate::Lost,
        Fate::Failed,
        Fate::Restarted,
        Fate::ExecutedThenRestarted,
        Fate::ExecutedThenStopped,
    ] {
        for (at, group_bytes) in (0..9).flat_map(|at| [1, 100, 200].map(|bytes| (at, bytes))) {
            let fates = std::iter::repeat_n(Fate::Executed, at).chain([fate]);
            let limits = BatchLimits { commands: 1, bytes: 1 << 20 };
            let done = run(&stream, (limits, group_bytes), fates);
            assert_eq!(done, stream.expected, "{fate:?} after {at} in pieces of {group_bytes}");
        }
    }
}

#[test]
fn a_group_without_its_first_record_contradicts_what_was_applied() {
    let stream = Stream::of(&[Step::Records(4)], false);
    let mut planner = planner();
    let left = stream
        .from(&[0; 4])
        .filter(|entry| event::codec::decode(entry.payload.clone()).unwrap().position != at(10));
    let found = left.map(|entry| planner.plan(entry.clone(), &mut Batch::new(0)));
    let error = found.filter_map(Result::err).next().expect("it is refused");
    assert!(error.to_string().contains("without the first"), "{error}");
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
                Planned::Done | Planned::Waits => {}
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
        assert!(
            stands.applied.iter().all(|applied| found.event.position.is_after(&applied.position))
        );
        // A failure beside it: it is met again.
        planner.rewind(stands.clone());
        let again = stream.from(&stands.needed).find_map(|record| {
            match planner.plan(record.clone(), &mut Batch::new(0)).unwrap() {
                Planned::Barrier(again) => Some(again.event.position),
                Planned::Done | Planned::Waits => None,
            }
        });
        assert_eq!(again, Some(found.event.position));
    }
}
