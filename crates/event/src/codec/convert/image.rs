//! Heads and parts of images.

use super::{Convert, all, fitting, required};
use crate::codec::check;
use crate::codec::error::DecodeError;
use crate::codec::scan::nothing_known;
use crate::image::{
    Elements, Field, Flavour, ImageHead, ImagePart, StreamConsumer, StreamEntry, StreamGroup,
    StreamId, StreamMeta, StreamPart, StreamPending,
};
use crate::schema;

/// A part of an image, of whose encoding `bytes` are.
pub(in crate::codec) fn image_part(
    proto: schema::ImagePart,
    bytes: &[u8],
) -> Result<ImagePart, DecodeError> {
    let elements = proto
        .elements
        .ok_or_else(|| nothing_known("ImagePart", bytes, &[1, 2, 3, 4, 5, 6, 7, 8, 9]))?;
    Ok(ImagePart {
        head: required("head of ImagePart", proto.head)?,
        number: proto.number,
        last: proto.last,
        elements: Elements::convert(elements)?,
    })
}

// === impl ImageHead ===

impl Convert<schema::ImageHead> for ImageHead {
    fn convert(proto: schema::ImageHead) -> Result<Self, DecodeError> {
        let freq = proto.freq.map(|freq| fitting("access counter", freq, u8::MAX));
        Ok(Self {
            type_byte: fitting("type byte", proto.r#type, u8::MAX)?,
            flavour: Flavour::convert(proto.flavour)?,
            rdb_version: fitting("RDB version", proto.rdb_version, u16::MAX)?,
            expire_at_ms: proto.expire_at_ms,
            idle_s: proto.idle_s,
            freq: freq.transpose()?,
            snapshot_id: proto.snapshot_id,
        })
    }
}

impl Convert<i32> for Flavour {
    fn convert(value: i32) -> Result<Self, DecodeError> {
        match schema::Flavour::try_from(value) {
            Ok(schema::Flavour::Redis) => Ok(Self::Redis),
            Ok(schema::Flavour::Valkey) => Ok(Self::Valkey),
            Ok(schema::Flavour::Unspecified) | Err(_) => {
                Err(DecodeError::UnknownValue { name: "Flavour", value })
            }
        }
    }
}

// === impl Elements ===

impl Convert<schema::image_part::Elements> for Elements {
    fn convert(proto: schema::image_part::Elements) -> Result<Self, DecodeError> {
        use schema::image_part::Elements as Proto;
        Ok(match proto {
            Proto::Text(text) => Self::Text(text),
            Proto::Items(items) => Self::Items(items.item),
            Proto::Scores(scores) => Self::Scores(pair(scores)?),
            Proto::Fields(fields) => Self::Fields(hash_fields(fields)?),
            Proto::Stream(stream) => Self::Stream(StreamPart::convert(stream)?),
            Proto::Opaque(bytes) => Self::Opaque(bytes),
        })
    }
}

fn pair(proto: schema::Scores) -> Result<Vec<(bytes::Bytes, f64)>, DecodeError> {
    check::lengths(("members", proto.member.len()), ("scores", proto.score.len()))?;
    Ok(proto.member.into_iter().zip(proto.score).collect())
}

fn hash_fields(proto: schema::Fields) -> Result<Vec<Field>, DecodeError> {
    check::lengths(("fields", proto.field.len()), ("values", proto.value.len()))?;
    if !proto.expire_at_ms.is_empty() {
        check::lengths(("fields", proto.field.len()), ("expiries", proto.expire_at_ms.len()))?;
    }
    let expiries = proto.expire_at_ms.into_iter().map(|at| (at != 0).then_some(at));
    let expiries = expiries.chain(std::iter::repeat(None));
    let fields = proto.field.into_iter().zip(proto.value).zip(expiries);
    Ok(fields.map(|((field, value), expire_at_ms)| Field { field, value, expire_at_ms }).collect())
}

// === impl StreamPart ===

impl Convert<schema::StreamPart> for StreamPart {
    fn convert(proto: schema::StreamPart) -> Result<Self, DecodeError> {
        let part = Self {
            entries: all(proto.entry)?,
            meta: proto.meta.map(StreamMeta::convert).transpose()?,
            groups: all(proto.group)?,
        };
        check::stream(&part)?;
        Ok(part)
    }
}

/// An absent id is the smallest one, as an absent number is 0.
impl Convert<Option<schema::StreamId>> for StreamId {
    fn convert(proto: Option<schema::StreamId>) -> Result<Self, DecodeError> {
        let schema::StreamId { ms, seq } = proto.unwrap_or_default();
        Ok(Self { ms, seq })
    }
}

impl Convert<schema::StreamEntry> for StreamEntry {
    fn convert(proto: schema::StreamEntry) -> Result<Self, DecodeError> {
        Ok(Self { id: StreamId::convert(proto.id)?, content: proto.content })
    }
}

impl Convert<schema::StreamMeta> for StreamMeta {
    fn convert(proto: schema::StreamMeta) -> Result<Self, DecodeError> {
        Ok(Self {
            length: proto.length,
            last_id: StreamId::convert(proto.last_id)?,
            first_id: StreamId::convert(proto.first_id)?,
            max_deleted_id: StreamId::convert(proto.max_deleted_id)?,
            entries_added: proto.entries_added,
        })
    }
}

impl Convert<schema::StreamGroup> for StreamGroup {
    fn convert(proto: schema::StreamGroup) -> Result<Self, DecodeError> {
        Ok(Self {
            name: proto.name,
            last_delivered: StreamId::convert(proto.last_delivered)?,
            entries_read: proto.entries_read,
            pending: all(proto.pending)?,
            consumers: all(proto.consumer)?,
        })
    }
}

impl Convert<schema::StreamPending> for StreamPending {
    fn convert(proto: schema::StreamPending) -> Result<Self, DecodeError> {
        Ok(Self {
            id: StreamId::convert(proto.id)?,
            consumer: proto.consumer,
            delivered_ms: proto.delivered_ms,
            deliveries: proto.deliveries,
        })
    }
}

impl Convert<schema::StreamConsumer> for StreamConsumer {
    fn convert(proto: schema::StreamConsumer) -> Result<Self, DecodeError> {
        Ok(Self { name: proto.name, seen_ms: proto.seen_ms, active_ms: proto.active_ms })
    }
}
