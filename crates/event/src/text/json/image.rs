//! Images and their parts as JSON.

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use wire::rdb::ValueType;

use super::{Blob, Json, object};
use crate::image::{
    Elements, Field, Image, ImageHead, ImagePart, ImageValue, StreamConsumer, StreamEntry,
    StreamGroup, StreamId, StreamMeta, StreamPart, StreamPending,
};

// === impl Image ===

impl Serialize for Json<'_, Image> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("head", &Json(&self.0.head))?;
        match &self.0.value {
            ImageValue::Text(text) => map.serialize_entry("text", &Blob(text))?,
            ImageValue::Rdb(rdb) => map.serialize_entry("rdb", &Blob(rdb))?,
        }
        map.end()
    }
}

impl Serialize for Json<'_, ImageHead> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = self.0;
        let known = ValueType::from_byte(head.type_byte, head.flavour).ok();
        object!(serializer, {
            "type": known.map(|known| known.class().as_str()),
            "type_byte": head.type_byte,
            "flavour": head.flavour.to_string(),
            "rdb_version": head.rdb_version,
            "expire_at_ms": head.expire_at_ms,
            "idle_s": head.idle_s,
            "freq": head.freq,
            "snapshot_id": head.snapshot_id,
        })
    }
}

// === impl ImagePart ===

impl Serialize for Json<'_, ImagePart> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ImagePart { head, number, last, elements } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("head", &Json(head))?;
        map.serialize_entry("number", number)?;
        map.serialize_entry("last", last)?;
        match elements {
            Elements::Text(text) => map.serialize_entry("text", &Blob(text))?,
            Elements::Items(items) => map.serialize_entry("items", &Json(&items[..]))?,
            Elements::Scores(scores) => map.serialize_entry("scores", &Json(&scores[..]))?,
            Elements::Fields(fields) => map.serialize_entry("fields", &Json(&fields[..]))?,
            Elements::Stream(stream) => map.serialize_entry("stream", &Json(stream))?,
            Elements::Opaque(bytes) => map.serialize_entry("opaque", &Blob(bytes))?,
        }
        map.end()
    }
}

impl Serialize for Json<'_, (Bytes, f64)> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (member, score) = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("member", &Blob(member))?;
        if score.is_finite() {
            map.serialize_entry("score", score)?;
        } else {
            map.serialize_entry("score", &score.to_string())?;
        }
        map.end()
    }
}

impl Serialize for Json<'_, Field> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Field { field, value, expire_at_ms } = self.0;
        object!(serializer, {
            "field": Blob(field),
            "value": Blob(value),
            "expire_at_ms": expire_at_ms,
        })
    }
}

// === impl StreamPart ===

impl Serialize for Json<'_, StreamPart> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StreamPart { entries, meta, groups } = self.0;
        object!(serializer, {
            "entries": Json(&entries[..]),
            "meta": meta.as_ref().map(Json),
            "groups": Json(&groups[..]),
        })
    }
}

/// As servers write ids: `ms-seq`.
impl Serialize for Json<'_, StreamId> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}-{}", self.0.ms, self.0.seq))
    }
}

impl Serialize for Json<'_, StreamEntry> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StreamEntry { id, content } = self.0;
        object!(serializer, { "id": Json(id), "content": Json(&content[..]) })
    }
}

impl Serialize for Json<'_, StreamMeta> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let meta = self.0;
        object!(serializer, {
            "length": meta.length,
            "last_id": Json(&meta.last_id),
            "first_id": Json(&meta.first_id),
            "max_deleted_id": Json(&meta.max_deleted_id),
            "entries_added": meta.entries_added,
        })
    }
}

impl Serialize for Json<'_, StreamGroup> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = self.0;
        object!(serializer, {
            "name": Blob(&group.name),
            "last_delivered": Json(&group.last_delivered),
            "entries_read": group.entries_read,
            "pending": Json(&group.pending[..]),
            "consumers": Json(&group.consumers[..]),
        })
    }
}

impl Serialize for Json<'_, StreamPending> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StreamPending { id, consumer, delivered_ms, deliveries } = self.0;
        object!(serializer, {
            "id": Json(id),
            "consumer": consumer,
            "delivered_ms": delivered_ms,
            "deliveries": deliveries,
        })
    }
}

impl Serialize for Json<'_, StreamConsumer> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StreamConsumer { name, seen_ms, active_ms } = self.0;
        object!(serializer, {
            "name": Blob(name),
            "seen_ms": seen_ms,
            "active_ms": active_ms,
        })
    }
}
