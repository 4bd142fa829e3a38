//! What is in doubt after a crash, as a property: whatever failed unseen, every key is as at the source in the end, or a
//! suspect.

mod world;

use std::collections::BTreeSet;

use event::fragment::Fragment;
use proptest::collection::vec;
use proptest::prelude::*;

use self::world::{Act, Step, World};
use super::meet::PARTITIONS;
use super::*;
use crate::config::Inexact;
use crate::mapping::DbMapping;

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

#[test]
fn a_key_is_a_suspect_for_what_came_before_it_was_set_aside() {
    // The change with which it is set aside is executed by nobody.
    for (held_since, suspects) in [(1, named(&[])), (2, named(&[(0, 1)])), (3, named(&[(0, 1)]))] {
        let world = world(&[&[Act::Append(0, 1)], &[Act::Append(0, 1)]], &[]);
        let offsets: Vec<u64> = world.events.iter().map(|event| event.position.offset).collect();
        let since = offsets.get(held_since - 1).copied().unwrap_or(world.offset + 1);
        let mut planner = world.planner(at(0));
        let note = Bytes::from(format!("0:1:{since}:0 why"));
        planner.held.hold(0, &Bytes::from("key:1"), &note).unwrap();
        let mut batch = Batch::new(0);
        for entry in world.stream.from(&[0; 4]) {
            planner.plan(entry.clone(), &mut batch).unwrap();
        }
        let found: BTreeSet<_> = planner
            .suspects
            .iter()
            .map(|it| (it.spot.db, String::from_utf8_lossy(&it.spot.key).into_owned()))
            .collect();
        assert_eq!(found, suspects, "set aside with change {held_since}");
    }
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
