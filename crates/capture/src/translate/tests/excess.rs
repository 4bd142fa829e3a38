//! Changes of an open transaction that memory has no room for.

use super::*;

#[test]
fn what_an_open_transaction_has_no_room_for_is_handed_over_once_and_in_order() {
    let mut translator = translator(4);
    let mut handed_over = Vec::new();
    let mut last = Translated::Nothing;
    for raw in commands(&["MULTI", "SET foo 1", "SET bar 2", "SELECT 3", "DEL hello", "EXEC"]) {
        last = translator.take_whole(&raw, NOW_MS).unwrap();
        handed_over.push(translator.excess(0).map_or(0, |changes| changes.len()));
    }
    assert_eq!(handed_over, [0, 1, 1, 0, 1, 0]);
    let Translated::Changes(records) = last else { panic!("{last:?}") };
    let [Record::Group { db: 0, key, group, .. }] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&key[..], group.changes.len()), (&b"foo"[..], 0));
    assert_eq!(group.partitions, [2, 0, 1]);
}

#[test]
fn the_only_change_of_a_transaction_stands_for_itself_wherever_it_waited() {
    let mut translator = translator(4);
    let [multi, set, exec] = &commands(&["MULTI", "SET foo 1", "EXEC"])[..] else { panic!() };
    translator.take_whole(multi, NOW_MS).unwrap();
    translator.take_whole(set, NOW_MS).unwrap();
    let taken = translator.excess(0).unwrap().pop().unwrap();
    assert_eq!(translator.take_whole(exec, NOW_MS).unwrap(), Translated::Taken);
    assert!(matches!(translator.record_of_one(taken, true), Record::Change { .. }));
}

#[test]
fn a_long_home_key_is_not_kept_beside_the_changes_that_are_taken() {
    let long = "k".repeat(event::codec::SHARED_BYTES);
    let other = "o".repeat(event::codec::SHARED_BYTES);
    for (first, is_out) in [(&long[..], true), ("short", false)] {
        let mut translator = translator(4);
        let (incr, del) = (format!("INCR {first}"), format!("DEL {other}"));
        let mut last = Translated::Nothing;
        for raw in commands(&["MULTI", &incr, &del, "EXEC"]) {
            last = translator.take_whole(&raw, NOW_MS).unwrap();
            translator.excess(0);
        }
        let Translated::Changes(records) = last else { panic!("{last:?}") };
        let [Record::Group { key, slot, is_key_out, .. }] = &records[..] else { panic!() };
        assert_eq!((*is_key_out, *slot), (is_out, Slot::of_key(first.as_bytes())));
        assert_eq!(&key[..], if is_out { b"" } else { first.as_bytes() });
    }
}

#[test]
fn a_transaction_with_room_keeps_everything() {
    let mut translator = translator(4);
    for raw in commands(&["MULTI", "SET foo 1", "SET bar 2"]) {
        translator.take_whole(&raw, NOW_MS).unwrap();
    }
    assert_eq!(translator.excess(10_000), None);
}
