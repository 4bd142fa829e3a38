//! The bodies that are rare: parts of images, groups, fragments and control events.

use wire::slot::Slots;

use super::encode::flavour;
use super::sink::{Message, Sink};
use crate::control::{
    Barrier, Control, EpochBegin, EpochCause, FunctionChange, Heartbeat, SlotHandover,
    SnapshotBegin, SnapshotEnd,
};
use crate::fragment::Fragment;
use crate::image::{
    Elements, Field, ImagePart, StreamConsumer, StreamEntry, StreamGroup, StreamId, StreamMeta,
    StreamPart, StreamPending,
};
use crate::{Change, Group, GroupedChange};

/// Size that a group of these partitions has in an encoding besides its changes, at most.
pub(crate) fn group_bytes_max(partitions: &[u16]) -> usize {
    const NUMBERS_BYTES_MAX: usize = 32;
    NUMBERS_BYTES_MAX + partitions.len() * 3
}

/// Size that a change has in the encoding of its group, at most.
pub(crate) fn change_bytes_max(change: &GroupedChange) -> usize {
    const FIELD_BYTES_MAX: usize = 11;
    FIELD_BYTES_MAX + change.size()
}

struct Items<'a>(&'a [bytes::Bytes]);
struct Scores<'a>(&'a [(bytes::Bytes, f64)]);
struct Fields<'a>(&'a [Field]);
struct Flush(bool);
struct FlushSlots<'a>(bool, &'a Slots);
struct SwapDb(u32, u32);

// === impl ImagePart ===

impl Message for ImagePart {
    fn write(&self, out: &mut impl Sink) {
        out.message(1, &self.head);
        out.uint(2, self.number);
        out.uint(3, self.last);
        match &self.elements {
            Elements::Text(text) => out.bytes_present(4, text),
            Elements::Items(items) => out.message(5, &Items(items)),
            Elements::Scores(scores) => out.message(6, &Scores(scores)),
            Elements::Fields(fields) => out.message(7, &Fields(fields)),
            Elements::Stream(stream) => out.message(8, stream),
            Elements::Opaque(bytes) => out.bytes_present(9, bytes),
        }
    }
}

impl Message for Items<'_> {
    fn write(&self, out: &mut impl Sink) {
        for item in self.0 {
            out.bytes_present(1, item);
        }
    }
}

impl Message for Scores<'_> {
    fn write(&self, out: &mut impl Sink) {
        for (member, _) in self.0 {
            out.bytes_present(1, member);
        }
        out.doubles(2, self.0.iter().map(|(_, score)| *score));
    }
}

impl Message for Fields<'_> {
    fn write(&self, out: &mut impl Sink) {
        for field in self.0 {
            out.bytes_present(1, &field.field);
        }
        for field in self.0 {
            out.bytes_present(2, &field.value);
        }
        if self.0.iter().any(|field| field.expire_at_ms.is_some()) {
            let expiry = |field: &Field| field.expire_at_ms.unwrap_or(0).cast_unsigned();
            out.packed(3, self.0.iter().map(expiry));
        }
    }
}

// === impl StreamPart ===

impl Message for StreamPart {
    fn write(&self, out: &mut impl Sink) {
        out.messages(1, &self.entries);
        if let Some(meta) = &self.meta {
            out.message(2, meta);
        }
        out.messages(3, &self.groups);
    }
}

impl Message for StreamId {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.ms);
        out.uint(2, self.seq);
    }
}

impl Message for StreamEntry {
    fn write(&self, out: &mut impl Sink) {
        out.message(1, &self.id);
        for item in &self.content {
            out.bytes_present(2, item);
        }
    }
}

impl Message for StreamMeta {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.length);
        out.message(2, &self.last_id);
        out.message(3, &self.first_id);
        out.message(4, &self.max_deleted_id);
        out.uint(5, self.entries_added);
    }
}

impl Message for StreamGroup {
    fn write(&self, out: &mut impl Sink) {
        out.bytes(1, &self.name);
        out.message(2, &self.last_delivered);
        if let Some(read) = self.entries_read {
            out.uint_present(3, read);
        }
        out.messages(4, &self.pending);
        out.messages(5, &self.consumers);
    }
}

impl Message for StreamPending {
    fn write(&self, out: &mut impl Sink) {
        out.message(1, &self.id);
        out.uint(2, self.consumer);
        out.int(3, self.delivered_ms);
        out.uint(4, self.deliveries);
    }
}

impl Message for StreamConsumer {
    fn write(&self, out: &mut impl Sink) {
        out.bytes(1, &self.name);
        out.int(2, self.seen_ms);
        out.int(3, self.active_ms);
    }
}

// === impl Group ===

impl Message for Group {
    fn write(&self, out: &mut impl Sink) {
        out.messages(1, &self.changes);
        out.packed(2, self.partitions.iter().copied().map(u64::from));
        out.uint(3, self.number);
        out.uint(4, self.last);
        out.uint(5, self.transaction);
    }
}

impl Message for GroupedChange {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.db);
        out.uint(2, self.slot.get());
        out.bytes(3, &self.key);
        match &self.change {
            Change::Command(command) => out.message(4, command),
            Change::Flush { all } => out.message(5, &Flush(*all)),
            Change::SwapDb { first, second } => out.message(6, &SwapDb(*first, *second)),
            Change::Function(function) => out.message(7, function),
        }
    }
}

impl Message for Flush {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.0);
    }
}

impl Message for SwapDb {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.0);
        out.uint(2, self.1);
    }
}

impl Message for FunctionChange {
    fn write(&self, out: &mut impl Sink) {
        for arg in &self.args {
            out.bytes_present(1, arg);
        }
        out.uint(2, self.snapshot_id);
    }
}

// === impl Fragment ===

impl Message for Fragment {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.number);
        out.uint(2, self.count);
        out.uint(3, self.total_bytes);
        out.fixed32(4, self.crc32c);
        out.bytes(5, &self.data);
        out.uint(6, self.snapshot_id);
    }
}

// === impl Control ===

impl Message for Control {
    fn write(&self, out: &mut impl Sink) {
        match self {
            Self::EpochBegin(begin) => out.message(1, begin),
            Self::SnapshotBegin(begin) => out.message(2, begin),
            Self::SnapshotEnd(end) => out.message(3, end),
            Self::Heartbeat(heartbeat) => out.message(4, heartbeat),
            Self::Barrier(barrier) => out.message(5, barrier),
            Self::Flush { all } => out.message(6, &Flush(*all)),
            Self::SwapDb { first, second } => out.message(7, &SwapDb(*first, *second)),
            Self::Function(function) => out.message(8, function),
            Self::SlotHandover(handover) => out.message(9, handover),
            Self::FlushSlots { all, slots } => out.message(10, &FlushSlots(*all, slots)),
        }
    }
}

impl Message for EpochBegin {
    fn write(&self, out: &mut impl Sink) {
        let cause = match self.cause {
            EpochCause::FullResync => 1u32,
            EpochCause::Continued => 2,
            EpochCause::SlotMoved => 3,
        };
        out.uint(1, cause);
        out.bytes(2, self.shard_name.as_bytes());
        out.bytes(3, self.replication_id.as_bytes());
        out.uint(4, self.branch_offset);
        out.bytes(5, self.server.as_bytes());
        slots(6, self.slots.as_ref(), out);
    }
}

impl Message for SnapshotBegin {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.snapshot_id);
        out.uint(2, self.keys_expected);
        out.uint(3, self.bytes_expected);
        out.uint(4, self.rdb_version);
        out.uint(5, flavour(self.flavour));
        slots(6, self.slots.as_ref(), out);
    }
}

impl Message for SnapshotEnd {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.snapshot_id);
        out.uint(2, self.keys);
        out.uint(3, self.keys_total);
    }
}

impl Message for Heartbeat {
    fn write(&self, out: &mut impl Sink) {
        out.bytes(1, self.replication_id.as_bytes());
        out.uint(2, self.selected_db);
        out.int(3, self.source_time_ms);
        out.int(4, self.capture_time_ms);
        slots(5, self.slots.as_ref(), out);
        out.bytes(6, self.shard_name.as_bytes());
    }
}

impl Message for FlushSlots<'_> {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.0);
        slots(2, Some(self.1), out);
    }
}

/// The slots of a shard: the first and the last of each range in turn; nothing where it has all.
fn slots(number: u32, slots: Option<&Slots>, out: &mut impl Sink) {
    let ranges = slots.into_iter().flat_map(Slots::ranges);
    out.packed(
        number,
        ranges.flat_map(|(first, last)| [first, last]).map(|slot| slot.get().into()),
    );
}

impl Message for Barrier {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.home_partition);
        out.packed(2, self.partitions.iter().copied().map(u64::from));
    }
}

impl Message for SlotHandover {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.first_slot);
        out.uint(2, self.last_slot);
        out.uint(3, self.from_shard);
        out.uint(4, self.to_shard);
        out.message(5, &self.until);
    }
}
