//! A large value as a run of parts: all hold elements, the last says that the value is complete.

use bytes::Bytes;
use event::image::{
    Elements, Field, ImageHead, ImagePart, StreamConsumer, StreamEntry, StreamGroup, StreamId,
    StreamMeta, StreamPart, StreamPending,
};
use event::{Body, limits};
use wire::rdb::{Part, StreamItem};
use wire::slot::Slot;

use super::Place;
use crate::error::SnapshotError;
use crate::outlet::Outlet;

/// The value under way.
#[derive(Debug)]
pub(super) struct LargeValue {
    db: u32,
    slot: Slot,
    key: Bytes,
    head: ImageHead,
    number: u64,
    /// Elements that wait until it is known whether they are the last.
    held: Option<Elements>,
    stream: StreamParts,
}

/// Gathers what belongs together of a stream: a group is complete when its consumers are known.
#[derive(Debug, Default)]
struct StreamParts {
    group: Option<StreamGroup>,
    warned: bool,
}

// === impl LargeValue ===

impl LargeValue {
    pub(super) fn new(db: u32, slot: Slot, key: Bytes, head: ImageHead) -> Self {
        Self { db, slot, key, head, number: 0, held: None, stream: StreamParts::default() }
    }

    pub(super) fn add(
        &mut self,
        part: Part,
        place: &mut Place,
        outlet: &mut Outlet,
    ) -> Result<(), SnapshotError> {
        match part {
            Part::Str(bytes) => self.put(Elements::Text(bytes), place, outlet),
            Part::List(items) | Part::Set(items) => self.put(Elements::Items(items), place, outlet),
            Part::Zset(scores) => self.put(Elements::Scores(scores), place, outlet),
            Part::Hash(fields) => {
                let fields = fields.into_iter().map(|field| Field {
                    field: field.field,
                    value: field.value,
                    expire_at_ms: field.expire_at_ms,
                });
                self.put(Elements::Fields(fields.collect()), place, outlet)
            }
            Part::Stream(items) => {
                let part = self.stream.add(items);
                self.put(Elements::Stream(part), place, outlet)
            }
            Part::Module { raw } => self.put(Elements::Opaque(raw), place, outlet),
        }
    }

    pub(super) fn end(
        mut self,
        place: &mut Place,
        outlet: &mut Outlet,
    ) -> Result<(), SnapshotError> {
        if let Some(group) = self.stream.group.take() {
            let part = StreamPart { groups: vec![group], ..StreamPart::default() };
            self.put(Elements::Stream(part), place, outlet)?;
        }
        match self.held.take() {
            Some(last) => self.push(last, true, place, outlet),
            None => self.push(Elements::Items(Vec::new()), true, place, outlet),
        }
    }

    fn put(
        &mut self,
        elements: Elements,
        place: &mut Place,
        outlet: &mut Outlet,
    ) -> Result<(), SnapshotError> {
        match self.held.replace(elements) {
            Some(before) => self.push(before, false, place, outlet),
            None => Ok(()),
        }
    }

    fn push(
        &mut self,
        elements: Elements,
        last: bool,
        place: &mut Place,
        outlet: &mut Outlet,
    ) -> Result<(), SnapshotError> {
        let part = ImagePart { head: self.head.clone(), number: self.number, last, elements };
        self.number += 1;
        let event = place.event(self.db, self.slot, self.key.clone(), Body::ImagePart(part));
        Ok(outlet.push(&event)?)
    }
}

// === impl StreamParts ===

impl StreamParts {
    fn add(&mut self, items: Vec<StreamItem>) -> StreamPart {
        let mut part = StreamPart::default();
        for item in items {
            match item {
                StreamItem::Entry(entry) => part.entries.push(StreamEntry {
                    id: id(entry.id),
                    content: entry
                        .fields
                        .into_iter()
                        .flat_map(|(name, value)| [name, value])
                        .collect(),
                }),
                StreamItem::Meta(meta) => {
                    part.meta = Some(StreamMeta {
                        length: meta.length,
                        last_id: id(meta.last_id),
                        first_id: meta.first_id.map(id).unwrap_or_default(),
                        max_deleted_id: meta.max_deleted_id.map(id).unwrap_or_default(),
                        entries_added: meta.entries_added.unwrap_or(meta.length),
                    });
                }
                StreamItem::Group { .. } => part.groups.extend(self.begin_group(item)),
                item => self.of_group(item),
            }
        }
        part
    }

    fn begin_group(&mut self, item: StreamItem) -> Option<StreamGroup> {
        let StreamItem::Group { name, last_id, entries_read } = item else { return None };
        self.group.replace(StreamGroup {
            name,
            last_delivered: id(last_id),
            entries_read,
            pending: Vec::new(),
            consumers: Vec::new(),
        })
    }

    fn of_group(&mut self, item: StreamItem) {
        let Some(group) = &mut self.group else { return self.warn() };
        match item {
            StreamItem::Pending(pending) => group.pending.push(StreamPending {
                id: id(pending.id),
                consumer: 0,
                delivered_ms: pending.delivered_ms,
                deliveries: pending.deliveries,
            }),
            StreamItem::Consumer { name, seen_ms, active_ms } => {
                let active_ms = active_ms.unwrap_or(seen_ms);
                group.consumers.push(StreamConsumer { name, seen_ms, active_ms });
            }
            StreamItem::Owned(owned) => {
                let owned = id(owned);
                let consumer =
                    u32::try_from(group.consumers.len()).unwrap_or(u32::MAX).saturating_sub(1);
                // Pending entries are stored in the order of their ids.
                if let Ok(index) = group.pending.binary_search_by_key(&owned, |pending| pending.id)
                    && let Some(pending) = group.pending.get_mut(index)
                {
                    pending.consumer = consumer;
                }
            }
            _ => self.warn(),
        }
    }

    fn warn(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!("the idempotence state of a large stream is not carried");
        }
    }
}

fn id(id: wire::rdb::StreamId) -> StreamId {
    StreamId { ms: id.ms, seq: id.seq }
}

const _: () =
    assert!(limits::PART_BYTES <= 256 * 1024, "parts come from the parser's default limits");
