//! The encoder against the generated protobuf types, round trips, and every refusal.

use bytes::{Bytes, BytesMut};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use prost::Message;
use wire::slot::{Slot, Slots};

use super::{
    DecodeError, EncodeError, GLANCE_ARGS, Glance, Head, Invalid, Malformed, decode, encode,
};
use crate::control::{Control, SlotHandover};
use crate::fuzzing::assert_same;
use crate::image::{
    Elements, Field, Flavour, Image, ImageHead, ImagePart, ImageValue, StreamEntry,
};
use crate::{
    Body, Command, Effect, Event, Group, KeyArgs, Position, Seen, Shard, Stamp, schema, testing,
};

fn encoded(event: &Event) -> Bytes {
    let mut buf = BytesMut::new();
    encode(event, &mut buf).unwrap();
    buf.freeze()
}

fn event(body: Body) -> Event {
    Event {
        position: Position { shard: Shard(1), epoch: 2, offset: 3, index: 4 },
        stamp: Stamp { time_ms: 5, counter: 6, site: "a".to_owned() },
        db: 7,
        slot: Slot::of_key(b"key"),
        key: Bytes::from_static(b"key"),
        body,
        seen: vec![Seen { site: "b".to_owned(), position: Position::default() }],
    }
}

fn set() -> Command {
    let args = [&b"SET"[..], b"key", b"value"].map(Bytes::from_static);
    Command { args: args.to_vec(), effect: Effect::Overwrite, keys: KeyArgs::First }
}

fn head() -> ImageHead {
    ImageHead {
        type_byte: 2,
        flavour: Flavour::Valkey,
        rdb_version: 80,
        expire_at_ms: Some(0),
        idle_s: Some(0),
        freq: Some(0),
        snapshot_id: 0,
    }
}

fn part(elements: Elements) -> Body {
    Body::ImagePart(ImagePart { head: head(), number: 0, last: true, elements })
}

/// The event as the generated types see it, changed, and decoded by ours.
fn decode_changed(
    body: Body,
    change: impl FnOnce(&mut schema::ChangeEvent),
) -> Result<Event, DecodeError> {
    let mut proto = schema::ChangeEvent::decode(encoded(&event(body))).unwrap();
    change(&mut proto);
    decode(proto.encode_to_vec().into())
}

proptest! {
    #[test]
    fn decodes_what_it_encodes(event in testing::event()) {
        prop_assert_eq!(decode(encoded(&event)).unwrap(), event);
    }

    #[test]
    fn encodes_as_the_generated_types_do(event in testing::event()) {
        let ours = encoded(&event);
        let proto = schema::ChangeEvent::decode(ours.clone()).unwrap();
        prop_assert!(proto.body.is_some());
        prop_assert_eq!(ours, Bytes::from(proto.encode_to_vec()));
    }

    #[test]
    fn checkpoints_decode_and_encode_as_the_generated_types_do(
        checkpoint in testing::checkpoint()
    ) {
        let mut ours = BytesMut::new();
        super::checkpoint::encode(&checkpoint, &mut ours).unwrap();
        prop_assert_eq!(super::checkpoint::decode(&ours).unwrap(), checkpoint);
        let proto = schema::Checkpoint::decode(&ours[..]).unwrap();
        prop_assert_eq!(ours, proto.encode_to_vec());
    }

    #[test]
    fn slices_encode_as_the_event_does(event in testing::event()) {
        let mut ours = BytesMut::new();
        let head = Head::of(&event);
        match &event.body {
            Body::Command(Command { args, effect, keys }) => {
                let keys = match keys {
                    KeyArgs::First => None,
                    KeyArgs::Listed { written, read } => Some((&written[..], &read[..])),
                };
                let args = args.iter().map(AsRef::as_ref);
                super::encode_command(&mut ours, &head, *effect, keys, args).unwrap();
            }
            Body::Image(image) => match &image.value {
                ImageValue::Text(text) => {
                    super::encode_text_image(&mut ours, &head, &image.head, text).unwrap();
                }
                ImageValue::Rdb(rdb) => {
                    super::encode_rdb_image(&mut ours, &head, &image.head, rdb).unwrap();
                }
            },
            _ => return Ok(()),
        }
        prop_assert_eq!(ours, encoded(&event));
    }
}

proptest! {
    #[test]
    fn a_glance_shows_what_is_decoded(event in testing::event()) {
        let bytes = encoded(&event);
        if let Some(glance) = Glance::at(&bytes) {
            assert_same(&glance, &event);
        }
    }
}

#[test]
fn a_glance_shows_commands_with_one_key_and_plain_strings() {
    let plain = Event { seen: Vec::new(), ..event(Body::Command(set())) };
    let bytes = encoded(&plain);
    assert_same(&Glance::at(&bytes).unwrap(), &plain);
    for end in 0..bytes.len() {
        let cut = bytes.slice(..end);
        assert_eq!(Glance::at(&cut).is_some(), decode(cut.clone()).is_ok(), "{end}");
    }
    let mut many = set();
    many.args.resize(GLANCE_ARGS, Bytes::from_static(b"x"));
    let many = Event { body: Body::Command(many), ..plain.clone() };
    assert_same(&Glance::at(&encoded(&many)).unwrap(), &many);

    let plain_head =
        ImageHead { type_byte: 0, expire_at_ms: None, idle_s: None, freq: None, ..head() };
    let text = |head: &ImageHead| {
        let value = ImageValue::Text(Bytes::from_static(b"value"));
        Event { body: Body::Image(Image { head: head.clone(), value }), ..plain.clone() }
    };
    let string = text(&plain_head);
    let bytes = encoded(&string);
    assert_same(&Glance::at(&bytes).unwrap(), &string);
    for end in 0..bytes.len() {
        let cut = bytes.slice(..end);
        assert_eq!(Glance::at(&cut).is_some(), decode(cut.clone()).is_ok(), "{end}");
    }

    let mut longer = set();
    longer.args.resize(GLANCE_ARGS + 1, Bytes::from_static(b"x"));
    let listed = KeyArgs::Listed { written: vec![1], read: vec![] };
    let (listed, seen) = (Command { keys: listed, ..set() }, event(Body::Command(set())));
    for other in [
        Event { body: Body::Command(longer), ..plain.clone() },
        Event { body: Body::Command(listed), ..plain.clone() },
        text(&ImageHead { type_byte: 1, ..plain_head.clone() }),
        text(&ImageHead { expire_at_ms: Some(0), ..plain_head.clone() }),
        text(&ImageHead { idle_s: Some(9), ..plain_head.clone() }),
        text(&ImageHead { freq: Some(9), ..plain_head.clone() }),
        text(&ImageHead { snapshot_id: 3, ..plain_head }),
        Event { body: part(Elements::Text(Bytes::new())), ..plain },
        seen,
    ] {
        assert_eq!(Glance::at(&encoded(&other)), None, "{other:?}");
    }
}

#[test]
fn decoding_copies_no_bytes() {
    let bytes = encoded(&event(Body::Command(set())));
    let within = bytes.as_ptr_range();
    let event = decode(bytes.clone()).unwrap();
    let Body::Command(command) = event.body else { panic!("{event:?}") };
    for slice in [&event.key].into_iter().chain(&command.args) {
        assert!(within.contains(&slice.as_ptr()));
    }
}

#[test]
fn an_error_leaves_the_buffer_as_it_was() {
    let mut buf = BytesMut::from(&b"before"[..]);
    let mut command = set();
    command.args.truncate(1);
    let refused = encode(&event(Body::Command(command)), &mut buf);
    assert_eq!(refused, Err(EncodeError::Invalid(Invalid::KeyIndex { index: 1, args: 1 })));
    assert_eq!(&buf[..], b"before");
}

#[test]
fn refuses_to_encode_what_would_not_decode_to_itself() {
    let bytes = Bytes::from_static;
    let none = KeyArgs::Listed { written: vec![], read: vec![] };
    let field = Field { field: bytes(b"f"), value: bytes(b"v"), expire_at_ms: Some(0) };
    let mut stream = crate::image::StreamPart::default();
    let id = crate::image::StreamId::default();
    stream.entries.push(StreamEntry { id, content: vec![bytes(b"odd")] });
    let handover = |first_slot, last_slot| {
        let until = Position::default();
        let moved = SlotHandover { first_slot, last_slot, from_shard: 0, to_shard: 1, until };
        Body::Control(Control::SlotHandover(moved))
    };
    let cases = [
        (Body::Command(Command { keys: none, ..set() }), Invalid::NoKeys),
        (part(Elements::Fields(vec![field])), Invalid::FieldExpiry),
        (part(Elements::Stream(stream)), Invalid::OddStreamEntry { items: 1 }),
        (
            Body::Control(Control::FlushSlots { all: true, slots: Slots::default() }),
            Invalid::NoSlots,
        ),
        (handover(0, 16384), Invalid::Slot { slot: 16384 }),
        (handover(2, 1), Invalid::Range { name: "slots", first: 2, last: 1 }),
    ];
    let begin = crate::control::SnapshotBegin {
        snapshot_id: 0,
        keys_expected: 0,
        bytes_expected: 0,
        rdb_version: 11,
        flavour: Flavour::Redis,
        slots: Some(Slots::default()),
    };
    // Nothing is how all slots are written.
    let begin = (Body::Control(Control::SnapshotBegin(begin)), Invalid::NoSlots);
    for (body, invalid) in cases.into_iter().chain([begin]) {
        let refused = encode(&event(body), &mut BytesMut::new());
        assert_eq!(refused, Err(EncodeError::Invalid(invalid)));
    }
    let mut long = event(Body::Command(set()));
    long.stamp.site = "s".repeat(256);
    let refused = encode(&long, &mut BytesMut::new());
    let invalid = Invalid::SiteName { bytes: 256, limit: 255 };
    assert_eq!(refused, Err(EncodeError::Invalid(invalid)));
}

#[test]
fn refuses_the_flush_of_a_shard_that_names_no_slots() {
    let flush = Control::FlushSlots { all: true, slots: Slots::all() };
    let refused = decode_changed(Body::Control(flush), |proto| {
        let Some(schema::change_event::Body::Control(control)) = &mut proto.body else { panic!() };
        let Some(schema::control::Kind::FlushSlots(flush)) = &mut control.kind else { panic!() };
        flush.slots.clear();
    });
    assert_eq!(refused, Err(Invalid::NoSlots.into()));
}

#[test]
fn names_a_schema_that_is_newer() {
    let refused = decode_changed(Body::Command(set()), |proto| proto.schema = 2);
    assert_eq!(refused, Err(DecodeError::SchemaTooNew { found: 2, known: 1 }));
}

#[test]
fn a_newer_schema_is_named_before_anything_else() {
    let bytes = schema::ChangeEvent { schema: 9, slot: 99_999, ..Default::default() };
    let refused = decode(bytes.encode_to_vec().into());
    assert_eq!(refused, Err(DecodeError::SchemaTooNew { found: 9, known: 1 }));
}

#[test]
fn names_what_is_missing() {
    type Change = fn(&mut schema::ChangeEvent);
    let cases: [(&str, Change); 4] = [
        ("schema", |proto| proto.schema = 0),
        ("position", |proto| proto.position = None),
        ("stamp", |proto| proto.stamp = None),
        ("ChangeEvent", |proto| proto.body = None),
    ];
    for (name, change) in cases {
        let refused = decode_changed(Body::Command(set()), change);
        assert_eq!(refused, Err(DecodeError::Missing { name }));
    }
}

#[test]
fn names_an_unknown_body_by_its_field() {
    let mut bytes = schema::ChangeEvent::decode(encoded(&event(Body::Command(set())))).unwrap();
    bytes.body = None;
    let mut bytes = bytes.encode_to_vec();
    // Field 13 as a message of one byte, behind a field 20 that is a number and so no body.
    bytes.extend([0xa0, 0x01, 1, 0x6a, 1, 0]);
    let refused = decode(bytes.into());
    assert_eq!(refused, Err(DecodeError::UnknownBody { message: "ChangeEvent", field: 13 }));
}

#[test]
fn ignores_fields_that_it_does_not_know_beside_a_known_body() {
    let event = event(Body::Command(set()));
    let mut bytes = encoded(&event).to_vec();
    bytes.extend([0xa0, 0x01, 1, 0x6a, 1, 0, 0xad, 0x01, 1, 2, 3, 4]);
    assert_eq!(decode(bytes.into()), Ok(event));
}

/// An event whose body is field `number` with `body` in it.
fn raw(number: u8, body: &[u8]) -> Bytes {
    let mut bytes = schema::ChangeEvent::decode(encoded(&event(Body::Command(set())))).unwrap();
    bytes.body = None;
    let mut bytes = bytes.encode_to_vec();
    bytes.extend([number << 3 | 2, u8::try_from(body.len()).unwrap()]);
    bytes.extend(body);
    bytes.into()
}

#[test]
fn names_unknown_kinds_inside_of_bodies() {
    // Each an unknown field 14 (0x72) of no bytes beside what is known; in a group, in its second
    // change.
    let flush = [0x0a, 2, 0x2a, 0];
    let cases: [(&str, Bytes); 4] = [
        ("Image", raw(8, &[0x0a, 4, 0x08, 2, 0x10, 1, 0x72, 0])),
        ("ImagePart", raw(9, &[0x0a, 4, 0x08, 2, 0x10, 1, 0x72, 0])),
        ("Change", raw(10, &[&flush[..], &[0x0a, 2, 0x72, 0]].concat())),
        ("Control", raw(12, &[0x72, 0])),
    ];
    for (message, bytes) in cases {
        let refused = decode(bytes);
        assert_eq!(refused, Err(DecodeError::UnknownBody { message, field: 14 }));
    }
    assert_eq!(decode(raw(12, &[])), Err(DecodeError::Missing { name: "Control" }));
}

#[test]
fn names_unknown_values_of_enums() {
    let cases = [
        ("Effect", raw(7, &[0x0a, 0, 0x0a, 0, 0x10, 9])),
        ("Effect", raw(7, &[0x0a, 0, 0x0a, 0])),
        ("Flavour", raw(8, &[0x0a, 4, 0x08, 2, 0x10, 9, 0x12, 0])),
        ("Cause", raw(12, &[0x0a, 2, 0x08, 9])),
    ];
    for (name, bytes) in cases {
        let refused = decode(bytes);
        let Err(DecodeError::UnknownValue { name: found, value: 0 | 9 }) = refused else {
            panic!("{name}: {refused:?}")
        };
        assert_eq!(found, name);
    }
}

#[test]
fn refuses_a_slot_that_does_not_exist() {
    let refused = decode_changed(Body::Command(set()), |proto| proto.slot = 16384);
    assert_eq!(refused, Err(DecodeError::Invalid(Invalid::Slot { slot: 16384 })));
}

#[test]
fn refuses_numbers_that_do_not_fit() {
    let group =
        Group { changes: vec![], partitions: vec![1], number: 0, last: true, transaction: true };
    let refused = decode_changed(Body::Group(group), |proto| {
        let Some(schema::change_event::Body::Group(group)) = &mut proto.body else { panic!() };
        group.partitions = vec![65_536];
    });
    let expected =
        DecodeError::OutOfRange { name: "partition", value: 65_536, limit: u16::MAX.into() };
    assert_eq!(refused, Err(expected));
}

#[test]
fn refuses_lists_that_do_not_fit_each_other() {
    let bytes = Bytes::from_static;
    let scores = part(Elements::Scores(vec![(bytes(b"a"), 1.0), (bytes(b"b"), 2.0)]));
    let field = |at| Field { field: bytes(b"f"), value: bytes(b"v"), expire_at_ms: at };
    let fields = part(Elements::Fields(vec![field(Some(1)), field(None)]));
    type Change = fn(&mut schema::image_part::Elements);
    let cases: [(Body, Change, _); 3] = [
        (
            scores,
            |elements| {
                let schema::image_part::Elements::Scores(scores) = elements else { panic!() };
                scores.score.pop();
            },
            ("members", "scores"),
        ),
        (
            fields.clone(),
            |elements| {
                let schema::image_part::Elements::Fields(fields) = elements else { panic!() };
                fields.value.pop();
            },
            ("fields", "values"),
        ),
        (
            fields,
            |elements| {
                let schema::image_part::Elements::Fields(fields) = elements else { panic!() };
                fields.expire_at_ms.pop();
            },
            ("fields", "expiries"),
        ),
    ];
    for (body, change, (left, right)) in cases {
        let refused = decode_changed(body, |proto| {
            let Some(schema::change_event::Body::ImagePart(part)) = &mut proto.body else {
                panic!()
            };
            change(part.elements.as_mut().unwrap());
        });
        let invalid = Invalid::Lengths { left, left_len: 2, right, right_len: 1 };
        assert_eq!(refused, Err(DecodeError::Invalid(invalid)));
    }
}

#[test]
fn refuses_a_key_index_out_of_range() {
    let refused = decode_changed(Body::Command(set()), |proto| {
        let Some(schema::change_event::Body::Command(command)) = &mut proto.body else { panic!() };
        command.read = vec![2, 3];
    });
    let invalid = Invalid::KeyIndex { index: 3, args: 3 };
    assert_eq!(refused, Err(DecodeError::Invalid(invalid)));
}

#[test]
fn reads_lists_that_are_not_packed() {
    // Two arguments, effect 3, `written` 1 and `read` 0, each as a field of its own.
    let event = decode(raw(7, &[0x0a, 0, 0x0a, 0, 0x10, 3, 0x18, 1, 0x20, 0])).unwrap();
    let Body::Command(command) = event.body else { panic!("{event:?}") };
    assert_eq!(command.keys, KeyArgs::Listed { written: vec![1], read: vec![0] });
}

#[test]
fn says_where_bytes_are_malformed() {
    let command = encoded(&event(Body::Command(set())));
    let cut = decode(command.slice(..command.len() - 1)).unwrap_err();
    let reason = Malformed::Truncated { field: 16, promised: 5, left: 4 };
    assert_eq!(cut, DecodeError::Malformed { message: "ChangeEvent", reason });
    let group = decode(Bytes::from_static(&[0x0b])).unwrap_err();
    let reason = Malformed::WireType { field: 1 };
    assert_eq!(group, DecodeError::Malformed { message: "ChangeEvent", reason });
    let text = decode(raw(7, &[0x08, 1])).unwrap_err();
    let reason = Malformed::WireType { field: 1 };
    assert_eq!(text, DecodeError::Malformed { message: "Command", reason });
}

#[test]
fn refuses_a_checkpoint_whose_offsets_are_not_one_per_partition() {
    let proto =
        schema::Checkpoint { schema: 1, last_partition: 2, read_from: vec![1], ..<_>::default() };
    let refused = super::checkpoint::decode(&proto.encode_to_vec());
    let invalid = Invalid::Lengths {
        left: "offsets to read from",
        left_len: 1,
        right: "partitions",
        right_len: 3,
    };
    assert_eq!(refused, Err(DecodeError::Invalid(invalid)));
}

#[test]
fn refuses_a_checkpoint_of_a_newer_schema() {
    let proto = schema::Checkpoint { schema: 2, ..<_>::default() };
    let refused = super::checkpoint::decode(&proto.encode_to_vec());
    assert_eq!(refused, Err(DecodeError::SchemaTooNew { found: 2, known: 1 }));
}
