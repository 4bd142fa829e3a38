//! What the running journal promises beside the contract.

use super::sim_disk::SimDisk;
use super::*;
use crate::{AppendError, ReadError, Receipt};

#[tokio::test]
async fn closing_writes_what_was_accepted_and_tells_who_waits() {
    let disk = SimDisk::new();
    let config = LocalConfig {
        sync: SyncPolicy::Interval(std::time::Duration::from_secs(3600)),
        ..sim_config()
    };
    let Stream { journal, mut appender, .. } = Stream::open(&disk, &config).await;
    appender.append(&mut (0..50).map(|n| numbered(n, 100)).collect()).await.unwrap();
    let mut durable = appender.durable();
    let end = vec![(Partition(0), Offset(1_000_000))];
    let mut reader = journal.reader(end).await.unwrap();
    let (waiting, ()) = tokio::join!(reader.next(ALL), journal.close());
    assert!(matches!(waiting, Err(ReadError::Failed(_))), "{waiting:?}");
    assert_eq!(*durable.borrow_and_update(), Receipt(50));
    assert!(durable.changed().await.is_err(), "the watch is closed");
    let refused = appender.append(&mut vec![numbered(50, 1)]).await;
    assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    assert!(appender.flush().await.is_err());
    drop(appender);
    let mut stream = Stream::open(&disk, &config).await;
    assert_eq!(stream.check_all_numbered(str::to_owned).await, 50);
}

#[tokio::test]
async fn small_appends_share_frames() {
    let disk = SimDisk::new();
    let config = LocalConfig { segment_bytes: 1 << 20, ..sim_config() };
    let mut stream = Stream::open(&disk, &config).await;
    for n in 0..2000 {
        // Never waits, so the writer takes what has come together.
        stream.append(vec![numbered(n, 8)]).await;
    }
    stream.appender.flush().await.unwrap();
    let file = disk.content(std::path::Path::new("/sim/00000000000000000000.seg"));
    let frames = file.windows(4).filter(|window| *window == b"KFFR").count();
    assert!(frames < 1500, "{frames} frames for 2000 appends");
    assert_eq!(stream.check_all_numbered(str::to_owned).await, 2000);
}

#[tokio::test]
async fn files_and_tail_give_the_same() {
    let disk = SimDisk::new();
    let config = LocalConfig { segment_bytes: 1 << 20, ..sim_config() };
    let mut stream = Stream::open(&disk, &config).await;
    for n in 0..200 {
        stream.append(vec![numbered(n, n * 31 % 1000)]).await;
        if n % 7 == 0 {
            stream.appender.flush().await.unwrap();
        }
    }
    stream.appender.flush().await.unwrap();
    let read_before = disk.bytes_read();
    let from_tail = read_all(&stream.journal).await;
    assert_eq!(disk.bytes_read(), read_before, "the newest are in memory");
    stream.journal.log.tail.lock().clear();
    let from_files = read_all(&stream.journal).await;
    assert!(disk.bytes_read() > read_before);
    assert_eq!(from_tail, from_files);
}

#[tokio::test]
async fn a_long_journal_is_entered_near_the_wanted_offset() {
    let disk = SimDisk::new();
    let config = LocalConfig {
        segment_bytes: 1 << 20,
        compression: Compression::None,
        tail_cache_bytes: 0,
        ..sim_config()
    };
    let mut stream = Stream::open(&disk, &config).await;
    let records = 4000;
    for n in 0..records {
        stream.append(vec![numbered(n, 1000)]).await;
    }
    stream.appender.flush().await.unwrap();
    // In each of the four segments; one of them is still active.
    for number in (0..records).step_by(397) {
        let before = disk.bytes_read();
        let entry =
            stream.journal.offset_at_time(partition_of(number), i64::try_from(number).unwrap());
        let place = vec![(partition_of(number), entry.await.unwrap())];
        let mut reader = stream.journal.reader(place).await.unwrap();
        let limit = ReadLimit { records: 1, ..ALL };
        assert!(is_numbered(&reader.next(limit).await.unwrap()[0], number));
        let read = disk.bytes_read() - before;
        assert!(read < 1_200_000, "{read} bytes for record {number}");
    }
}

#[tokio::test]
async fn names_of_readers_are_limited() {
    let disk = SimDisk::new();
    let stream = Stream::open(&disk, &sim_config()).await;
    assert!(stream.journal.release(&"x".repeat(255), from_start()).await.is_ok());
    assert!(stream.journal.release(&"x".repeat(256), from_start()).await.is_err());
    assert_eq!(stream.journal.describe().await.unwrap().readers.len(), 1);
}
