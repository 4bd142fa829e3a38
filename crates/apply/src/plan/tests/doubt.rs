//! What is in doubt after a crash, as a property: whatever failed unseen, every key is as at the source in the end, or a
//! suspect.

mod world;

use event::fragment::Fragment;
use proptest::collection::vec;
use proptest::prelude::*;

use self::world::{Act, Spots, Step, World};
use super::meet::PARTITIONS;
use super::*;
use crate::config::Inexact;
use crate::mapping::DbMapping;
use crate::quarantine::set::Spot;

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

fn named(keys: &[(u32, u8)]) -> Spots {
    keys.iter().map(|(db, key)| (*db, format!("key:{key}"))).collect()
}

/// The same of libraries, and whether there are those that nobody can name.
fn libraries(names: &[u8], any: bool) -> Spots {
    let names = names.iter().map(|name| format!("key:{name}"));
    let any = any.then(String::new);
    names.chain(any).map(|name| (Spot::LIBRARIES, name)).collect()
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
fn a_change_of_a_library_that_failed_is_applied_again() {
    let acts = [Act::Load(1), Act::Load(2), Act::Unload(1), Act::Load(3)];
    let single: Vec<&[Act]> = acts.chunks(1).collect();
    for (fails, wrong) in [(2, &[1][..]), (3, &[3])] {
        let (mut alone, mut group) =
            (world(&single, &[(fails, 0)]), world(&[&acts], &[(0, fails)]));
        for world in [&mut alone, &mut group] {
            assert_eq!(world.wrong(), libraries(wrong, false));
            assert_eq!(world.recover(at(0)), libraries(&[], false));
            assert_eq!(world.wrong(), libraries(&[], false));
        }
    }
}

#[test]
fn libraries_from_before_a_flush_of_theirs_do_not_come_back_and_those_after_it_stay() {
    let acts = [Act::Load(1), Act::UnloadAll, Act::Load(2), Act::FlushAll, Act::Load(3)];
    let single: Vec<&[Act]> = acts.chunks(1).collect();
    for fails in [&[][..], &[(0, 0)], &[(1, 0)], &[(2, 0)]] {
        let mut world = world(&single, fails);
        assert_eq!(world.recover(at(0)), libraries(&[], false));
        assert_eq!(world.wrong(), libraries(&[], false), "{fails:?}");
    }
}

#[test]
fn what_a_restore_may_have_replaced_is_a_suspect_and_what_came_behind_it_is_applied_again() {
    let acts = [Act::Load(1), Act::Load(2), Act::Restore(1), Act::Load(3), Act::Load(2)];
    let mut group = world(&[&acts], &[(0, 2), (0, 4)]);
    assert_eq!(group.recover(at(0)), libraries(&[1], true));
    assert_eq!(group.wrong(), libraries(&[1], false));
    let flushed = [&acts[..], &[Act::UnloadAll, Act::Load(1)]].concat();
    let mut flushed = world(&[&flushed], &[(0, 2), (0, 6)]);
    assert_eq!(flushed.recover(at(0)), libraries(&[], false));
    assert_eq!(flushed.wrong(), libraries(&[], false));
}

#[test]
fn the_libraries_of_another_lane_are_suspects_of_a_transaction_that_changed_them() {
    // A key of partition 2 is its home.
    let partition = |key: &u8| meet::number(Slot::of_key(format!("key:{key}").as_bytes()));
    let key = (0..4).find(|key| partition(key) == 2).unwrap();
    let acts = [Act::Set(0, key), Act::Load(1), Act::UnloadAll];
    for (acts, expected) in [(&acts[..2], libraries(&[1], false)), (&acts, libraries(&[1], true))] {
        let mut apart = world(&[acts], &[]);
        assert_eq!(apart.recover_apart(&[0, 0, 1, 0], &[]), expected);
        let mut together = world(&[acts], &[(0, 1)]);
        assert_eq!(together.recover_apart(&[0, 0, 0, 0], &[]), libraries(&[], false));
        assert_eq!(together.wrong(), libraries(&[], false));
    }
}

#[test]
fn a_library_is_a_suspect_for_what_came_before_it_was_set_aside() {
    for (held_since, suspects) in [(1, libraries(&[], false)), (2, libraries(&[], true))] {
        let world = world(&[&[Act::Restore(1)], &[Act::Restore(2)]], &[]);
        let since = world.events[held_since - 1].position.offset;
        let mut planner = world.planner(at(0));
        let note = Bytes::from(format!("0:1:{since}:0 why"));
        planner.held.hold(Spot::LIBRARIES, &Bytes::new(), &note).unwrap();
        assert_eq!(world.read_again(&mut planner, &mut Batch::new(0)), suspects, "{held_since}");
    }
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
        let found = world.read_again(&mut planner, &mut Batch::new(0));
        assert_eq!(found, suspects, "set aside with change {held_since}");
    }
}

/// Which keys and libraries are wrong and no suspects; the empty name is of any library.
fn unknown(wrong: &Spots, suspects: &Spots) -> Vec<(u32, String)> {
    let any = suspects.contains(&(Spot::LIBRARIES, String::new()));
    let unknown = wrong.difference(suspects).filter(|(db, _)| !any || *db != Spot::LIBRARIES);
    unknown.cloned().collect()
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
        5 => (0..3u8).prop_map(Act::Load),
        2 => (0..3u8).prop_map(Act::Unload),
        1 => Just(Act::UnloadAll),
        1 => (0..3u8).prop_map(Act::Restore),
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
        let unknown = unknown(&wrong, &suspects);
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
        let unknown = unknown(&wrong, &suspects);
        prop_assert!(unknown.is_empty(), "{unknown:?} of {wrong:?}, suspects {suspects:?}");
    }
}
