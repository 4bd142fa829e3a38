//! What the destination refused to queue: set aside, or the end of the lane.

use event::{Change, Group, GroupedChange};

use super::*;
use crate::error::Error;
use crate::filter::{Filters, KeyPattern, Rule};
use crate::plan::Failure;

#[test]
fn what_is_taken_of_a_command_is_set_aside_where_it_cannot_be_written() {
    let pattern = KeyPattern::Prefix(Bytes::from_static(b"in:"));
    let keys = Rule { include: vec![pattern], exclude: vec![] };
    let filters = Filters { keys, ..Filters::default() };
    for words in ["DEL in:a out:b", "MSET in:a 1 out:b 2"] {
        let effect = if words.starts_with("DEL") { Effect::Delete } else { Effect::Overwrite };
        let keys: &[u32] = if effect == Effect::Delete { &[1, 2] } else { &[1, 3] };
        for db in [0, 20] {
            let mut planner =
                planner_of(&Config { filters: filters.clone(), ..config() }, &facts(7, 2), true);
            plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
            if db == 0 {
                planner.refused.insert((at(1), 0), (0, "ERR unknown command".into()));
            }
            let change = Event { db, ..listed(1, words, effect, keys, &[]) };
            let batch = plan(&mut planner, &[change]);
            assert!(commands(&batch).is_empty(), "{words} in {db}: {:?}", commands(&batch));
            assert!(planner.held.contains(db, &Bytes::from("in:a")), "{words} in {db}");
            assert_eq!(batch.letters[0].keys, ["in:a"], "{words} in {db}");
        }
    }
}

#[test]
fn a_change_that_is_refused_again_when_it_is_planned_anew_ends_the_lane() {
    let mut planner = begun();
    let change = |words: &str| {
        let command = command(words, Effect::Merge, KeyArgs::First);
        let key = command.args[1].clone();
        GroupedChange { db: 0, slot: Slot::of_key(&key), key, change: Change::Command(command) }
    };
    let changes = ["INCR b", "INCR c"].map(change).to_vec();
    let partitions = Vec::new();
    let group = Group { changes, partitions, number: 0, last: true, transaction: true };
    let transaction = event(at(2), b"b", Body::Group(group));
    let events = [written(1, "SET a 1", Effect::Overwrite), transaction];
    let batch = plan(&mut planner, &events);
    let failure = |number: usize| Failure {
        sent: batch.sent()[number],
        said: Some("ERR unknown command".into()),
    };
    let failures = [0, 1, 1].map(failure);
    planner.note_refused(&batch, &failures).unwrap();
    assert_eq!(planner.refused.len(), 2);
    // Another change of the same transaction is news.
    planner.note_refused(&batch, &[failure(2)]).unwrap();
    let again = planner.note_refused(&batch, &failures[1..]).unwrap_err();
    assert!(
        matches!(&again, Error::RefusedAgain { command, position, said }
            if command == "INCR" && *position == at(2) && said.contains("unknown")),
        "{again}"
    );
}
