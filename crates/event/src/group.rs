//! Groups larger than one record may be: cut into several records.
//!
//! Every record stays within [`limits::MAX_EVENT_BYTES`], but for one that holds nothing but a
//! single change of more than that: it goes by [`crate::fragment`]. The changes of all records in
//! order are those of the group; `number` counts the records, and only the last has `last`.

use bytes::Bytes;
use wire::slot::Slot;

use crate::codec::{Head, change_bytes_max, group_bytes_max};
use crate::{Body, Event, Group, GroupedChange, Position, Seen, Stamp, limits};

/// Cuts a group while its changes come, for one that is larger than the memory for it.
///
/// Record `n` stands at index `head.position.index + n`, so that each has a position of its own: a
/// capture that died between two records goes on with the second. Records after the first go
/// without a key that is longer than [`limits::RECORD_KEY_BYTES`].
#[derive(Debug)]
pub struct Cutter {
    position: Position,
    stamp: Stamp,
    db: u32,
    slot: Slot,
    key: Bytes,
    seen: Vec<Seen>,
    /// What goes into the next record.
    group: Group,
    /// What a record has besides its changes, at most.
    empty_bytes: usize,
    /// What the next record has so far, at most.
    bytes: usize,
}

/// Cuts a whole group, at `head`, into one record or more.
#[must_use]
pub fn cut(head: &Head<'_>, group: Group) -> Vec<Event> {
    let mut cutter = Cutter::new(head, group.partitions, group.transaction);
    let full = group.changes.into_iter().filter_map(|change| cutter.push(change));
    let mut records: Vec<_> = full.collect();
    records.push(cutter.finish());
    records
}

// === impl Cutter ===

impl Cutter {
    /// Begins with no changes.
    #[must_use]
    pub fn new(head: &Head<'_>, partitions: Vec<u16>, transaction: bool) -> Self {
        Self::with_key(head, Bytes::copy_from_slice(head.key), partitions, transaction)
    }

    /// The same for a key that is shared instead of copied: it takes the place of that of `head`.
    #[must_use]
    pub fn with_key(head: &Head<'_>, key: Bytes, partitions: Vec<u16>, transaction: bool) -> Self {
        let head = Head { key: &key, ..*head };
        let empty_bytes = head.bytes_max() + group_bytes_max(&partitions);
        Self {
            position: head.position,
            stamp: head.stamp.clone(),
            db: head.db,
            slot: head.slot,
            seen: head.seen.to_vec(),
            key,
            group: Group { changes: Vec::new(), partitions, number: 0, last: false, transaction },
            empty_bytes,
            bytes: empty_bytes,
        }
    }

    /// Takes the next change; gives the record before it, if that is full.
    pub fn push(&mut self, change: GroupedChange) -> Option<Event> {
        let bytes = change_bytes_max(&change);
        let fits = self.bytes.saturating_add(bytes) <= limits::MAX_EVENT_BYTES;
        let full = (!fits && !self.group.changes.is_empty()).then(|| self.next_record());
        self.bytes = self.bytes.saturating_add(bytes);
        self.group.changes.push(change);
        full
    }

    /// The next record, if no other change fits it. There has to come one.
    pub fn take_full(&mut self) -> Option<Event> {
        if self.bytes > limits::MAX_EVENT_BYTES { self.take() } else { None }
    }

    /// The next record, if there is anything for it. There has to come another.
    pub fn take(&mut self) -> Option<Event> {
        (!self.group.changes.is_empty()).then(|| self.next_record())
    }

    /// What the changes take, at most, that are in no record yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.bytes - self.empty_bytes
    }

    /// The last record.
    #[must_use]
    pub fn finish(mut self) -> Event {
        self.group.last = true;
        self.next_record()
    }

    fn next_record(&mut self) -> Event {
        let changes = std::mem::take(&mut self.group.changes);
        let number = self.group.number;
        let record = Event {
            position: self.position.at_index(self.position.index.saturating_add(number.into())),
            stamp: self.stamp.clone(),
            db: self.db,
            slot: self.slot,
            key: self.key.clone(),
            body: Body::Group(Group { changes, ..self.group.clone() }),
            seen: self.seen.clone(),
        };
        if self.key.len() > limits::RECORD_KEY_BYTES {
            self.empty_bytes -= self.key.len();
            self.key = Bytes::new();
        }
        self.group.number += 1;
        self.bytes = self.empty_bytes;
        record
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::codec::{decode, encode};
    use crate::{Change, Command, Effect, KeyArgs, Shard};

    fn change(bytes: usize) -> GroupedChange {
        let key = Bytes::from_static(b"key");
        let args = vec![Bytes::from_static(b"SET"), key.clone(), Bytes::from(vec![1; bytes])];
        let command = Command { args, effect: Effect::Overwrite, keys: KeyArgs::First };
        GroupedChange { db: 1, slot: Slot::of_key(&key), key, change: Change::Command(command) }
    }

    fn group(sizes: &[usize]) -> Group {
        let changes = sizes.iter().copied().map(change).collect();
        Group {
            changes,
            partitions: (0..16384).collect(),
            number: 0,
            last: true,
            transaction: true,
        }
    }

    /// The sizes of the changes in each record of a group cut at a key of some length.
    fn cut_sizes(key_bytes: usize, sizes: &[usize]) -> Vec<Vec<usize>> {
        let site = "s".repeat(limits::SITE_BYTES);
        let stamp = Stamp { time_ms: -1, counter: u32::MAX, site: site.clone() };
        let key = vec![b'k'; key_bytes];
        let position = Position { shard: Shard(9), epoch: 8, offset: u64::MAX, index: 5 };
        let seen = [Seen { site, position }];
        let slot = Slot::of_key(&key);
        let head = Head { position, stamp: &stamp, db: 1, slot, key: &key, seen: &seen };
        let whole = group(sizes);
        let records = cut(&head, whole.clone());
        let count = records.len();
        let mut changes = Vec::new();
        let mut found = Vec::new();
        for (number, record) in records.into_iter().enumerate() {
            assert_eq!(record.position, position.at_index(5 + number as u64));
            let mut buf = BytesMut::new();
            encode(&record, &mut buf).unwrap();
            let bytes = buf.len();
            let Body::Group(group) = decode(buf.freeze()).unwrap().body else { panic!() };
            assert_eq!((group.number as usize, group.last), (number, number + 1 == count));
            assert_eq!(group.partitions, whole.partitions);
            assert!(bytes <= limits::MAX_EVENT_BYTES || group.changes.len() == 1, "{bytes} bytes");
            let size = |change: &GroupedChange| match &change.change {
                Change::Command(command) => command.args[2].len(),
                other => panic!("{other:?}"),
            };
            found.push(group.changes.iter().map(size).collect());
            changes.extend(group.changes);
        }
        assert_eq!(changes, whole.changes);
        found
    }

    #[test]
    fn a_small_group_is_one_record() {
        assert_eq!(cut_sizes(3, &[1, 2, 3]), [vec![1, 2, 3]]);
        assert_eq!(cut_sizes(3, &[]), [Vec::<usize>::new()]);
    }

    #[test]
    fn a_large_group_is_cut_into_records_that_fit() {
        assert_eq!(
            cut_sizes(3, &[400_000, 400_000, 400_000, 100]),
            [vec![400_000, 400_000], vec![400_000, 100]]
        );
        let many = vec![100; 30_000];
        let records = cut_sizes(3, &many);
        assert!(records.len() >= 4);
        // All but the last are close to full: about 30 bytes come to the 100 of each change.
        let least = records.iter().rev().skip(1).map(Vec::len).min().unwrap();
        assert!(least * 100 > limits::MAX_EVENT_BYTES * 2 / 3, "{least} changes");
    }

    #[test]
    fn a_change_larger_than_a_record_stands_alone() {
        assert_eq!(cut_sizes(3, &[1, 2_000_000, 2]), [vec![1], vec![2_000_000], vec![2]]);
    }

    #[test]
    fn a_long_key_is_not_repeated() {
        assert_eq!(cut_sizes(2_000_000, &[1, 2, 3]), [vec![1], vec![2, 3]]);
    }
}
