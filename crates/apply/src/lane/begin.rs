//! Where a lane without a usable checkpoint begins: at the newest snapshot of every shard that the journal holds.

use std::collections::HashMap;

use event::control::{Control, EpochCause};
use event::{Body, Position, Shard};
use journal::{Description, Entry, Journal, Offset, Partition, PartitionRange, ReadLimit};

use crate::error::Error;
use crate::limits;
use crate::scope::{Line, Scope};

/// Where to begin.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// Per partition of the lane, the first record to read.
    pub(crate) offsets: Vec<u64>,
    /// Per line, the beginning of its shard's newest snapshot: what is before it is not for this destination.
    pub(crate) snapshots: HashMap<Line, Position>,
}

/// How far the journal has been searched for snapshots, so that a lane that waits for one reads each record once.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Per partition of the lane, what has been read and survives a crash of the journal.
    read: Vec<Offset>,
    /// Per partition and shard, the beginning of the newest snapshot.
    found: HashMap<(Partition, Shard), (Offset, Position)>,
}

// === impl Search ===

impl Search {
    /// Looks for the newest snapshots in what the journal holds now.
    ///
    /// # Errors
    /// When the journal cannot be read, or holds no snapshot although it holds something.
    pub(crate) async fn find(
        &mut self,
        journal: &dyn Journal,
        description: &Description,
        scope: &Scope,
    ) -> Result<Begin, Error> {
        let range = |number: &u16| {
            let range = description.partitions.get(usize::from(*number)).copied();
            (Partition(*number), range.unwrap_or_default())
        };
        let ranges: Vec<_> = scope.numbers.iter().map(range).collect();
        self.read_on(journal, &ranges).await?;
        let mut begin = Begin::default();
        let mut newest: HashMap<Shard, Position> = HashMap::new();
        for ((_, shard), (_, position)) in &self.found {
            let newest = newest.entry(*shard).or_insert(*position);
            if position.is_after(newest) {
                *newest = *position;
            }
        }
        begin.snapshots = (0..scope.tracks())
            .flat_map(|track| {
                newest.iter().map(move |(shard, position)| (track, *shard, *position))
            })
            .map(|(track, shard, position)| (Line { track, shard }, position))
            .collect();
        let is_empty = ranges.iter().all(|(_, range)| range.start == range.end);
        if begin.snapshots.is_empty() && !is_empty {
            return Err(Error::NoSnapshot { stream: scope.stream.clone(), shard: Shard(0) });
        }
        for (partition, range) in &ranges {
            let of_partition = self.found.iter().filter(|((of, _), _)| of == partition);
            let first = of_partition.map(|(_, (offset, _))| offset.0).min();
            begin.offsets.push(first.unwrap_or(range.start.0));
        }
        Ok(begin)
    }

    /// Reads what was not read before.
    async fn read_on(
        &mut self,
        journal: &dyn Journal,
        ranges: &[(Partition, PartitionRange)],
    ) -> Result<(), Error> {
        self.read.resize(ranges.len(), Offset(0));
        let mut from = Vec::with_capacity(ranges.len());
        let mut left = 0;
        for ((partition, range), read) in ranges.iter().zip(&mut self.read) {
            *read = (*read).clamp(range.start, range.end);
            // What left the journal meanwhile, and what is read again.
            self.found.retain(|(of, _), (offset, _)| {
                of != partition || (range.start..*read).contains(offset)
            });
            from.push((*partition, *read));
            left += usize::from(*read < range.end);
        }
        if left == 0 {
            return Ok(());
        }
        let mut reader = journal.reader(from).await?;
        while left > 0 {
            let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
            for entry in reader.next(limit).await? {
                let range = ranges.iter().find(|(partition, _)| *partition == entry.partition);
                let end = range.map_or(Offset(0), |(_, range)| range.end);
                left -= usize::from(entry.offset.after(1) == end);
                self.note(entry)?;
            }
        }
        for (read, (_, range)) in self.read.iter_mut().zip(ranges) {
            *read = range.end.min(range.durable);
        }
        Ok(())
    }

    fn note(&mut self, entry: Entry) -> Result<(), Error> {
        let Entry { partition, offset, payload, .. } = entry;
        let decoded = event::codec::decode(payload);
        let event = decoded.map_err(|source| Error::Record {
            partition: partition.0,
            offset: offset.0,
            source,
        })?;
        if let Body::Control(Control::EpochBegin(epoch)) = &event.body
            && epoch.cause == EpochCause::FullResync
        {
            self.found.insert((partition, event.position.shard), (offset, event.position));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use event::Event;
    use event::control::{EpochBegin, Heartbeat};
    use journal::{Append, Appender, MemoryJournal};
    use wire::slot::Slot;

    use super::*;

    fn heartbeat() -> Control {
        Control::Heartbeat(Heartbeat {
            replication_id: String::new(),
            selected_db: 0,
            capture_time_ms: 0,
            source_time_ms: 0,
        })
    }

    fn snapshot() -> Control {
        Control::EpochBegin(EpochBegin {
            cause: EpochCause::FullResync,
            shard_name: String::new(),
            replication_id: String::new(),
            branch_offset: 0,
            server: String::new(),
        })
    }

    async fn append(appender: &mut dyn Appender, epoch: u64, control: Control) {
        let event = Event {
            position: Position::new(Shard(0), epoch, 0),
            stamp: event::Stamp::default(),
            db: 0,
            slot: Slot::of_key(b""),
            key: Bytes::new(),
            body: Body::Control(control),
            seen: Vec::new(),
        };
        let mut payload = BytesMut::new();
        event::codec::encode(&event, &mut payload).unwrap();
        let payload = payload.freeze();
        let (partition, key) = (Partition(0), Bytes::new());
        let record = Append { partition, key, timestamp_ms: 0, kind: "control", db: 0, payload };
        appender.append(&mut vec![record]).await.unwrap();
        appender.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_search_goes_on_where_the_last_one_ended() {
        let journal = MemoryJournal::new("shop", 1);
        let mut appender = journal.appender().await.unwrap();
        let scope = Scope {
            stream: "shop".into(),
            incarnation: 1,
            numbers: [0].into(),
            partitions: 1,
            one_order: true,
        };
        let mut search = Search::default();
        let found = async |search: &mut Search| {
            let description = journal.describe().await.unwrap();
            let begin = search.find(&journal, &description, &scope).await.ok();
            begin.map(|begin| {
                (begin.offsets, begin.snapshots.get(&Line::default()).map(|at| at.epoch))
            })
        };
        assert_eq!(found(&mut search).await, Some((vec![0], None)));
        append(&mut *appender, 1, heartbeat()).await;
        assert_eq!(found(&mut search).await, None);
        append(&mut *appender, 1, snapshot()).await;
        append(&mut *appender, 1, heartbeat()).await;
        for _ in 0..2 {
            assert_eq!(found(&mut search).await, Some((vec![1], Some(1))));
            assert_eq!(search.read, [Offset(3)]);
        }
        // What is not read again is not looked for: it is known already.
        search.found.clear();
        assert_eq!(found(&mut search).await, None);
        append(&mut *appender, 2, snapshot()).await;
        assert_eq!(found(&mut search).await, Some((vec![3], Some(2))));
        append(&mut *appender, 2, heartbeat()).await;
        journal.trim(vec![(Partition(0), Offset(4))]).await.unwrap();
        assert_eq!(found(&mut search).await, None, "it has left the journal");
    }
}
