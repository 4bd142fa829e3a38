//! Ropes against the encoding in one piece.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use wire::slot::Slot;

use super::{SHARED_BYTES, lenders};
use crate::codec::{Head, encode, encode_command, encode_command_rope, encode_rope};
use crate::fragment::split;
use crate::image::{Flavour, Image, ImageHead, ImageValue};
use crate::{
    Body, Change, Command, Effect, Event, Group, GroupedChange, KeyArgs, Position, Shard, Stamp,
    testing,
};

fn event(body: Body) -> Event {
    Event {
        position: Position::new(Shard(1), 2, 3),
        stamp: Stamp { time_ms: 4, counter: 5, site: "here".to_owned() },
        db: 6,
        slot: Slot::of_key(b"key"),
        key: Bytes::from_static(b"key"),
        body,
        seen: Vec::new(),
    }
}

fn command(args: Vec<Bytes>) -> Command {
    Command { args, effect: Effect::Overwrite, keys: KeyArgs::First }
}

/// Arguments around every size that matters, bytes of all kinds.
fn args() -> impl Strategy<Value = Vec<Bytes>> {
    let size = prop_oneof![
        4 => 0..200_usize,
        1 => SHARED_BYTES - 2..SHARED_BYTES + 2,
        1 => 790_000..1_700_000_usize,
    ];
    let arg = (size, any::<u8>()).prop_map(|(size, first)| {
        let bytes: Vec<u8> = (0..size).map(|at| first.wrapping_add(at.to_le_bytes()[1])).collect();
        Bytes::from(bytes)
    });
    prop::collection::vec(arg, 2..8)
}

fn bodies() -> impl Strategy<Value = Body> {
    let image = |value| {
        let head = ImageHead {
            type_byte: 0,
            flavour: Flavour::Redis,
            rdb_version: 11,
            expire_at_ms: Some(7),
            idle_s: None,
            freq: None,
            snapshot_id: 0,
        };
        Body::Image(Image { head, value })
    };
    let group = |args: Vec<Bytes>| {
        let change = |args| GroupedChange {
            db: 1,
            slot: Slot::of_key(b"key"),
            key: Bytes::from_static(b"key"),
            change: Change::Command(command(args)),
        };
        let changes = vec![change(args.clone()), change(args)];
        let partitions = vec![0, 3];
        Body::Group(Group { changes, partitions, number: 0, last: true, transaction: true })
    };
    prop_oneof![
        args().prop_map(|args| Body::Command(command(args))),
        args().prop_map(move |args| image(ImageValue::Text(args.concat().into()))),
        args().prop_map(move |args| image(ImageValue::Rdb(args.concat().into()))),
        args().prop_map(group),
    ]
}

fn encoded(event: &Event) -> Bytes {
    let mut buf = BytesMut::new();
    encode(event, &mut buf).unwrap();
    buf.freeze()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_rope_has_the_bytes_and_the_pieces_of_the_whole(body in bodies()) {
        let event = event(body);
        let whole = encoded(&event);
        let rope = encode_rope(&event, &lenders(&event)).unwrap();
        prop_assert_eq!((rope.len(), rope.crc32c()), (whole.len(), crc32c::crc32c(&whole)));
        prop_assert!(rope.segments().iter().all(|segment| !segment.is_empty()));
        let head = Head::of(&event);
        prop_assert!(split(rope.clone(), &head).eq(split(whole.clone(), &head)));
        prop_assert_eq!(rope.into_bytes(), whole);
    }

    #[test]
    fn a_rope_of_a_frame_is_that_of_its_arguments(args in args()) {
        let frame = Bytes::from(args.concat());
        let mut rest = frame.clone();
        let args: Vec<Bytes> = args.iter().map(|arg| rest.split_to(arg.len())).collect();
        let event = event(Body::Command(command(args.clone())));
        let (head, slices) = (Head::of(&event), args.iter().map(AsRef::as_ref));
        let rope = encode_command_rope(&frame, &head, Effect::Overwrite, None, slices.clone());
        let mut buf = BytesMut::new();
        encode_command(&mut buf, &head, Effect::Overwrite, None, slices).unwrap();
        prop_assert_eq!(rope.unwrap().into_bytes(), buf.freeze());
    }

    #[test]
    fn events_of_every_kind_have_ropes(event in testing::event()) {
        let rope = encode_rope(&event, &lenders(&event)).unwrap();
        prop_assert_eq!(rope.into_bytes(), encoded(&event));
    }
}

#[test]
fn what_is_large_is_not_copied() {
    let value = Bytes::from(vec![7; 2 * SHARED_BYTES]);
    let args = vec![Bytes::from_static(b"SET"), Bytes::from_static(b"key"), value.clone()];
    let event = event(Body::Command(command(args)));
    let rope = encode_rope(&event, &lenders(&event)).unwrap();
    let shared = rope.segments().iter().find(|segment| segment.len() == value.len()).unwrap();
    assert_eq!(shared.as_ptr(), value.as_ptr());
    assert_eq!(rope.segments().len(), 3);
}

#[test]
fn without_lenders_all_is_copied() {
    let args = vec![Bytes::from_static(b"SET"), Bytes::from_static(b"k"), vec![7; 99_999].into()];
    let event = event(Body::Command(command(args)));
    assert_eq!(encode_rope(&event, &[]).unwrap().segments(), [encoded(&event)]);
}
