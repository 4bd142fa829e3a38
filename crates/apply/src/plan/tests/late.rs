//! What is left of keys that were gone when the source prolonged their life: no part of a value.

use super::*;
use crate::batch::{Judge, Sent};
use crate::plan::{Aftermath, Failure, Part};
use crate::quarantine::set::Spot;

/// What is to be done when these commands were executed, and renewals of what is named came too late.
fn aftermath_of(all: &[&str], late: &[Judge]) -> Aftermath {
    let mut planner = planner_of(&config(), &facts(7, 4), true);
    plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    let events: Vec<Event> = (1..)
        .zip(all)
        .map(|(offset, words)| match words.split(' ').next() {
            Some("RENAME") => listed(offset, words, Effect::Merge, &[1, 2], &[]),
            Some("COPY") => listed(offset, words, Effect::Overwrite, &[2], &[1]),
            Some("SUNIONSTORE") => listed(offset, words, Effect::Overwrite, &[1], &[2, 3]),
            Some("SET" | "DEL") => written(offset, words, Effect::Overwrite),
            _ => written(offset, words, Effect::Merge),
        })
        .collect();
    let batch = plan(&mut planner, &events);
    let mut late = late.iter();
    let mut next = late.next();
    let mut failures = Vec::new();
    for sent in batch.sent() {
        if next == Some(&sent.judge) {
            let said = sent.judge.is_about_renewals().then(|| Failure::RENEWED_TOO_LATE.to_owned());
            failures.push(Failure { sent: *sent, said });
            next = late.next();
        }
    }
    assert_eq!(next, None, "{:?}", commands(&batch));
    planner.aftermath(&batch, &failures)
}

impl Judge {
    fn is_about_renewals(self) -> bool {
        matches!(self, Self::Renews | Self::IsThere | Self::RenewsFields)
    }
}

fn spot(key: &'static str) -> Spot {
    Spot { db: 0, key: Bytes::from_static(key.as_bytes()) }
}

/// The parts by key.
fn parts(aftermath: &Aftermath) -> Vec<(Spot, Part)> {
    let mut parts = aftermath.parts.clone();
    parts.sort_by(|one, other| one.0.cmp(&other.0));
    parts
}

/// The places of the changes that are set aside.
fn set_aside(aftermath: &Aftermath) -> Vec<u64> {
    aftermath.drafts.iter().map(|draft| draft.position.offset).collect()
}

#[test]
fn what_comes_behind_a_late_renewal_leaves_no_part_of_a_value() {
    for renewal in ["PEXPIREAT k 9", "PERSIST k"] {
        let all = [renewal, "APPEND k x", "SET other v", "APPEND other x"];
        let found = aftermath_of(&all, &[Judge::Renews]);
        assert_eq!(set_aside(&found), [1, 2]);
        assert_eq!(parts(&found), [(spot("k"), Part::Whole)]);
    }
}

#[test]
fn a_whole_value_behind_a_late_renewal_stays() {
    let found =
        aftermath_of(&["PEXPIREAT k 9", "APPEND k x", "SET k v", "APPEND k x"], &[Judge::Renews]);
    assert_eq!((set_aside(&found), parts(&found)), (vec![1, 2], Vec::new()));
}

#[test]
fn what_got_its_value_from_a_part_is_one_too() {
    let all = ["PEXPIREAT k 9", "SADD k x", "COPY k one REPLACE", "SUNIONSTORE two a k"];
    let found = aftermath_of(&all, &[Judge::Renews]);
    assert_eq!(set_aside(&found), [1, 2, 3, 4]);
    let expected = ["k", "one", "two"].map(|key| (spot(key), Part::Whole));
    assert_eq!(parts(&found), expected);
}

#[test]
fn a_key_that_got_nothing_from_one_that_is_set_aside_keeps_its_value_and_is_set_aside() {
    for take in ["COPY k to REPLACE", "RENAME k to"] {
        let found = aftermath_of(&["PEXPIREAT k 9", take], &[Judge::Renews, Judge::Takes]);
        assert_eq!(set_aside(&found), [1, 2], "{take}");
        assert_eq!(found.gone, []);
        assert_eq!(parts(&found), [(spot("k"), Part::Whole)]);
    }
}

#[test]
fn of_a_hash_only_the_fields_go_that_were_not_there() {
    let fields = |names: &[&'static str]| {
        Part::Fields(names.iter().map(|name| Bytes::from_static(name.as_bytes())).collect())
    };
    let all = ["HPEXPIREAT h 9 FIELDS 2 f g", "HSET h f 1", "HPERSIST h FIELDS 1 x", "COPY h i"];
    let late = [Judge::RenewsFields, Judge::RenewsFields];
    let found = aftermath_of(&all, &late);
    let expected = ["h", "i"].map(|key| (spot(key), fields(&["f", "g", "x"])));
    assert_eq!(parts(&found), expected);
    // Where the hash was not there at all, nothing of it stays.
    let late = [Judge::RenewsFields, Judge::IsThere, Judge::RenewsFields];
    let found = aftermath_of(&all, &late);
    assert_eq!(parts(&found), ["h", "i"].map(|key| (spot(key), Part::Whole)));
}

#[test]
fn a_hash_is_asked_for_before_its_fields_are_renewed() {
    let mut planner = planner_of(&config(), &facts(7, 4), true);
    plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    let renewal = written(1, "HPEXPIREAT h 9 FIELDS 1 f", Effect::Merge);
    let batch = plan(&mut planner, &[renewal]);
    assert_eq!(commands(&batch), ["RENAME h h", "HPEXPIREAT h 9 FIELDS 1 f"]);
    let judges: Vec<Judge> = batch.sent().iter().map(|Sent { judge, .. }| *judge).collect();
    assert_eq!(judges, [Judge::IsThere, Judge::RenewsFields]);
}
