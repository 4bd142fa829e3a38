//! Streams made up of steps, and what a destination has to execute for them.

use event::control::Control;
use event::fragment;
use event::group;
use event::{Change, Group, GroupedChange};
use wire::slot::Slots;

use super::super::*;

/// What a source does next.
#[derive(Clone, Debug)]
pub(in crate::plan::tests) enum Step {
    /// One command.
    Command,
    /// One command that needs fragments.
    Large,
    /// A transaction of so many commands.
    Transaction(usize),
    /// A transaction that needs several records.
    LargeTransaction,
    /// A transaction in so many small records.
    Records(usize),
    /// The same with a FLUSHDB in the middle.
    FlushingRecords(usize),
    /// FLUSHDB, for which a lane first finishes everything before it.
    Flush,
    /// A transaction with a FLUSHDB inside.
    FlushingTransaction,
}

/// The records of a stream, and the commands that it stands for.
pub(in crate::plan::tests) struct Stream {
    entries: Vec<Entry>,
    /// The commands, in the order of their execution.
    pub(in crate::plan::tests) expected: Vec<String>,
    next: Vec<u64>,
    offset: u64,
    /// Whether keys are filtered: then databases are not emptied.
    pub(super) filtered: bool,
    shard: u32,
}

/// The keys that a filter leaves out.
pub(super) const LEFT_OUT: &str = "key:3";
/// What is executed for a flush of database 0.
const FLUSH: &str = "FLUSHDB";

pub(in crate::plan::tests) const LARGE: usize = 1_200_000;

impl Stream {
    pub(in crate::plan::tests) fn of(steps: &[Step], filtered: bool) -> Self {
        Self::made((0, None), steps, filtered)
    }

    /// Of one of several shards, whose keys are its own.
    pub(in crate::plan::tests) fn of_shard(shard: u32, slots: Slots, steps: &[Step]) -> Self {
        Self::made((shard, Some(slots)), steps, false)
    }

    fn made((shard, slots): (u32, Option<Slots>), steps: &[Step], filtered: bool) -> Self {
        let mut stream = Self {
            entries: Vec::new(),
            expected: Vec::new(),
            next: vec![0; 4],
            offset: 0,
            filtered,
            shard,
        };
        let mut begins = begin(1, EpochCause::FullResync);
        if let Body::Control(Control::EpochBegin(begin)) = &mut begins.body {
            begin.slots = slots;
        }
        for partition in 0..4 {
            stream.append(&begins, partition);
        }
        for step in steps {
            stream.offset += 10;
            match step {
                Step::Command => stream.command(3),
                Step::Large => stream.command(LARGE),
                Step::Transaction(count) => stream.transaction(*count, 3),
                Step::LargeTransaction => stream.transaction(4, LARGE / 3),
                Step::Records(count) => stream.records(*count, false),
                Step::FlushingRecords(count) => stream.records(*count, true),
                Step::Flush => stream.flush(),
                Step::FlushingTransaction => stream.flushing_transaction(),
            }
        }
        stream
    }

    fn words(&mut self, number: usize, bytes: usize) -> String {
        let value = format!("{}:{number}:{}", self.offset, "x".repeat(bytes));
        let key = match self.shard {
            0 => format!("key:{}", self.offset / 10 % 7),
            shard => format!("{shard}:{}", self.offset / 10 % 7),
        };
        let words = format!("APPEND {key} {value}");
        if !(self.filtered && key == LEFT_OUT) {
            self.expected.push(words.clone());
        }
        words
    }

    fn command(&mut self, bytes: usize) {
        let words = self.words(0, bytes);
        let event = written(self.offset, &words, Effect::Merge);
        let partition = self.partition_of(&event);
        self.append(&event, partition);
    }

    fn flush(&mut self) {
        self.expect_flush();
        let flush = Control::Flush { all: false };
        self.append(&event(at(self.offset), b"", Body::Control(flush)), 0);
    }

    fn expect_flush(&mut self) {
        if !self.filtered {
            self.expected.push(FLUSH.to_owned());
        }
    }

    fn change(&mut self, number: usize, bytes: usize) -> GroupedChange {
        let command = command(&self.words(number, bytes), Effect::Merge, KeyArgs::First);
        let key = command.args[1].clone();
        GroupedChange { db: 0, slot: Slot::of_key(&key), key, change: Change::Command(command) }
    }

    fn transaction(&mut self, count: usize, bytes: usize) {
        let changes = (0..count).map(|number| self.change(number, bytes)).collect();
        self.group(changes);
    }

    fn flushing_transaction(&mut self) {
        let mut changes = vec![self.change(0, 3)];
        self.expect_flush();
        let change = Change::Flush { all: false };
        changes.push(GroupedChange { db: 0, slot: Slot::of_key(b""), key: Bytes::new(), change });
        changes.push(self.change(1, 3));
        self.group(changes);
    }

    fn group(&mut self, changes: Vec<GroupedChange>) {
        let key = changes[0].key.clone();
        let group =
            Group { changes, partitions: Vec::new(), number: 0, last: true, transaction: true };
        let whole = event(at(self.offset), &key, Body::Group(group.clone()));
        let partition = self.partition_of(&whole);
        for record in group::cut(&head(&whole), group) {
            self.append(&record, partition);
        }
    }

    /// Records as if each was full: of the size of one change each.
    fn records(&mut self, count: usize, flushes: bool) {
        let mut key = Bytes::new();
        for number in 0..count {
            let change = if flushes && number == count / 2 {
                self.expect_flush();
                let change = Change::Flush { all: false };
                GroupedChange { db: 0, slot: Slot::of_key(b""), key: Bytes::new(), change }
            } else {
                self.change(number, 3)
            };
            if number == 0 {
                key.clone_from(&change.key);
            }
            let group = Group {
                changes: vec![change],
                partitions: Vec::new(),
                number: number.try_into().unwrap(),
                last: number + 1 == count,
                transaction: true,
            };
            let position = at(self.offset).at_index(number as u64);
            let record = event(position, &key, Body::Group(group));
            let partition = self.partition_of(&record);
            self.append(&record, partition);
        }
    }

    pub(in crate::plan::tests) fn partition_of(&self, event: &Event) -> u16 {
        wire::slot::partition_of(event.slot, 4).try_into().unwrap()
    }

    pub(in crate::plan::tests) fn append(&mut self, event: &Event, partition: u16) {
        let position = Position { shard: Shard(self.shard), ..event.position };
        let event = &Event { position, ..event.clone() };
        let mut encoded = BytesMut::new();
        event::codec::encode(event, &mut encoded).unwrap();
        let encoded = encoded.freeze();
        if fragment::is_needed(encoded.len()) {
            let pieces: Vec<Event> = fragment::split(encoded, &head(event)).collect();
            pieces.iter().for_each(|piece| self.push(piece, partition));
        } else {
            self.push(event, partition);
        }
    }

    fn push(&mut self, event: &Event, partition: u16) {
        let next = &mut self.next[usize::from(partition)];
        self.entries.push(entry(event, partition, *next));
        *next += 1;
    }

    /// Its records among those of another stream: the next one is of this stream where `turns` say so.
    pub(in crate::plan::tests) fn among(self, other: Self, turns: &[bool]) -> Self {
        let mut merged = Self { entries: Vec::new(), next: vec![0; 4], ..self };
        let (mut mine, mut theirs) = (self.entries.into_iter(), other.entries.into_iter());
        let mut turns = turns.iter().copied().cycle();
        loop {
            let turn = turns.next().unwrap_or(true);
            let next = if turn { mine.next() } else { theirs.next() };
            let Some(entry) = next.or_else(|| mine.next()).or_else(|| theirs.next()) else {
                return merged;
            };
            let next = &mut merged.next[usize::from(entry.partition.0)];
            merged.entries.push(Entry { offset: Offset(*next), ..entry });
            *next += 1;
        }
    }

    /// What a reader that begins at these offsets sees.
    pub(in crate::plan::tests) fn from(&self, needed: &[u64]) -> impl Iterator<Item = &Entry> {
        let needed = needed.to_vec();
        let wanted = move |entry: &&Entry| entry.offset.0 >= needed[usize::from(entry.partition.0)];
        self.entries.iter().filter(wanted)
    }
}

pub(in crate::plan::tests) fn head(event: &Event) -> event::codec::Head<'_> {
    event::codec::Head {
        position: event.position,
        stamp: &event.stamp,
        db: event.db,
        slot: event.slot,
        key: &event.key,
        seen: &[],
    }
}
