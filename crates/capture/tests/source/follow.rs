//! Reading the journal as somebody who applies it would.

use event::control::{Control, EpochCause};
use event::fragment::Assembler;
use event::{Body, Change, Command, Event, codec};
use journal::{Append, Journal, MemoryJournal, Offset, Partition, ReadLimit, Reader};

use crate::running::{PARTITIONS, PATIENCE};

/// Follows a journal, and keeps what it has read.
pub(crate) struct Follower {
    reader: Option<Box<dyn Reader>>,
    assembler: Assembler,
    records_read: u64,
    /// Every event with its partition, fragments put together.
    pub(crate) events: Vec<(u16, Event)>,
}

impl Follower {
    pub(crate) async fn of(journal: &MemoryJournal) -> Self {
        let from = (0..PARTITIONS).map(|number| (Partition(number), Offset(0))).collect();
        let reader = journal.reader(from).await.unwrap();
        let assembler = Assembler::new(usize::MAX >> 1);
        Self { reader: Some(reader), assembler, records_read: 0, events: Vec::new() }
    }

    /// One that has read these, and reads no more.
    pub(crate) fn with(events: Vec<(u16, Event)>) -> Self {
        let assembler = Assembler::new(usize::MAX >> 1);
        Self { reader: None, assembler, records_read: 0, events }
    }

    /// Reads until an event is one that is waited for.
    pub(crate) async fn until(&mut self, what: &str, is_it: impl Fn(&Event) -> bool) {
        let reading = async {
            loop {
                let before = self.events.len();
                self.read_one().await;
                if self.events[before..].iter().any(|(_, event)| is_it(event)) {
                    return;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, reading).await;
        assert!(found.is_ok(), "waited in vain for {what}");
    }

    /// Reads all that is there.
    pub(crate) async fn read_all(&mut self, journal: &MemoryJournal) {
        let ranges = journal.describe().await.unwrap().partitions;
        let there: u64 = ranges.iter().map(|range| range.end.0).sum();
        while self.records_read < there {
            self.read_one().await;
        }
    }

    async fn read_one(&mut self) {
        let reader = self.reader.as_mut().unwrap();
        for entry in reader.next(ReadLimit { records: 1, bytes: 1 << 20 }).await.unwrap() {
            self.records_read += 1;
            let event = codec::decode(entry.payload).unwrap();
            let Body::Fragment(fragment) = event.body else {
                self.events.push((entry.partition.0, event));
                continue;
            };
            if let Some(whole) = self.assembler.push(fragment, event.position).unwrap() {
                self.events.push((entry.partition.0, codec::decode(whole).unwrap()));
            }
        }
    }

    /// The words of every command, in order; those of groups where the group stands.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        self.events.iter().flat_map(|(_, event)| commands_of(event)).map(|c| words(&c)).collect()
    }

    /// How many epochs began, and how many of them with a full transfer.
    pub(crate) fn epochs(&self) -> (usize, usize) {
        let first = self.events.iter().filter(|(partition, _)| *partition == 0);
        let begins = first.filter_map(|(_, event)| match &event.body {
            Body::Control(Control::EpochBegin(begin)) => Some(begin.cause),
            _ => None,
        });
        let causes: Vec<_> = begins.collect();
        let full = causes.iter().filter(|cause| **cause == EpochCause::FullResync).count();
        (causes.len(), full)
    }

    /// Nothing stands twice, or before what comes earlier, in any partition.
    pub(crate) fn assert_in_order(&self) {
        for partition in 0..PARTITIONS {
            let here = self.events.iter().filter(|(p, _)| *p == partition);
            let changes = here.map(|(_, event)| event).filter(|event| event.kind() != "heartbeat");
            let positions: Vec<_> = changes.map(|event| event.position).collect();
            let growing = |pair: &[event::Position]| pair[1].is_after(&pair[0]);
            let bad = positions.windows(2).find(|pair| !growing(pair));
            assert_eq!(bad, None, "in partition {partition}");
        }
    }
}

/// The raw records of a journal in their order.
pub(crate) async fn records(journal: &MemoryJournal) -> Vec<Append> {
    let ranges = journal.describe().await.unwrap().partitions;
    let mut missing: u64 = ranges.iter().map(|range| range.end.0).sum();
    let from = (0..PARTITIONS).map(|number| (Partition(number), Offset(0))).collect();
    let mut reader = journal.reader(from).await.unwrap();
    let mut records = Vec::new();
    while missing > 0 {
        for entry in reader.next(ReadLimit { records: 100, bytes: 1 << 30 }).await.unwrap() {
            missing -= 1;
            records.push(Append {
                partition: entry.partition,
                key: bytes::Bytes::new(),
                timestamp_ms: entry.timestamp_ms,
                kind: "any",
                db: 0,
                payload: entry.payload,
            });
        }
    }
    records
}

/// A journal that holds the first records of another: what a crash leaves.
pub(crate) async fn cut(journal: &MemoryJournal, count: usize) -> MemoryJournal {
    let mut records = records(journal).await;
    records.truncate(count);
    let after = MemoryJournal::new("test", PARTITIONS);
    after.appender().await.unwrap().append(&mut records).await.unwrap();
    after
}

/// The commands of an event, in order.
pub(crate) fn commands_of(event: &Event) -> Vec<Command> {
    match &event.body {
        Body::Command(command) => vec![command.clone()],
        Body::Group(group) => {
            let commands = group.changes.iter().filter_map(|change| match &change.change {
                Change::Command(command) => Some(command.clone()),
                _ => None,
            });
            commands.collect()
        }
        _ => Vec::new(),
    }
}

pub(crate) fn words(command: &Command) -> Vec<String> {
    command.args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

/// Whether an event is, or holds, that command.
pub(crate) fn is_command(line: &str) -> impl Fn(&Event) -> bool {
    let wanted: Vec<String> = line.split(' ').map(str::to_owned).collect();
    move |event| commands_of(event).iter().any(|command| words(command) == wanted)
}

pub(crate) fn is_snapshot_end(event: &Event) -> bool {
    matches!(event.body, Body::Control(Control::SnapshotEnd(_)))
}
