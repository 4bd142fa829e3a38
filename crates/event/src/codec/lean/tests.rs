//! The lean form against the encoding: the same event, in whatever pieces it comes, and with less of it in memory.

use proptest::prelude::*;
use wire::slot::Slot;

use super::*;
use crate::codec::encode;
use crate::{Group, KeyArgs, Position, Stamp};

fn key(letter: u8, bytes: usize) -> Bytes {
    Bytes::from(vec![letter; bytes])
}

fn command(args: &[&Bytes]) -> Command {
    let args = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
    Command { args, effect: Effect::Merge, keys: KeyArgs::First }
}

fn event(key: &Bytes, body: Body) -> Event {
    Event {
        position: Position::default(),
        stamp: Stamp::default(),
        db: 3,
        slot: Slot::of_key(key),
        key: key.clone(),
        body,
        seen: Vec::new(),
    }
}

fn change(key: &Bytes, args: &[&Bytes]) -> GroupedChange {
    let change = Change::Command(command(args));
    GroupedChange { db: 1, slot: Slot::of_key(key), key: key.clone(), change }
}

fn group(changes: Vec<GroupedChange>) -> Body {
    let group = Group { changes, partitions: vec![3, 1], number: 2, last: true, transaction: true };
    Body::Group(group)
}

fn encoded(event: &Event) -> Bytes {
    let mut buf = BytesMut::new();
    encode(event, &mut buf).unwrap();
    buf.freeze()
}

/// The lean form of an encoding that comes in pieces of some size.
fn lean_of(whole: &[u8], piece_bytes: usize) -> Bytes {
    let mut writer = LeanWriter::new(whole.len());
    whole.chunks(piece_bytes).for_each(|piece| writer.push(piece));
    writer.finish()
}

/// Holds an event's lean form against it. Gives how many bytes it takes.
fn assert_lean(event: &Event, sizes: &[usize]) -> usize {
    let whole = encoded(event);
    let mut bytes = 0;
    for size in sizes {
        let lean = lean_of(&whole, *size);
        bytes = lean.len();
        assert!(decode_lean(lean.clone()).as_ref() == Ok(event), "in pieces of {size}");
        assert!(whole_of_lean(&lean).as_ref() == Ok(&whole), "in pieces of {size}");
    }
    bytes
}

const LONG: usize = SHARED_BYTES + 10;
const MORE: usize = 200;

#[test]
fn a_command_names_its_key_once() {
    let (long, name, value) = (key(b'k', LONG), key(b'S', 3), key(b'v', 7));
    let set = event(&long, Body::Command(command(&[&name, &long, &value])));
    let bytes = assert_lean(&set, &[1, 7, 800, LONG - 1, LONG, 1 << 20]);
    assert!(bytes < LONG + MORE, "{bytes} bytes");
    let rename = event(&long, Body::Command(command(&[&name, &long, &long, &value, &long])));
    assert!(assert_lean(&rename, &[13, 4096]) < LONG + MORE);
}

#[test]
fn a_group_names_each_of_its_keys_once() {
    let (long, other, name) = (key(b'k', LONG), key(b'o', LONG), key(b'S', 3));
    let short = key(b's', 5);
    let changes = vec![
        change(&long, &[&name, &long]),
        change(&short, &[&name, &short]),
        change(&other, &[&name, &other, &other]),
        change(&long, &[&name, &long, &long]),
        change(&other, &[&name, &other, &long]),
    ];
    let several = event(&long, group(changes));
    let bytes = assert_lean(&several, &[1, 900, 1 << 20]);
    // The last key of a length is the one that is looked for: it has changed twice.
    assert!(bytes < 6 * LONG + MORE, "{bytes} bytes");
    let one = vec![change(&long, &[&name, &long]), change(&long, &[&name, &long, &name])];
    assert!(assert_lean(&event(&long, group(one)), &[1, 900]) < LONG + MORE);
}

#[test]
fn values_like_the_key_are_values() {
    let long = key(b'k', LONG);
    let name = key(b'S', 3);
    for at in [0, 1, LONG / 2, LONG - 1] {
        let mut nearly = long.to_vec();
        nearly[at] = b'x';
        let nearly = Bytes::from(nearly);
        let set = event(&long, Body::Command(command(&[&name, &long, &nearly, &long])));
        assert!(assert_lean(&set, &[11, 1000]) < 2 * LONG + MORE);
        let grouped = group(vec![change(&nearly, &[&name, &nearly, &long])]);
        assert_lean(&event(&long, grouped), &[11, 1000]);
    }
}

#[test]
fn short_keys_are_left_as_they_are() {
    let short = key(b'k', SHARED_BYTES - 1);
    let set = event(&short, Body::Command(command(&[&short, &short])));
    let whole = encoded(&set);
    assert_eq!(lean_of(&whole, 99), whole);
}

#[test]
fn other_changes_of_a_group_stay() {
    let (long, name) = (key(b'k', LONG), key(b'S', 3));
    let mut changes = vec![change(&long, &[&name, &long])];
    let args = vec![name.clone(), long.clone()];
    for change in [
        Change::Flush { all: true },
        Change::SwapDb { first: 3, second: 9 },
        Change::Function(crate::control::FunctionChange { args, snapshot_id: 0 }),
    ] {
        let (db, slot) = (4, Slot::of_key(b""));
        changes.push(GroupedChange { db, slot, key: Bytes::new(), change });
    }
    assert_lean(&event(&long, group(changes)), &[5, 1000]);
}

#[test]
fn what_is_cut_off_is_no_event() {
    let (long, name) = (key(b'k', LONG), key(b'S', 3));
    let whole = encoded(&event(&long, group(vec![change(&long, &[&name, &long, &name])])));
    for left in [whole.len() - 1, whole.len() - 7, LONG * 2, LONG + 50] {
        assert!(decode_lean(lean_of(&whole[..left], 1000)).is_err(), "{left} bytes of it");
    }
}

proptest! {
    #[test]
    fn any_bytes_come_to_the_same_as_before(
        bytes in prop::collection::vec(prop_oneof![
            2 => any::<u8>(),
            3 => prop::sample::select(vec![0x3a, 0x52, 0x0a, 0x1a, 0x22, 2, 3, 8]),
        ], 0..60),
        piece in 1_usize..20,
    ) {
        // Nothing in it is long enough to be left out.
        prop_assert_eq!(&lean_of(&bytes, piece)[..], &bytes[..]);
    }
}
