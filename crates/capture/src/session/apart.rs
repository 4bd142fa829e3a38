//! What a shard of a cluster sends as one and concerns several partitions: recorded for each of them, without a barrier.
//!
//! Within a cluster nobody sees several slots at one moment: a transaction has one slot, and what a script does to
//! several appears slot by slot for whoever asks. So the changes of each partition appear together, and no partition
//! waits for another: those of several shards would wait for one another for ever. Guarantee: in each partition the
//! changes stand in their order, each once, at the place of the whole.

use std::collections::BTreeMap;

use event::codec::Head;
use event::control::Control;
use event::group::Cutter;
use event::{Change, Group, GroupedChange, Position};
use journal::Partition;

use super::{Session, control_event};
use crate::error::SessionError;
use crate::owned;
use crate::translate::TranslateError;

/// The groups of all partitions that are being written, from one place on.
struct Apart<'a> {
    head: Head<'a>,
    /// Where they begin.
    at: Position,
    cutters: BTreeMap<Partition, Cutter>,
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
                let record = apart.cutter(partition, &change).push(change);
                if let Some(record) = record {
                    *apart.records.entry(partition).or_default() += 1;
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
        self.parts.outlet.push_everywhere(&event::Event { db, ..event })?;
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
        apart.at.index += apart.records.values().copied().max().unwrap_or_default();
        apart.records.clear();
        Ok(())
    }
}

// === impl Apart ===

impl Apart<'_> {
    /// The group of a partition, which begins with this change if there is none.
    fn cutter(&mut self, partition: Partition, first: &GroupedChange) -> &mut Cutter {
        self.cutters.entry(partition).or_insert_with(|| {
            let GroupedChange { db, slot, key, .. } = first;
            let head = Head { position: self.at, db: *db, slot: *slot, ..self.head };
            Cutter::with_key(&head, key.clone(), Vec::new(), self.transaction)
        })
    }
}
