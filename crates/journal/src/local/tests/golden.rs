//! Files of format version 1 as they were written once, read for ever.
//!
//! Two sealed segments and an active one of stream `golden`, three partitions: records 0 to 59 as
//! [`numbered`] makes them, of 40 bytes beside the number, of 400 from 20 on, and 20 that repeat
//! themselves and are packed; two named readers.

use std::path::Path;

use super::sim_disk::SimDisk;
use super::*;
use crate::ReaderProgress;

const FILES: [(&str, &[u8]); 4] = [
    ("meta", include_bytes!("golden/v1/meta")),
    ("00000000000000000000.seg", include_bytes!("golden/v1/00000000000000000000.seg")),
    ("00000000000000000038.seg", include_bytes!("golden/v1/00000000000000000038.seg")),
    ("00000000000000000058.seg", include_bytes!("golden/v1/00000000000000000058.seg")),
];

const INCARNATION: u64 = 15_870_178_548_650_943_775;

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    for (name, content) in FILES {
        disk.put(&Path::new("/sim").join(name), content.to_vec());
    }
    disk
}

async fn check(journal: &LocalJournal) {
    let entries = read_all(journal).await;
    assert_eq!(entries.len(), 80);
    for (number, entry) in (0..60).zip(&entries) {
        assert!(is_numbered(entry, number), "{entry:?}");
        let size = if number < 20 { 48 } else { 408 };
        assert_eq!(entry.payload.len(), size);
    }
    for (number, entry) in (60..80).zip(entries.iter().skip(60)) {
        assert_eq!((entry.timestamp_ms, entry.partition), (-number, Partition(2)));
        assert_eq!(entry.payload, "again and again and again and again");
    }
    let described = journal.describe().await.unwrap();
    assert_eq!((described.stream.as_str(), described.incarnation), ("golden", INCARNATION));
    let reader = |name: &str, released: &[(u16, u64)]| ReaderProgress {
        name: name.to_owned(),
        released: released.iter().map(|(p, o)| (Partition(*p), Offset(*o))).collect(),
    };
    assert_eq!(described.readers, [reader("one", &[(0, 7), (2, 9)]), reader("two", &[(1, 3)])]);
}

#[tokio::test]
async fn files_of_version_1_are_read() {
    let config = LocalConfig::new("/sim", "golden", PARTITIONS);
    let journal = LocalJournal::open_on(Arc::new(disk()), &config, &parts(), None).unwrap();
    assert_eq!(*journal.open_report(), OpenReport::default());
    assert_eq!(journal.status().segments, 3);
    check(&journal).await;
    let late = journal.offset_at_time(Partition(0), 45).await.unwrap();
    let mut reader = journal.reader(vec![(Partition(0), late)]).await.unwrap();
    assert!(reader.next(ALL).await.unwrap()[0].timestamp_ms >= 45);
}

#[tokio::test]
async fn files_of_version_1_are_followed() {
    let config = ReadOnlyConfig::new("/sim");
    let journal = LocalJournal::follow(Arc::new(disk()), &config, &parts()).unwrap();
    check(&journal).await;
}
