//! What a shard of a cluster sends as one and concerns several partitions: recorded for each of them, without a barrier.
//!
//! Within a cluster nobody sees several slots at one moment: a transaction has one slot, and what a script does to
//! several appears slot by slot for whoever asks. So the changes of each partition appear together, and no partition
//! waits for another: those of several shards would wait for one another for ever. Guarantee: in each partition the
//! changes stand in their order, each once, at the place of the whole; and however many partitions there are, what of them
//! is not recorded yet stays within [`APART_BYTES`] and the last change of each.

use std::collections::BTreeMap;

use event::codec::Head;
use event::control::Control;
use event::group::Cutter;
use event::{Change, Event, Group, GroupedChange, Position};
use journal::Partition;

use super::{Session, control_event};
use crate::error::SessionError;
use crate::limits::APART_BYTES;
use crate::owned;
use crate::translate::TranslateError;

/// The groups of all partitions that are being written, from one place on.
struct Apart<'a> {
    head: Head<'a>,
    /// Where they begin.
    at: Position,
    cutters: BTreeMap<Partition, Cutter>,
    /// Of their changes that are not in a record yet.
    bytes: usize,
    /// By partition, how many records it has got.
    records: BTreeMap<Partition, u64>,
    transaction: bool,
}

// === impl Session ===

impl Session {
    /// What a control event is that comes from one shard of several.
    pub(super) fn of_shard(&mut self, control: Control) -> Result<Control, SessionError> {
        let Some(slots) = self.config.owned.slots.clone() else { return Ok(control) };
        match control {
            Control::Flush { all } => Ok(Control::FlushSlots { all, slots }),
            Control::SwapDb { .. } => {
                let source = TranslateError::OfShard { command: "SWAPDB".to_owned() };
                Err(SessionError::Command { offset: self.stream_reader()?.offset(), source })
            }
            other => Ok(other),
        }
    }

    /// Appends the changes of a group, each in its partition, with what was put aside before them. Tells how many places
    /// that took.
    pub(super) async fn append_apart(
        &mut self,
        head: &Head<'_>,
        group: Group,
    ) -> Result<u64, SessionError> {
        let mut apart = Apart {
            head: Head { key: &[], ..*head },
            at: head.position,
            cutters: BTreeMap::new(),
            bytes: 0,
            records: BTreeMap::new(),
            transaction: group.transaction,
        };
        let mut aside = self.stream_reader()?.aside.take();
        while let Some(aside) = &mut aside
            && let Some(changes) = aside.take()?
        {
            for change in changes {
                self.put_apart(&mut apart, change).await?;
            }
            // Slow as it may be, it goes on.
            self.parts.progress.count_piece();
        }
        for change in group.changes {
            self.put_apart(&mut apart, change).await?;
        }
        self.end_apart(&mut apart).await?;
        Ok(apart.at.index - head.position.index)
    }

    async fn put_apart(
        &mut self,
        apart: &mut Apart<'_>,
        change: GroupedChange,
    ) -> Result<(), SessionError> {
        let control = match change.change {
            Change::Command(_) => {
                let slots = self.config.owned.slots.as_ref();
                owned::require(slots, change.slot, &change.key)?;
                let partition = self.parts.outlet.partition_of(change.slot);
                if let Some(record) = apart.push(partition, change) {
                    self.parts.outlet.push(&record)?;
                    drop(record);
                    self.flush_if_full().await?;
                }
                return Ok(());
            }
            Change::Flush { all } => Control::Flush { all },
            Change::SwapDb { first, second } => Control::SwapDb { first, second },
            Change::Function(function) => Control::Function(function),
        };
        let (db, control) = (change.db, self.of_shard(control)?);
        self.end_apart(apart).await?;
        let event = control_event(apart.at, apart.head.stamp.clone(), control);
        self.parts.outlet.push_everywhere(&Event { db, ..event })?;
        apart.at.index += 1;
        self.flush_if_full().await
    }

    /// Ends the groups: what comes next stands behind all of them.
    async fn end_apart(&mut self, apart: &mut Apart<'_>) -> Result<(), SessionError> {
        for (partition, cutter) in std::mem::take(&mut apart.cutters) {
            *apart.records.entry(partition).or_default() += 1;
            self.parts.outlet.push(&cutter.finish())?;
            self.flush_if_full().await?;
        }
        apart.bytes = 0;
        apart.at.index += apart.records.values().copied().max().unwrap_or_default();
        apart.records.clear();
        Ok(())
    }
}

// === impl Apart ===

impl Apart<'_> {
    /// Takes the next change of a partition; gives the record before it, if that is full, or all take too much.
    fn push(&mut self, partition: Partition, change: GroupedChange) -> Option<Event> {
        let is_much = self.bytes > APART_BYTES;
        let cutter = self.cutter(partition, &change);
        let before = cutter.waiting_bytes();
        // Which change is in which record follows from the changes alone: they may be read again.
        let early = if is_much { cutter.take() } else { None };
        let full = cutter.push(change);
        let after = cutter.waiting_bytes();
        self.bytes = (self.bytes + after).saturating_sub(before);
        let record = early.or(full)?;
        *self.records.entry(partition).or_default() += 1;
        Some(record)
    }

    /// The group of a partition, which begins with this change if there is none.
    fn cutter(&mut self, partition: Partition, first: &GroupedChange) -> &mut Cutter {
        self.cutters.entry(partition).or_insert_with(|| {
            let GroupedChange { db, slot, key, .. } = first;
            let head = Head { position: self.at, db: *db, slot: *slot, ..self.head };
            Cutter::with_key(&head, key.clone(), Vec::new(), self.transaction)
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::{Body, Command, Effect, KeyArgs, Shard, Stamp};
    use wire::slot::Slot;

    use super::*;

    fn change(number: usize) -> GroupedChange {
        let key = Bytes::from(format!("key:{number}"));
        let args = vec![Bytes::from_static(b"SET"), key.clone(), Bytes::from(vec![b'x'; 10_000])];
        let command = Command { args, effect: Effect::Overwrite, keys: KeyArgs::First };
        GroupedChange { db: 0, slot: Slot::of_key(&key), key, change: Change::Command(command) }
    }

    #[test]
    fn what_waits_of_many_partitions_stays_within_its_bound() {
        let (stamp, at) = (Stamp::default(), Position::new(Shard(1), 2, 3));
        let slot = Slot::new(0).unwrap();
        let head = Head { position: at, stamp: &stamp, db: 0, slot, key: &[], seen: &[] };
        let (cutters, records) = (BTreeMap::new(), BTreeMap::new());
        let mut apart = Apart { head, at, cutters, bytes: 0, records, transaction: false };
        let mut found: BTreeMap<u16, Vec<Event>> = BTreeMap::new();
        let partitions = 1_000;
        for number in 0..5 * usize::from(partitions) {
            let partition = u16::try_from(number).unwrap() % partitions;
            let record = apart.push(Partition(partition), change(number));
            found.entry(partition).or_default().extend(record);
            let waiting: usize = apart.cutters.values().map(Cutter::waiting_bytes).sum();
            assert_eq!(waiting, apart.bytes);
            assert!(waiting < APART_BYTES + 11_000 * usize::from(partitions), "{waiting} bytes");
        }
        let early: usize = found.values().map(Vec::len).sum();
        assert!(early > 0, "they fit");
        for (partition, cutter) in std::mem::take(&mut apart.cutters) {
            let records = found.entry(partition.0).or_default();
            records.push(cutter.finish());
            let mut keys = Vec::new();
            for (number, record) in records.iter().enumerate() {
                assert_eq!(record.position, at.at_index(number as u64));
                let Body::Group(group) = &record.body else { panic!("{record:?}") };
                assert_eq!(group.last, number + 1 == records.len());
                keys.extend(group.changes.iter().map(|change| change.key.clone()));
            }
            let all =
                (0..5).map(|round| round * usize::from(partitions) + usize::from(partition.0));
            assert!(keys.into_iter().eq(all.map(|number| format!("key:{number}"))));
        }
    }
}
