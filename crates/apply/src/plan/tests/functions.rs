//! Function libraries in one batch with failures: what is held under which name, and what makes it right.

use event::control::{FunctionChange, SnapshotBegin};
use event::image::Flavour;

use super::cases::failure;
use super::*;
use crate::config::Existing;
use crate::doubt::Doubt;
use crate::quarantine::set::Spot;

fn function(offset: u64, words: &[&str]) -> Event {
    let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    event(
        at(offset),
        b"",
        Body::Control(Control::Function(FunctionChange { args, snapshot_id: 0 })),
    )
}

fn load(offset: u64, name: &str) -> Event {
    function(offset, &["FUNCTION", "LOAD", "REPLACE", &format!("#!lua name={name}")])
}

/// Executes changes of functions in one batch, of which the first fails. Gives the names that each letter is about, and
/// the libraries that are right in the end.
fn after_a_failure(events: &[Event]) -> (Vec<String>, Vec<Spot>) {
    let mut planner = begun();
    let batch = plan(&mut planner, events);
    let aftermath = planner.aftermath(&batch, &[failure(&batch, 0, Some("ERR no"))]);
    assert!(aftermath.gone.is_empty() && aftermath.moved.is_empty());
    let names = |keys: &[Bytes]| {
        keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>()
    };
    let drafts = aftermath.drafts.iter();
    let drafts = drafts.inspect(|draft| assert_eq!(draft.db, Spot::LIBRARIES));
    (drafts.map(|draft| names(&draft.keys).join("+")).collect(), aftermath.right)
}

#[test]
fn a_library_that_was_refused_is_right_once_it_is_loaded_or_deleted_again() {
    for second in [load(3, "a"), function(3, &["FUNCTION", "DELETE", "a"])] {
        let (letters, right) = after_a_failure(&[load(1, "a"), load(2, "b"), second]);
        assert_eq!(letters, ["a"]);
        assert_eq!(right, [Spot::library(Bytes::from_static(b"a"))]);
    }
    let (letters, right) = after_a_failure(&[load(1, "a"), load(2, "b")]);
    assert_eq!((letters, right), (vec!["a".to_owned()], Vec::new()));
}

#[test]
fn a_restore_and_what_stands_around_it_stay_in_order_until_a_flush() {
    let restore = |offset| function(offset, &["FUNCTION", "RESTORE", "x", "REPLACE"]);
    let flush = |offset| function(offset, &["FUNCTION", "FLUSH"]);
    let (letters, right) = after_a_failure(&[restore(1), load(2, "a"), load(3, "b")]);
    assert_eq!((letters, right), (vec!["".to_owned(), "+a".into(), "+b".into()], Vec::new()));
    let (letters, right) = after_a_failure(&[load(1, "a"), restore(2), load(3, "c"), flush(4)]);
    assert_eq!(letters, ["a", "a+", "+c"].map(str::to_owned));
    assert_eq!(right.len(), 3, "{right:?}");
}

#[test]
fn a_flush_of_databases_leaves_libraries_where_they_are() {
    let mut planner = begun();
    planner
        .held
        .hold(Spot::LIBRARIES, &Bytes::from_static(b"a"), &Bytes::from_static(b"x"))
        .unwrap();
    let flush = event(at(1), b"", Body::Control(Control::Flush { all: true }));
    let mut batch = Batch::new(0);
    let planned = planner.plan(entry(&flush, 0, 1), &mut batch).unwrap();
    let crate::plan::Planned::Barrier(barrier) = planned else { panic!("no barrier") };
    planner.plan_barrier(&barrier, true, &mut batch).unwrap();
    assert_eq!(planner.held.len(), 1);
    plan(&mut planner, &[function(2, &["FUNCTION", "FLUSH"])]);
    assert!(planner.held.is_empty());
}

#[test]
fn a_destination_without_functions_holds_what_it_lacks_and_nothing_else() {
    let mut planner = planner_of(&config(), &facts(6, 2), true);
    plan(&mut planner, &[begin(1, EpochCause::FullResync), load(1, "a"), load(2, "b")]);
    assert_eq!(planner.held.len(), 2);
    let batch = plan(&mut planner, &[function(3, &["FUNCTION", "DELETE", "a"])]);
    assert_eq!((planner.held.len(), batch.letters.len()), (1, 0));
    plan(&mut planner, &[function(4, &["FUNCTION", "FLUSH"])]);
    assert!(planner.held.is_empty());
}

#[test]
fn libraries_in_doubt_from_before_a_snapshot_that_leaves_no_other_do_not_come_back() {
    let of_epoch = |epoch, index, event: Event| Event {
        position: Position::new(Shard(0), epoch, 0).at_index(index),
        ..event
    };
    let begins = SnapshotBegin {
        snapshot_id: 0,
        keys_expected: 0,
        bytes_expected: 0,
        rdb_version: 11,
        flavour: Flavour::Redis,
        slots: None,
    };
    let begins = event(at(0), b"", Body::Control(Control::SnapshotBegin(begins)));
    let events = [
        load(1, "a"),
        begin(2, EpochCause::FullResync),
        of_epoch(2, 1, begins),
        of_epoch(2, 2, load(0, "b")),
    ];
    let next = of_epoch(2, 3, load(0, "c"));
    let mut before = begun();
    before.rules.take_existing(Existing::Sweep);
    let executed = commands(&plan(&mut before, &events));
    let libraries = |executed: &[String]| {
        let ends = executed.iter().map(|words| words.rsplit([' ', '=']).next().unwrap_or_default());
        ends.map(str::to_owned).collect::<Vec<_>>()
    };
    let again_after = |judged: Position| {
        let mut planner = begun();
        planner.rules.take_existing(Existing::Sweep);
        planner.progress = before.now();
        let applied = planner.progress.applied[0];
        planner.doubt = Doubt::new([(judged, applied)], vec![0; 4]);
        let events = [&events[..], std::slice::from_ref(&next)].concat();
        libraries(&commands(&plan(&mut planner, &events)))
    };
    assert_eq!(libraries(&executed), ["a", "FLUSH", "b"]);
    // What makes an end of all, and what came behind it; or only that.
    assert_eq!(again_after(at(0)), ["FLUSH", "b", "c"]);
    assert_eq!(again_after(events[2].position), ["b", "c"]);
}
