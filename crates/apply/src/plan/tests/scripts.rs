//! Scripts of the source: where they run, and what keeps them from it.

use event::{Change, Group, GroupedChange};

use super::super::script::PRELUDE;
use super::*;
use crate::batch::Judge;
use crate::config::Inexact;
use crate::filter::{Filters, KeyPattern, Rule};
use crate::mapping::DbMapping;
use crate::plan::{Failure, Need, Planned};
use crate::scope::Point;

fn script(offset: u64, db: u32, words: &str, keys: &[u32]) -> Event {
    let keys = match keys {
        [] => KeyArgs::First,
        keys => KeyArgs::Listed { written: keys.to_vec(), read: vec![] },
    };
    let command = command(words, Effect::Merge, keys);
    let key = command.written_keys().next().cloned().unwrap_or_default();
    let slot = Slot::of_key(&key);
    let change = GroupedChange { db, slot, key: key.clone(), change: Change::Command(command) };
    let group = Group {
        changes: vec![change],
        partitions: vec![0, 1, 2, 3],
        number: 0,
        last: true,
        transaction: false,
    };
    Event { db, ..event(at(offset), &key, Body::Group(group)) }
}

/// The commands of a batch, without what stands before every script.
fn ran(batch: &Batch) -> Vec<String> {
    commands(batch).iter().map(|line| line.replace(PRELUDE, "")).collect()
}

/// What is in the way of a script.
fn refusal(planner: &mut Planner, script: &Event) -> String {
    let mut batch = Batch::new(0);
    match planner.plan(entry(script, 0, 9), &mut batch).unwrap() {
        Planned::Barrier(barrier) if barrier.need == Need::Script => {
            assert!(commands(&batch).is_empty());
            assert_eq!(planner.now().needed[0], 9, "it is read again");
            planner.plan_barrier(&barrier, true, &mut batch).unwrap_err().to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_script_runs_as_it_is_in_its_database() {
    let mut planner = begun();
    planner.deadlines.set(
        5,
        b"other",
        crate::deadlines::PutOff { key_ms: Some(1), ..Default::default() },
    );
    let scripts = [script(1, 0, "EVAL code 1 a b", &[3]), script(2, 3, "EVAL code 0 b", &[])];
    let batch = plan(&mut planner, &scripts);
    assert_eq!(ran(&batch), ["EVAL code 1 a b", "SELECT 3", "EVAL code 0 b"]);
    assert!(planner.deadlines.is_empty(), "any key may have got another deadline");
    let judges: Vec<_> = batch.sent().iter().map(|sent| sent.judge).collect();
    assert_eq!(judges, [Judge::Runs, Judge::Ours, Judge::Runs]);
}

#[test]
fn what_makes_a_script_inexact_stops_the_lane_before_it() {
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        let mut planner = planner_of(&config, &facts(7, 2), true);
        plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
        refusal(&mut planner, &script(1, 0, "EVAL code 0", &[]))
    };
    let dbs = Rule { include: vec![0], exclude: vec![] };
    let filters = Filters { dbs, ..Filters::default() };
    assert!(with(&|config| config.filters = filters.clone()).contains("filter.*"));
    assert!(with(&|config| config.mapping = DbMapping::all_to(0)).contains("map.dbs"));
    let second = std::time::Duration::from_secs(1);
    let extended = with(&|config| config.extend_expiry = second);
    assert!(extended.contains("destination.extend_expiry"), "{extended}");
    let mut planner = begun();
    let flushes = refusal(&mut planner, &script(1, 0, "EVAL redis.call('FlushAll') 0", &[]));
    assert!(flushes.contains("empty or exchange"), "{flushes}");
    let chance = refusal(&mut planner, &script(1, 0, "EVAL redis.call(ARGV[1],'s') 0 SPOP", &[]));
    assert!(chance.contains("SPOP"), "{chance}");
    assert!(refusal(&mut planner, &script(2, 16, "EVAL code 0", &[])).contains("database"));
}

#[test]
fn a_script_waits_for_an_operator_while_keys_are_set_aside() {
    let [a, k] = ["a", "k"].map(Bytes::from);
    let mut planner = begun();
    planner.held.hold(0, &k, &Bytes::from("a test")).unwrap();
    let why = refusal(&mut planner, &script(1, 0, "EVAL code 1 a", &[3]));
    assert!(why.contains("quarantine"), "{why}");
    // Where what is inexact is left out it is set aside, too, and is tried again from there.
    let mut batch = Batch::new(0);
    let event = script(1, 0, "EVAL code 1 a", &[3]);
    let Planned::Barrier(barrier) = planner.plan(entry(&event, 0, 9), &mut batch).unwrap() else {
        panic!("no barrier");
    };
    planner.plan_barrier(&barrier, false, &mut batch).unwrap();
    assert!(commands(&batch).is_empty() && planner.held.contains(0, &a));
    assert_eq!(batch.letters.len(), 1);
    let record = batch.letters[0].record.clone();
    planner.held.release(0, &a);
    let mut again = Batch::new(0);
    planner.plan_again(&record, 0, &mut again).unwrap();
    assert!(commands(&again).is_empty() && planner.held.contains(0, &a));
    for key in [&a, &k] {
        planner.held.release(0, key);
    }
    planner.plan_again(&record, 0, &mut again).unwrap();
    assert_eq!(ran(&again), ["EVAL code 1 a"]);
}

#[test]
fn a_script_behind_a_failure_or_with_one_is_set_aside() {
    let mut planner = begun();
    let events = [
        written(1, "INCR k", Effect::Merge),
        script(2, 0, "EVAL code(spoplar) 1 a", &[3]),
        script(3, 0, "EVAL code 0", &[]),
    ];
    let batch = plan(&mut planner, &events);
    let keys_after = |failed: usize| {
        let failure = Failure { sent: batch.sent()[failed], said: Some("ERR".to_owned()) };
        let drafts = planner.aftermath(&batch, &[failure]).drafts;
        drafts.into_iter().flat_map(|draft| draft.keys).collect::<Vec<_>>()
    };
    assert_eq!(keys_after(0), ["k", "a", ""]);
    assert_eq!(keys_after(1), ["a", ""]);
    assert_eq!(keys_after(2), [""]);
}

#[test]
fn whole_values_from_before_a_script_in_doubt_are_not_written_again() {
    let events = [written(1, "SET k 1", Effect::Overwrite), script(2, 0, "EVAL code 0", &[])];
    let after = written(3, "SET l 1", Effect::Overwrite);
    let planner = begun();
    let mut doubt = crate::doubt::Doubt::new([(at(0), at(3).into())], vec![0; 4]);
    for event in events.iter().chain([&after]) {
        doubt.note(event, &entry(event, 0, 0).payload, here(&planner.rules)).unwrap();
    }
    let settled = doubt.settle(&planner.rules).expect("all is noted");
    assert_eq!(settled.again.len(), 1);
    let [suspect] = &settled.suspects[..] else { panic!("{:?}", settled.suspects) };
    assert_eq!((suspect.db, &suspect.key[..], &suspect.evidence), (0, &b"k"[..], &None));
}

/// A large transaction of two scripts, in two records.
fn scripts_in_pieces() -> [Event; 2] {
    [(0, "EVAL code 1 a"), (1, "EVAL code 1 b")].map(|(number, words)| {
        let mut event = script(1, 0, words, &[3]);
        event.position = at(1).at_index(number.into());
        let Body::Group(group) = &mut event.body else { panic!("no group") };
        (group.number, group.last) = (number, number == 1);
        event
    })
}

#[test]
fn a_script_in_the_middle_of_a_large_transaction_is_not_passed_either() {
    let mut planner = begun();
    planner.held.hold(0, &Bytes::from("k"), &Bytes::from("a test")).unwrap();
    let mut batch = Batch::new(0);
    let pieces = scripts_in_pieces();
    let mut outcomes = (0..).zip(&pieces).map(|(offset, piece)| {
        planner.plan(entry(piece, 0, offset), &mut batch).map(|planned| format!("{planned:?}"))
    });
    let stopped = outcomes.find_map(Result::err).expect("it is not passed");
    assert!(stopped.to_string().contains("quarantine"), "{stopped}");
}

/// What is set aside of a script that is left out.
fn set_aside(config: &Config, words: &str, keys: &[u32]) -> (Planner, Batch) {
    let mut planner = planner_of(config, &facts(7, 2), true);
    plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    let mut batch = Batch::new(0);
    let event = script(1, 0, words, keys);
    let Planned::Barrier(barrier) = planner.plan(entry(&event, 0, 9), &mut batch).unwrap() else {
        panic!("no barrier");
    };
    planner.plan_barrier(&barrier, false, &mut batch).unwrap();
    (planner, batch)
}

#[test]
fn a_script_that_is_left_out_holds_its_keys_where_they_are_at_the_destination() {
    let config = Config { mapping: DbMapping::all_to(5), inexact: Inexact::Skip, ..config() };
    let (mut planner, batch) = set_aside(&config, "EVAL code 1 k", &[3]);
    let k = Bytes::from("k");
    assert!(planner.held.contains(5, &k) && !planner.held.contains(0, &k));
    assert_eq!((batch.letters.len(), batch.letters[0].db), (1, 5));
    let batch = plan(&mut planner, &[written(2, "INCR k", Effect::Merge)]);
    assert!(commands(&batch).is_empty(), "{:?}", commands(&batch));
}

#[test]
fn a_script_that_is_left_out_holds_no_key_that_the_filters_leave_out() {
    let pattern = KeyPattern::Prefix(Bytes::from_static(b"in:"));
    let keys = Rule { include: vec![pattern], exclude: vec![] };
    let filters = Filters { keys, ..Filters::default() };
    let config = Config { filters, inexact: Inexact::Skip, ..config() };
    let (planner, batch) = set_aside(&config, "EVAL code 2 in:a out:b", &[3, 4]);
    let [a, b] = ["in:a", "out:b"].map(Bytes::from);
    assert!(planner.held.contains(0, &a) && !planner.held.contains(0, &b));
    assert_eq!(batch.letters[0].keys, [a]);
}

#[test]
fn a_script_in_the_middle_of_a_large_transaction_is_left_out_where_the_settings_say_so() {
    let config = Config { inexact: Inexact::Skip, ..config() };
    let mut planner = planner_of(&config, &facts(7, 2), true);
    plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    planner.held.hold(0, &Bytes::from("k"), &Bytes::from("a test")).unwrap();
    let mut batch = Batch::new(0);
    for (offset, piece) in (0..).zip(&scripts_in_pieces()) {
        let planned = planner.plan(entry(piece, 0, offset), &mut batch).unwrap();
        assert!(matches!(planned, Planned::Done), "{planned:?}");
    }
    assert_eq!(batch.letters.len(), 2);
    let held = |key: &'static str| planner.held.contains(0, &Bytes::from(key));
    assert!(held("a") && held("b") && commands(&batch).is_empty());
    assert_eq!(planner.now().applied, [Point::from(at(1).at_index(1))]);
    assert_eq!(planner.now().needed[0], 2, "nothing is read again");
}
