//! A large value as a run of parts: all hold elements, the last says that the value is complete.

use bytes::Bytes;
use event::Body;
use event::image::{
    Elements, Field, ImageHead, ImagePart, StreamConsumer, StreamEntry, StreamGroup, StreamId,
    StreamMeta, StreamPart, StreamPending,
};
use wire::rdb::{Class, Part, StreamItem};
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
    class: Class,
    number: u64,
    /// Elements that wait until it is known whether they are the last.
    held: Option<Elements>,
    stream: StreamParts,
}

/// Gathers what belongs together of a stream: a group is complete when its consumers are known.
#[derive(Debug, Default)]
struct StreamParts {
    group: Option<StreamGroup>,
    has_idempotence: bool,
}

// === impl LargeValue ===

impl LargeValue {
    pub(super) fn new(db: u32, key: Bytes, class: Class, head: ImageHead) -> Self {
        let slot = Slot::of_key(&key);
        let stream = StreamParts::default();
        Self { db, slot, key, head, class, number: 0, held: None, stream }
    }

    /// Whether it is a stream with state that no event carries.
    pub(super) fn has_idempotence(&self) -> bool {
        self.stream.has_idempotence
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
                // What only adds to an open group comes with the whole group.
                if part == StreamPart::default() {
                    return Ok(());
                }
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
        let last = self.held.take().unwrap_or_else(|| nothing(self.class));
        self.push(last, true, place, outlet)
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
                StreamItem::Group { name, last_id, entries_read } => {
                    let group = StreamGroup {
                        name,
                        last_delivered: id(last_id),
                        entries_read,
                        pending: Vec::new(),
                        consumers: Vec::new(),
                    };
                    part.groups.extend(self.group.replace(group));
                }
                StreamItem::Pending(_) | StreamItem::Consumer { .. } | StreamItem::Owned(_) => {
                    self.of_group(item);
                }
                StreamItem::Idempotence { .. }
                | StreamItem::Producer { .. }
                | StreamItem::Produced { .. }
                | StreamItem::Totals { .. } => self.has_idempotence = true,
            }
        }
        part
    }

    fn of_group(&mut self, item: StreamItem) {
        // The parser gives these inside a group only.
        let Some(group) = &mut self.group else { return };
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
            _ => {}
        }
    }
}

/// What a value without elements consists of.
fn nothing(class: Class) -> Elements {
    match class {
        Class::String => Elements::Text(Bytes::new()),
        Class::List | Class::Set => Elements::Items(Vec::new()),
        Class::Zset => Elements::Scores(Vec::new()),
        Class::Hash => Elements::Fields(Vec::new()),
        Class::Stream => Elements::Stream(StreamPart::default()),
        Class::Module => Elements::Opaque(Bytes::new()),
    }
}

fn id(id: wire::rdb::StreamId) -> StreamId {
    StreamId { ms: id.ms, seq: id.seq }
}
