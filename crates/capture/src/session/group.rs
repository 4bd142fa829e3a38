//! Groups of any size: what of an open transaction has no room in memory waits in a file, and goes
//! into the journal in batches when EXEC has come.
//!
//! Nothing can be appended before: the place of all changes is the offset after EXEC. Guarantees:
//! the records of a group are the same however much of it was put aside, so that those that the
//! journal already holds are recognised when the group is read again.

use std::collections::VecDeque;

use bytes::Bytes;
use event::codec::{self, Head, Rope};
use event::control::{Barrier, Control};
use event::group::Cutter;
use event::{Body, Change, Event, Group, GroupedChange, Position, Stamp};
use journal::Partition;
use wire::slot::Slot;

use super::{Session, control_event};
use crate::error::{OutletError, SessionError};
use crate::room::Room;
use crate::spool::{Aside, SpoolError};
use crate::translate::Record;

/// Changes put aside, in their order.
#[derive(Debug)]
pub(super) struct AsideChanges {
    file: Aside,
    /// What is not taken yet.
    pieces: VecDeque<Piece>,
}

/// Some changes in the file.
#[derive(Debug)]
struct Piece {
    bytes: usize,
    /// Of each change which argument is its key, where it is left out in the file.
    keys: Vec<Option<usize>>,
}

// === impl AsideChanges ===

impl AsideChanges {
    fn has_more(&self) -> bool {
        !self.pieces.is_empty()
    }

    pub(super) fn take(&mut self) -> Result<Option<Vec<GroupedChange>>, SpoolError> {
        let Some(Piece { bytes, keys }) = self.pieces.pop_front() else { return Ok(None) };
        let piece = self.file.take(bytes)?;
        let mut changes = match codec::decode(piece).map_err(|error| self.file.damaged(error))?.body
        {
            Body::Group(group) => group.changes,
            other => return Err(self.file.damaged(std::io::Error::other(other_than(&other)))),
        };
        for (change, key) in changes.iter_mut().zip(keys) {
            if let (Change::Command(command), Some(key)) = (&change.change, key) {
                change.key = command.args.get(key).cloned().unwrap_or_default();
            }
        }
        Ok(Some(changes))
    }
}

fn other_than(body: &Body) -> &'static str {
    match body {
        Body::Control(_) => "an event about no key",
        _ => "no group",
    }
}

/// Changes as a piece of a file: an event that is never recorded, whose encoding is at hand. Long
/// keys are in it once.
fn piece_of(mut changes: Vec<GroupedChange>) -> Result<(Vec<Option<usize>>, Rope), OutletError> {
    let keys = changes.iter_mut().map(leave_key_out).collect();
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
    let rope = codec::encode_rope(&event, &codec::lenders(&event));
    let failed = |source| OutletError::Encode { key: "of a transaction".to_owned(), source };
    Ok((keys, rope.map_err(failed)?))
}

/// Takes a long key out of a change, if it is one of its arguments. Gives which.
fn leave_key_out(change: &mut GroupedChange) -> Option<usize> {
    let Change::Command(command) = &change.change else { return None };
    if change.key.len() < codec::SHARED_BYTES {
        return None;
    }
    let is_key = |arg: &Bytes| (arg.as_ptr(), arg.len()) == (change.key.as_ptr(), change.key.len());
    let argument = command.args.iter().position(is_key)?;
    change.key = Bytes::new();
    Some(argument)
}

/// The key of the first command.
fn home_key(changes: &[GroupedChange]) -> Bytes {
    let mut commands = changes.iter().filter(|one| matches!(one.change, Change::Command(_)));
    commands.next().map(|one| one.key.clone()).unwrap_or_default()
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
        let (keys, rope) = piece_of(changes)?;
        let asides = self.parts.inflow.asides();
        let mut aside = match self.stream_reader()?.aside.take() {
            Some(aside) => aside,
            None => AsideChanges { file: asides.for_transaction()?, pieces: VecDeque::new() },
        };
        let (clock, progress) = (self.parts.clock.as_ref(), &self.parts.progress);
        let mut room = Room::new("a large transaction", clock, progress);
        while let Err(error) = aside.file.put(rope.segments()).await {
            if !error.is_disk_full() {
                return Err(error.into());
            }
            room.wait(&error).await;
        }
        room.found();
        aside.pieces.push_back(Piece { bytes: rope.len(), keys });
        self.stream_reader()?.aside = Some(aside);
        Ok(())
    }

    /// The change of a transaction that was put aside and is its only one.
    pub(super) fn only_change(&mut self) -> Result<Option<Record>, SessionError> {
        let stream = self.stream_reader()?;
        let Some(mut aside) = stream.aside.take() else { return Ok(None) };
        let change = aside.take()?.unwrap_or_default().pop();
        Ok(change.map(|change| stream.translator.record_of_one(change, true)))
    }

    /// A group in as many records as it needs, and a barrier in each other partition. Tells how
    /// many records. Its key is that of `head`, unless that is among what was put aside.
    pub(super) async fn append_group(
        &mut self,
        head: &Head<'_>,
        key: Option<Bytes>,
        group: Group,
    ) -> Result<u64, SessionError> {
        let Group { changes: changes_left, partitions, transaction, .. } = group;
        let mut aside = self.stream_reader()?.aside.take();
        let mut piece = aside.as_mut().map(AsideChanges::take).transpose()?.flatten();
        let key = key.unwrap_or_else(|| piece.as_deref().map(home_key).unwrap_or_default());
        let head = Head { key: &[], ..*head };
        let mut cutter = Cutter::with_key(&head, key, partitions.clone(), transaction);
        let mut records = 1;
        while let (Some(aside), Some(changes)) = (&mut aside, piece.take()) {
            records += self.append_changes(&mut cutter, changes).await?;
            // Slow as it may be, it goes on.
            self.parts.progress.count_piece();
            if aside.has_more() || !changes_left.is_empty() {
                // A large one is let go before the next is read.
                records += self.append_record(cutter.take_full()).await?;
            }
            piece = aside.take()?;
        }
        drop(aside);
        records += self.append_changes(&mut cutter, changes_left).await?;
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
            let record = cutter.push(change);
            records += self.append_record(record).await?;
        }
        Ok(records)
    }

    /// Appends a record, if there is one. Tells how many.
    async fn append_record(&mut self, record: Option<Event>) -> Result<u64, SessionError> {
        let Some(event) = record else { return Ok(0) };
        self.parts.outlet.push(&event)?;
        // A large one is let go before it is written.
        drop(event);
        self.flush_if_full().await?;
        Ok(1)
    }
}
