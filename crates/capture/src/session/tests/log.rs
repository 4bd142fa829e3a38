//! What the journal holds against what the source has written.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use event::control::EpochCause;
use event::fragment::Assembler;
use event::{Change, Group};
use journal::{Append, Journal, MemoryJournal, Partition};
use runtime::Random;
use wire::resp::scan::{ScanLimits, StreamScanner};
use wire::slot::partition_of;

use super::world::World;
use super::{BEAT, PARTITIONS};
use crate::session::*;
use crate::testing::records;
use crate::translate::{Record, Translated, Translator};

/// A change in the place where it must stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) partition: u16,
    pub(super) offset: u64,
    index: u64,
    what: String,
}

/// The journal, fragments put together and records of groups joined.
pub(super) struct Log {
    events: Vec<(u16, Event)>,
}

/// What must follow an offset, by reading the source's stream straight through.
pub(super) fn expected_after(world: &World, offset: u64, selected_db: u32) -> Vec<Place> {
    let mut translator =
        Translator::new(wire::command::normalise::Era::V7_0, PARTITIONS, selected_db, BEAT);
    let mut scanner = StreamScanner::new(ScanLimits::default());
    scanner.feed(Bytes::copy_from_slice(world.after(offset)));
    let (mut places, mut offset) = (Vec::new(), offset);
    while let Some(command) = scanner.next_command().unwrap() {
        offset += command.frame().len() as u64;
        let Translated::Changes(records) = translator.take_whole(&command, 0).unwrap() else {
            continue;
        };
        for (index, record) in (0..).zip(records) {
            for (partition, what) in spread(&record) {
                places.push(Place { partition, offset, index, what });
            }
        }
    }
    places
}

fn partition(slot: Slot) -> u16 {
    u16::try_from(partition_of(slot, PARTITIONS.into())).unwrap()
}

/// What a record puts into which partition.
fn spread(record: &Record) -> Vec<(u16, String)> {
    match record {
        Record::Change { db, slot, key, command } => {
            vec![(partition(*slot), format!("{db} {key:?} {}", digest(&command.args)))]
        }
        Record::Group { db, slot, key, group, .. } => {
            let home = partition(*slot);
            let mut places = vec![(home, format!("{db} {key:?} {}", shown_group(group)))];
            let others = group.partitions.iter().filter(|other| **other != home);
            places.extend(
                others.map(|other| (*other, format!("barrier {home} {:?}", group.partitions))),
            );
            places
        }
        Record::Everywhere { db, control } => {
            (0..PARTITIONS).map(|partition| (partition, format!("{db} {control:?}"))).collect()
        }
    }
}

fn shown_group(group: &Group) -> String {
    let changes: Vec<String> = group
        .changes
        .iter()
        .map(|change| match &change.change {
            Change::Command(command) => format!("{} {}", change.db, digest(&command.args)),
            other => format!("{} {other:?}", change.db),
        })
        .collect();
    format!("{:?} {} {changes:?}", group.partitions, group.transaction)
}

/// The words, long ones by their checksum.
fn digest(args: &[Bytes]) -> String {
    let word = |arg: &Bytes| match arg.len() {
        0..100 => String::from_utf8_lossy(arg).into_owned(),
        length => format!("{length}:{:x}", wire::crc64::crc64(arg)),
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// All that the journal holds of the stream.
pub(super) async fn read(journal: &MemoryJournal) -> Log {
    let mut assemblers: BTreeMap<u16, Assembler> = BTreeMap::new();
    let mut events: Vec<(u16, Event)> = Vec::new();
    let of_stream =
        records(journal).await.into_iter().filter(|(_, event)| event.snapshot_id() == 0);
    for (partition, event) in of_stream {
        let Body::Fragment(fragment) = event.body else {
            events.push((partition, event));
            continue;
        };
        let assembler =
            assemblers.entry(partition).or_insert_with(|| Assembler::new(usize::MAX >> 1));
        if let Some(whole) = assembler.push(fragment, event.position).unwrap() {
            events.push((partition, event::codec::decode(whole).unwrap()));
        }
    }
    Log { events }
}

/// The same journal, of which each partition has lost a share of what was not durable.
pub(super) async fn lose(journal: &MemoryJournal, random: &mut Random) -> MemoryJournal {
    let ranges = journal.describe().await.unwrap().partitions;
    let kept: Vec<u64> = ranges
        .iter()
        .map(|range| range.durable.0 + random.below(range.end.0 - range.durable.0 + 1))
        .collect();
    let mut counts = vec![0; kept.len()];
    let mut records = records(journal).await;
    records.retain(|(partition, _)| {
        let count = &mut counts[usize::from(*partition)];
        *count += 1;
        *count <= kept[usize::from(*partition)]
    });
    journal_of(records).await
}

/// The same journal, which has lost a share of what was not durable at its end.
pub(super) async fn cut(journal: &MemoryJournal, random: &mut Random) -> MemoryJournal {
    let ranges = journal.describe().await.unwrap().partitions;
    let durable: u64 = ranges.iter().map(|range| range.durable.0).sum();
    let mut records = records(journal).await;
    let lost = random.below(records.len() as u64 - durable + 1);
    records.truncate(records.len() - usize::try_from(lost).unwrap());
    journal_of(records).await
}

/// A journal that holds these records.
pub(super) async fn journal_of(records: Vec<(u16, Event)>) -> MemoryJournal {
    let journal = MemoryJournal::new("test", PARTITIONS);
    let mut appender = journal.appender().await.unwrap();
    for (partition, event) in records {
        let mut payload = BytesMut::new();
        event::codec::encode(&event, &mut payload).unwrap();
        let record = Append {
            partition: Partition(partition),
            key: Bytes::new(),
            timestamp_ms: event.stamp.time_ms,
            kind: event.kind(),
            db: event.db,
            payload: payload.freeze(),
        };
        appender.append(&mut vec![record]).await.unwrap();
    }
    drop(appender);
    journal
}

// === impl Log ===

impl Log {
    /// No partition has anything twice or in another order, and stamps do not go back.
    pub(super) fn assert_in_order(&self) {
        for partition in 0..PARTITIONS {
            let here = self.events.iter().filter(|(p, _)| *p == partition).map(|(_, event)| event);
            let mut before: Option<&Event> = None;
            for event in here {
                if let Some(before) = before {
                    let again = event.position == before.position && event.kind() == "heartbeat";
                    let after = event.position.is_after(&before.position);
                    assert!(
                        after || again,
                        "{} {} after {}",
                        event.position,
                        event.kind(),
                        before.position
                    );
                    assert!(event.stamp >= before.stamp, "{} goes back in time", event.position);
                }
                before = Some(event);
            }
        }
    }

    /// After the last snapshot every change of the source is there.
    pub(super) fn assert_complete(&self, world: &World) {
        let begins = self.events.iter().rfind(|(_, event)| {
            matches!(&event.body, Body::Control(Control::EpochBegin(begin))
                if begin.cause == EpochCause::FullResync)
        });
        let (_, begin) = begins.expect("a snapshot");
        let (epoch, offset) = (begin.position.epoch, begin.position.offset);
        // What the stream selects first is said before anything depends on it, or stood in the
        // file.
        let db = world.selected_db_at(offset).expect("a snapshot stands at a boundary");
        let expected = expected_after(world, offset, db);
        let found = self.changes_since(epoch);
        for partition in 0..PARTITIONS {
            let here = |places: &[Place]| -> Vec<Place> {
                places.iter().filter(|place| place.partition == partition).cloned().collect()
            };
            let (expected, found) = (here(&expected), here(&found));
            let differs = expected.iter().zip(&found).find(|(one, other)| one != other);
            assert_eq!(differs, None, "in partition {partition}");
            assert_eq!(expected.len(), found.len(), "in partition {partition}");
        }
    }

    fn changes_since(&self, epoch: u64) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        let mut open: BTreeMap<u16, Group> = BTreeMap::new();
        for (partition, event) in &self.events {
            if event.position.epoch < epoch {
                continue;
            }
            let mut index = event.position.index;
            let what = match &event.body {
                Body::Command(command) => {
                    format!("{} {:?} {}", event.db, event.key, digest(&command.args))
                }
                Body::Group(group) => {
                    let whole = open
                        .entry(*partition)
                        .or_insert_with(|| Group { changes: Vec::new(), ..group.clone() });
                    whole.changes.extend(group.changes.iter().cloned());
                    index -= u64::from(group.number);
                    if !group.last {
                        continue;
                    }
                    let whole = open.remove(partition).expect("just there");
                    format!("{} {:?} {}", event.db, event.key, shown_group(&whole))
                }
                Body::Control(Control::Barrier(barrier)) => {
                    format!("barrier {} {:?}", barrier.home_partition, barrier.partitions)
                }
                Body::Control(control @ (Control::Flush { .. } | Control::SwapDb { .. })) => {
                    format!("{} {control:?}", event.db)
                }
                _ => continue,
            };
            let offset = event.position.offset;
            places.push(Place { partition: *partition, offset, index, what });
        }
        places
    }
}
