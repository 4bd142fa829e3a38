//! What unit tests share: outlets over journals in memory, what is in them, snapshot files.

use bytes::Bytes;
use event::{Event, Position, Stamp, codec};
use journal::{Journal, MemoryJournal, Offset, Partition, ReadLimit};

use crate::outlet::{Holdings, Outlet};

/// A journal of so many partitions, and an outlet to it.
pub(crate) async fn outlet(partitions: u16) -> (MemoryJournal, Outlet) {
    let journal = MemoryJournal::new("test", partitions);
    let outlet = outlet_to(&journal, vec![None; usize::from(partitions)]).await;
    (journal, outlet)
}

/// Another outlet to a journal whose partitions hold that.
pub(crate) async fn outlet_to(journal: &MemoryJournal, held: Vec<Option<Position>>) -> Outlet {
    let appender = journal.appender().await.unwrap();
    let open = vec![false; held.len()];
    Outlet::new(appender, Holdings { held, open, durable: true })
}

/// All records, in the order in which they were appended, each with its partition.
pub(crate) async fn records(journal: &MemoryJournal) -> Vec<(u16, Event)> {
    let ranges = journal.describe().await.unwrap().partitions;
    let mut missing: u64 = ranges.iter().map(|range| range.end.0 - range.start.0).sum();
    let from = (0..).zip(&ranges).map(|(number, range)| (Partition(number), range.start));
    let mut reader = journal.reader(from.collect()).await.unwrap();
    let mut records = Vec::new();
    while missing > 0 {
        let limit = ReadLimit { records: 1000, bytes: usize::MAX };
        for entry in reader.next(limit).await.unwrap() {
            missing -= 1;
            records.push((entry.partition.0, codec::decode(entry.payload).unwrap()));
        }
    }
    records
}

/// The end of a partition.
pub(crate) async fn end_of(journal: &MemoryJournal, partition: u16) -> Offset {
    journal.describe().await.unwrap().partitions[usize::from(partition)].end
}

pub(crate) fn stamp(time_ms: i64) -> Stamp {
    Stamp { time_ms, ..Stamp::default() }
}

/// A snapshot file of strings, in databases in order.
pub(crate) fn rdb_of_strings<'a>(
    keys: impl IntoIterator<Item = (u32, &'a [u8], &'a [u8])>,
    stream_db: i64,
) -> Bytes {
    let mut file = b"REDIS0009".to_vec();
    file.push(250);
    file.extend(rdb_text(b"repl-stream-db"));
    file.extend(rdb_text(stream_db.to_string().as_bytes()));
    let mut selected = None;
    for (db, key, value) in keys {
        if selected != Some(db) {
            file.push(254);
            file.extend(rdb_length(usize::try_from(db).unwrap()));
            selected = Some(db);
        }
        file.push(0);
        file.extend(rdb_text(key));
        file.extend(rdb_text(value));
    }
    sealed(file)
}

/// The file with its end mark and checksum.
pub(crate) fn sealed(mut file: Vec<u8>) -> Bytes {
    file.push(255);
    let crc = wire::crc64::crc64(&file);
    file.extend(crc.to_le_bytes());
    file.into()
}

pub(crate) fn rdb_text(text: &[u8]) -> Vec<u8> {
    [&rdb_length(text.len())[..], text].concat()
}

fn rdb_length(length: usize) -> Vec<u8> {
    [&[0x80][..], &u32::try_from(length).unwrap().to_be_bytes()].concat()
}
