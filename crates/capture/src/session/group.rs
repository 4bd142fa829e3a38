//! Groups of any size: what of an open transaction has no room in memory waits in a file, and goes
//! into the journal in batches when EXEC has come.
//!
//! Nothing can be appended before: the place of all changes is the offset after EXEC. Guarantees:
//! the records of a group are the same however much of it was put aside, so that those that the
//! journal already holds are recognised when the group is read again.

use bytes::{Bytes, BytesMut};
use event::codec::{self, Head};
use event::control::{Barrier, Control};
use event::group::Cutter;
use event::{Body, Event, Group, GroupedChange, Position, Stamp};
use journal::Partition;
use wire::slot::Slot;

use super::{Session, control_event};
use crate::error::{OutletError, SessionError};
use crate::room::Room;
use crate::spool::{Aside, SpoolError};

/// Changes put aside, in their order.
#[derive(Debug)]
pub(super) struct AsideChanges {
    file: Aside,
}

// === impl AsideChanges ===

impl AsideChanges {
    fn take(&mut self) -> Result<Option<Vec<GroupedChange>>, SpoolError> {
        let Some(piece) = self.file.take()? else { return Ok(None) };
        match codec::decode(piece).map_err(|error| self.file.damaged(error))?.body {
            Body::Group(group) => Ok(Some(group.changes)),
            other => Err(self.file.damaged(std::io::Error::other(format!("{other:?}")))),
        }
    }
}

/// Changes as a piece of a file: an event that is never recorded, whose encoding is at hand.
fn piece_of(changes: Vec<GroupedChange>) -> Result<Bytes, OutletError> {
    let group = Group { changes, partitions: Vec::new(), number: 0, last: true, transaction: true };
    let event = Event {
        position: Position::default(),
        stamp: Stamp::default(),
        db: 0,
        slot: Slot::new(0).expect("there is a slot 0"),
        key: Bytes::new(),
        body: Body::Group(group),
        seen: Vec::new(),
    };
    let mut bytes = BytesMut::new();
    codec::encode(&event, &mut bytes)
        .map_err(|source| OutletError::Encode { key: "of a transaction".to_owned(), source })?;
    Ok(bytes.freeze())
}

// === impl Session ===

impl Session {
    /// Moves what the open transaction has beyond its memory to a file. Waits while the disk is
    /// full, as the journal does.
    pub(super) async fn put_excess_aside(&mut self) -> Result<(), SessionError> {
        let limit_bytes = self.config.transaction_bytes;
        let Some(changes) = self.stream_reader()?.translator.excess(limit_bytes) else {
            return Ok(());
        };
        let piece = piece_of(changes)?;
        let mut aside = match self.stream_reader()?.aside.take() {
            Some(aside) => aside,
            None => AsideChanges { file: self.parts.spool.aside()? },
        };
        let (clock, progress) = (self.parts.clock.as_ref(), &self.parts.progress);
        let mut room = Room::new("a large transaction", clock, progress);
        while let Err(error) = aside.file.put(&piece).await {
            if !error.is_disk_full() {
                return Err(error.into());
            }
            room.wait(&error).await;
        }
        room.found();
        self.stream_reader()?.aside = Some(aside);
        Ok(())
    }

    /// A group in as many records as it needs, and a barrier in each other partition. Tells how
    /// many records.
    pub(super) async fn append_group(
        &mut self,
        head: &Head<'_>,
        group: Group,
    ) -> Result<u64, SessionError> {
        let Group { changes, partitions, transaction, .. } = group;
        let mut cutter = Cutter::new(head, partitions.clone(), transaction);
        let mut records = 1;
        if let Some(mut aside) = self.stream_reader()?.aside.take() {
            while let Some(changes) = aside.take()? {
                records += self.append_changes(&mut cutter, changes).await?;
                // Slow as it may be, it goes on.
                self.parts.progress.count_piece();
            }
        }
        records += self.append_changes(&mut cutter, changes).await?;
        self.parts.outlet.push(&cutter.finish())?;
        let home = self.parts.outlet.partition_of(head.slot);
        for other in partitions.iter().filter(|other| **other != home.0) {
            let barrier = Barrier { home_partition: home.0, partitions: partitions.clone() };
            let control = Control::Barrier(barrier);
            let event = control_event(head.position, head.stamp.clone(), control);
            self.parts.outlet.push_to(Partition(*other), &event)?;
        }
        Ok(records)
    }

    async fn append_changes(
        &mut self,
        cutter: &mut Cutter,
        changes: Vec<GroupedChange>,
    ) -> Result<u64, SessionError> {
        let mut records = 0;
        for change in changes {
            if let Some(event) = cutter.push(change) {
                self.parts.outlet.push(&event)?;
                self.flush_if_full().await?;
                records += 1;
            }
        }
        Ok(records)
    }
}
