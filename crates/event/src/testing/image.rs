//! Images and their parts.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::{bytes, long, uint, ulong};
use crate::image::{
    Elements, Field, Flavour, Image, ImageHead, ImagePart, ImageValue, StreamConsumer, StreamEntry,
    StreamGroup, StreamId, StreamMeta, StreamPart, StreamPending,
};

/// Any image.
pub fn image() -> impl Strategy<Value = Image> {
    let value = prop_oneof![bytes().prop_map(ImageValue::Text), bytes().prop_map(ImageValue::Rdb)];
    (head(), value).prop_map(|(head, value)| Image { head, value })
}

/// Any part of an image.
pub fn image_part() -> impl Strategy<Value = ImagePart> {
    (head(), ulong(), any::<bool>(), elements())
        .prop_map(|(head, number, last, elements)| ImagePart { head, number, last, elements })
}

pub(super) fn flavour() -> impl Strategy<Value = Flavour> {
    prop_oneof![Just(Flavour::Redis), Just(Flavour::Valkey)]
}

fn head() -> impl Strategy<Value = ImageHead> {
    let kind = (any::<u8>(), flavour(), any::<u16>());
    let access = (option::of(long()), option::of(ulong()), option::of(any::<u8>()));
    (kind, access, ulong()).prop_map(|(kind, access, snapshot_id)| ImageHead {
        type_byte: kind.0,
        flavour: kind.1,
        rdb_version: kind.2,
        expire_at_ms: access.0,
        idle_s: access.1,
        freq: access.2,
        snapshot_id,
    })
}

fn elements() -> impl Strategy<Value = Elements> {
    prop_oneof![
        bytes().prop_map(Elements::Text),
        vec(bytes(), 0..5).prop_map(Elements::Items),
        vec((bytes(), score()), 0..5).prop_map(Elements::Scores),
        vec(field(), 0..5).prop_map(Elements::Fields),
        stream().prop_map(Elements::Stream),
        bytes().prop_map(Elements::Opaque),
    ]
}

/// No server has a score that is no number.
fn score() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("a number", |score| !score.is_nan())
}

fn field() -> impl Strategy<Value = Field> {
    let expiry = option::of(long().prop_filter("not the mark of none", |at| *at != 0));
    (bytes(), bytes(), expiry).prop_map(|(field, value, expire_at_ms)| Field {
        field,
        value,
        expire_at_ms,
    })
}

fn stream() -> impl Strategy<Value = StreamPart> {
    (vec(entry(), 0..3), option::of(meta()), vec(group(), 0..3))
        .prop_map(|(entries, meta, groups)| StreamPart { entries, meta, groups })
}

fn id() -> impl Strategy<Value = StreamId> {
    (ulong(), ulong()).prop_map(|(ms, seq)| StreamId { ms, seq })
}

fn entry() -> impl Strategy<Value = StreamEntry> {
    (id(), vec((bytes(), bytes()), 0..3)).prop_map(|(id, pairs)| StreamEntry {
        id,
        content: pairs.into_iter().flat_map(|(field, value)| [field, value]).collect(),
    })
}

fn meta() -> impl Strategy<Value = StreamMeta> {
    (ulong(), id(), id(), id(), ulong()).prop_map(
        |(length, last_id, first_id, max_deleted_id, entries_added)| StreamMeta {
            length,
            last_id,
            first_id,
            max_deleted_id,
            entries_added,
        },
    )
}

fn group() -> impl Strategy<Value = StreamGroup> {
    let head = (bytes(), id(), option::of(ulong()));
    (head, vec(pending(), 0..3), vec(consumer(), 0..3)).prop_map(|(head, pending, consumers)| {
        StreamGroup {
            name: head.0,
            last_delivered: head.1,
            entries_read: head.2,
            pending,
            consumers,
        }
    })
}

fn pending() -> impl Strategy<Value = StreamPending> {
    (id(), uint(), long(), ulong()).prop_map(|(id, consumer, delivered_ms, deliveries)| {
        StreamPending { id, consumer, delivered_ms, deliveries }
    })
}

fn consumer() -> impl Strategy<Value = StreamConsumer> {
    (bytes(), long(), long()).prop_map(|(name, seen_ms, active_ms)| StreamConsumer {
        name,
        seen_ms,
        active_ms,
    })
}
