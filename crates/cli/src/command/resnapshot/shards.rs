//! The snapshots of all shards of a source, of which somebody waits for one each. Pure.
//!
//! Guarantees: all is there when the shards whose snapshots are complete have every slot; a source that is no cluster is
//! one shard that has them all.

use std::collections::BTreeMap;

use event::{Body, Event, Shard};
use wire::slot::Slots;

use super::watch::{News, Watch};

/// Follows the snapshots of one stream.
#[derive(Debug)]
pub(super) struct Shards {
    partitions: usize,
    shards: BTreeMap<Shard, Followed>,
    /// The slots of those that are complete.
    complete: Slots,
    /// Keys in those.
    keys: u64,
}

#[derive(Debug)]
struct Followed {
    watch: Watch,
    slots: Slots,
}

// === impl Shards ===

impl Shards {
    pub(super) fn new(partitions: usize) -> Self {
        let (shards, complete) = (BTreeMap::new(), Slots::default());
        Self { partitions, shards, complete, keys: 0 }
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.shards.values().any(|of| of.watch.is_under_way())
    }

    /// Keys of those under way that were recorded, and how many there are about; 0: nobody knows.
    pub(super) fn keys(&self) -> (u64, u64) {
        let keys = self.shards.values().map(|of| of.watch.keys());
        keys.fold((0, 0), |(keys, expected), of| (keys + of.0, expected + of.1))
    }

    /// Takes the next record of a partition. That a snapshot is complete is told once those of all shards are.
    pub(super) fn take(&mut self, partition: u16, event: &Event) -> News {
        let partitions = self.partitions;
        let of = self
            .shards
            .entry(event.position.shard)
            .or_insert_with(|| Followed { watch: Watch::new(partitions), slots: Slots::all() });
        if let Body::Control(control) = &event.body
            && let Some(slots) = control.slots()
        {
            of.slots = slots.cloned().unwrap_or_else(Slots::all);
        }
        match of.watch.take(partition, event) {
            News::Complete { id, keys } => {
                self.complete = self.complete.or(&of.slots);
                self.keys += keys;
                match self.complete == Slots::all() {
                    true => News::Complete { id, keys: self.keys },
                    false => News::None,
                }
            }
            news => news,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::control::{Control, SnapshotBegin, SnapshotEnd};
    use event::image::Flavour;
    use event::{Position, Stamp};
    use wire::slot::Slot;

    use super::*;

    fn event(shard: u32, control: Control) -> Event {
        Event {
            position: Position::new(Shard(shard), 1, 5),
            stamp: Stamp::default(),
            db: 0,
            slot: Slot::of_key(b""),
            key: Bytes::new(),
            body: Body::Control(control),
            seen: Vec::new(),
        }
    }

    fn begin(shard: u32, slots: Option<Slots>) -> Event {
        let begin = SnapshotBegin {
            snapshot_id: 7 + u64::from(shard),
            keys_expected: 9,
            bytes_expected: 0,
            rdb_version: 0,
            flavour: Flavour::Redis,
            slots,
        };
        event(shard, Control::SnapshotBegin(begin))
    }

    fn end(shard: u32) -> Event {
        let snapshot_id = 7 + u64::from(shard);
        event(shard, Control::SnapshotEnd(SnapshotEnd { snapshot_id, keys: 1, keys_total: 2 }))
    }

    #[test]
    fn all_is_there_when_the_shards_that_are_have_all_slots() {
        let slot = |number| Slot::new(number).unwrap();
        let half = Slots::of([(slot(0), slot(8_000))]);
        let mut shards = Shards::new(1);
        let records = [begin(0, Some(half.clone())), begin(1, Some(half.others())), end(1), end(0)];
        let news = records.iter().map(|event| shards.take(0, event));
        let begun = |id| News::Begun { id, keys_expected: 9 };
        let complete = News::Complete { id: 7, keys: 4 };
        assert_eq!(news.collect::<Vec<_>>(), [begun(7), begun(8), News::None, complete]);
    }

    #[test]
    fn a_source_that_is_no_cluster_has_one() {
        let mut shards = Shards::new(1);
        shards.take(0, &begin(0, None));
        assert_eq!(shards.take(0, &end(0)), News::Complete { id: 7, keys: 2 });
    }
}
