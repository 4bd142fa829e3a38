//! A destination: reads the journal as it grows, also what a crash then takes back, and skips what
//! is not after what it has applied.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use event::control::{Control, EpochCause};
use event::fragment::Assembler;
use event::image::{Elements, ImageValue};
use event::{Body, Change, Command, Event, Position, codec};
use journal::MemoryJournal;

use super::world::{Data, append};
use crate::testing::records;

/// What it holds and how far it has come.
pub(super) struct Destination {
    data: Data,
    /// One place for all partitions, since the journal has one order.
    applied: Option<Position>,
    /// Parts of a value that is not complete.
    staged: BTreeMap<(u32, Bytes), Vec<u8>>,
    assemblers: Vec<Assembler>,
    /// Of a group in several records, the next one.
    next_record: u32,
    /// Databases and keys that the snapshot under way has named.
    named: BTreeSet<(u32, Vec<u8>)>,
}

// === impl Destination ===

impl Destination {
    pub(super) fn new(partitions: u16) -> Self {
        Self {
            data: Data::new(),
            applied: None,
            staged: BTreeMap::new(),
            assemblers: (0..partitions).map(|_| Assembler::new(usize::MAX >> 1)).collect(),
            next_record: 0,
            named: BTreeSet::new(),
        }
    }

    /// Reads the journal from its beginning to its end. Where it has applied what the source lost
    /// in a fail-over, and a crash took from the journal, it starts over.
    pub(super) async fn read(&mut self, journal: &MemoryJournal) {
        let records = records(journal).await;
        let is_beyond = |(_, event): &(u16, Event)| match &event.body {
            Body::Control(Control::EpochBegin(begin)) if begin.cause == EpochCause::Continued => {
                self.applied.is_some_and(|at| {
                    at.epoch < event.position.epoch && at.offset > begin.branch_offset
                })
            }
            _ => false,
        };
        if records.iter().any(is_beyond) {
            *self = Self::new(u16::try_from(self.assemblers.len()).unwrap());
        }
        self.take_all(records);
    }

    /// Reads what comes of the stream.
    pub(super) fn take_all(&mut self, records: Vec<(u16, Event)>) {
        for (partition, event) in records {
            self.take(usize::from(partition), event);
        }
    }

    /// Takes a snapshot made on demand, and stands where it does.
    pub(super) fn begin_with(&mut self, images: Vec<(u16, Event)>, at: Position) {
        let mut ends = 0;
        for (partition, event) in images {
            let position = event.position;
            let event = match event.body {
                Body::Fragment(fragment) => {
                    let whole =
                        self.assemblers[usize::from(partition)].push(fragment, position).unwrap();
                    let Some(whole) = whole else { continue };
                    codec::decode(whole).unwrap()
                }
                _ => event,
            };
            // One of them, behind the last, judges all partitions.
            let is_end = matches!(event.body, Body::Control(Control::SnapshotEnd(_)));
            ends += usize::from(is_end);
            if !is_end || ends == self.assemblers.len() {
                self.apply(&event);
            }
        }
        self.applied = Some(at);
    }

    pub(super) fn assert_holds(&self, data: &Data) {
        let names = |data: &Data| data.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&self.data), names(data));
        for (key, value) in data {
            let found = &self.data[key];
            assert!(found == value, "{key:?}: {} {}", shown(found), shown(value));
        }
    }

    fn take(&mut self, partition: usize, event: Event) {
        if event.snapshot_id() != 0 {
            return;
        }
        let position = event.position;
        let is_barrier = matches!(event.body, Body::Control(Control::Barrier(_)));
        if is_barrier || self.applied.is_some_and(|applied| !position.is_after(&applied)) {
            return;
        }
        self.assert_not_overtaking(&event);
        if let Body::Fragment(fragment) = event.body {
            let whole = self.assemblers[partition].push(fragment, position).unwrap();
            if let Some(whole) = whole {
                let event = codec::decode(whole).unwrap();
                if matches!(event.body, Body::Group(_)) {
                    self.assert_not_overtaking(&event);
                }
                self.apply(&event);
                self.applied = Some(position);
            }
            return;
        }
        self.apply(&event);
        self.applied = Some(position);
    }

    /// Between the records of one event there may be nothing but a new epoch.
    fn assert_not_overtaking(&mut self, event: &Event) {
        match &event.body {
            Body::Control(Control::EpochBegin(_)) => {
                let count = self.assemblers.len();
                self.assemblers = (0..count).map(|_| Assembler::new(usize::MAX >> 1)).collect();
                self.next_record = 0;
            }
            Body::Fragment(_) => {}
            Body::Group(group) => {
                assert!(!self.assemblers.iter().any(Assembler::is_open), "{}", event.position);
                assert_eq!(group.number, self.next_record, "{}", event.position);
                self.next_record = if group.last { 0 } else { group.number + 1 };
            }
            _ => {
                assert!(!self.assemblers.iter().any(Assembler::is_open), "{}", event.position);
                assert_eq!(self.next_record, 0, "{}", event.position);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        match &event.body {
            Body::Command(command) => self.command(event.db, command),
            Body::Image(image) => {
                let ImageValue::Text(text) = &image.value else { panic!("{image:?}") };
                self.image(event, text.clone());
            }
            Body::ImagePart(part) => {
                let Elements::Text(text) = &part.elements else { panic!("{part:?}") };
                let staged = self.staged.entry((event.db, event.key.clone())).or_default();
                if part.number == 0 {
                    staged.clear();
                }
                staged.extend(text);
                if part.last {
                    let value = std::mem::take(staged).into();
                    self.image(event, value);
                }
            }
            Body::Group(group) => {
                for change in &group.changes {
                    self.change(change.db, &change.change);
                }
            }
            Body::Control(control) => self.control(event.db, control),
            Body::Fragment(_) => panic!("a fragment in a fragment"),
        }
    }

    fn image(&mut self, event: &Event, value: Bytes) {
        let name = (event.db, event.key.to_vec());
        assert!(self.named.insert(name.clone()), "a key came twice");
        self.data.insert(name, value);
    }

    fn control(&mut self, db: u32, control: &Control) {
        match control {
            Control::EpochBegin(begin) if begin.cause == EpochCause::FullResync => {
                self.named.clear();
                self.staged.clear();
            }
            Control::SnapshotEnd(end) => {
                assert_eq!(self.named.len() as u64, end.keys_total);
                let named = std::mem::take(&mut self.named);
                self.data.retain(|name, _| named.contains(name));
            }
            Control::Flush { all } => self.change(db, &Change::Flush { all: *all }),
            Control::SwapDb { first, second } => {
                self.change(db, &Change::SwapDb { first: *first, second: *second });
            }
            _ => {}
        }
    }

    fn change(&mut self, db: u32, change: &Change) {
        match change {
            Change::Command(command) => self.command(db, command),
            Change::Flush { all: true } => self.data.clear(),
            Change::Flush { all: false } => self.data.retain(|(of, _), _| *of != db),
            Change::SwapDb { first, second } => {
                let swapped = |db: u32| match db {
                    db if db == *first => *second,
                    db if db == *second => *first,
                    db => db,
                };
                let data = std::mem::take(&mut self.data);
                self.data = data.into_iter().map(|((db, k), v)| ((swapped(db), k), v)).collect();
            }
            Change::Function(_) => panic!("no functions here"),
        }
    }

    fn command(&mut self, db: u32, command: &Command) {
        let args = &command.args;
        let word = |index: usize| args[index].to_vec();
        let name = String::from_utf8(word(0)).unwrap().to_ascii_uppercase();
        match name.as_str() {
            "SET" => {
                self.data.insert((db, word(1)), args[2].clone());
            }
            "APPEND" => append(&mut self.data, (db, word(1)), &args[2]),
            "DEL" => {
                self.data.remove(&(db, word(1)));
            }
            "RENAME" => {
                let value = self.data.remove(&(db, word(1))).expect("renamed keys exist");
                self.data.insert((db, word(2)), value);
            }
            "COPY" => {
                let value = self.data[&(db, word(1))].clone();
                self.data.insert((db, word(2)), value);
            }
            "MOVE" => {
                let to = String::from_utf8(word(2)).unwrap().parse().unwrap();
                let value = self.data.remove(&(db, word(1))).expect("moved keys exist");
                self.data.insert((to, word(1)), value);
            }
            other => panic!("{other}"),
        }
    }
}

fn shown(value: &[u8]) -> String {
    BytesMut::from(&value[..value.len().min(100)]).escape_ascii().to_string()
}
