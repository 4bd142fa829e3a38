//! The memory backend keeps the contract, and its hooks do what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::poll_immediate;

use super::*;
use crate::ReadLimit;
use crate::conformance::Backend;

const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

#[derive(Default)]
struct Memory {
    streams: AtomicUsize,
}

impl Backend for Memory {
    fn create(&self, partitions: u16) -> BoxFuture<'_, Arc<dyn Journal>> {
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        let journal = MemoryJournal::new(&format!("stream-{number}"), partitions);
        ready(Arc::new(journal.with_max_record_bytes(100_000)))
    }

    fn reopen(&self, journal: Arc<dyn Journal>) -> BoxFuture<'_, Arc<dyn Journal>> {
        ready(journal)
    }
}

crate::conformance_tests!(Memory::default());

fn record(text: &'static str) -> Append {
    Append {
        partition: Partition(0),
        key: Bytes::new(),
        timestamp_ms: 0,
        kind: "test",
        db: 0,
        payload: Bytes::from_static(text.as_bytes()),
    }
}

async fn read(journal: &MemoryJournal, from: u64) -> Vec<Bytes> {
    let mut reader = journal.reader(vec![(Partition(0), Offset(from))]).await.unwrap();
    reader.next(ALL).await.unwrap().into_iter().map(|entry| entry.payload).collect()
}

#[tokio::test]
async fn held_durability_is_told_when_it_is_released() {
    let journal = MemoryJournal::new("s", 1);
    let mut appender = journal.appender().await.unwrap();
    journal.hold_durability();
    appender.append(&mut vec![record("a"), record("b")]).await.unwrap();
    assert_eq!(*appender.durable().borrow(), Receipt(0));
    let range = journal.describe().await.unwrap().partitions[0];
    assert_eq!((range.durable, range.end), (Offset(0), Offset(2)));
    assert_eq!(read(&journal, 0).await, ["a", "b"]);
    assert!(poll_immediate(appender.flush()).await.is_none());
    journal.release_durability();
    assert_eq!(appender.flush().await.unwrap(), Receipt(2));
}

#[tokio::test]
async fn a_crash_takes_what_is_not_durable_and_fences() {
    let journal = MemoryJournal::new("s", 1);
    let mut appender = journal.appender().await.unwrap();
    appender.append(&mut vec![record("kept")]).await.unwrap();
    let mut ahead = journal.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
    let mut behind = journal.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
    journal.hold_durability();
    appender.append(&mut vec![record("lost")]).await.unwrap();
    assert_eq!(ahead.next(ALL).await.unwrap().len(), 2);
    journal.crash();
    let refused = appender.append(&mut vec![record("late")]).await;
    assert!(matches!(refused, Err(AppendError::Fenced { .. })), "{refused:?}");
    assert!(appender.durable().has_changed().is_err(), "the watch is closed");

    let mut successor = journal.appender().await.unwrap();
    successor.append(&mut vec![record("new")]).await.unwrap();
    assert!(matches!(ahead.next(ALL).await, Err(ReadError::Failed(_))));
    let texts: Vec<_> = behind.next(ALL).await.unwrap().into_iter().map(|e| e.payload).collect();
    assert_eq!(texts, ["kept", "new"]);
}

#[tokio::test]
async fn a_stall_is_waited_out_and_told() {
    let journal = MemoryJournal::new("s", 1);
    let mut appender = journal.appender().await.unwrap();
    journal.stall("no room on the moon");
    let health = appender.health();
    assert_eq!(*health.borrow(), Health::Stalled("no room on the moon".to_owned()));
    let mut batch = vec![record("a")];
    {
        let append = appender.append(&mut batch);
        tokio::pin!(append);
        assert!(poll_immediate(&mut append).await.is_none());
        journal.resume();
        assert_eq!(append.await.unwrap(), Receipt(1));
    }
    assert_eq!(*health.borrow(), Health::Accepting);
    assert_eq!(read(&journal, 0).await, ["a"]);
}

#[tokio::test]
async fn a_failure_is_for_good() {
    let journal = MemoryJournal::new("s", 1);
    let mut appender = journal.appender().await.unwrap();
    journal.hold_durability();
    appender.append(&mut vec![record("a")]).await.unwrap();
    let durable = appender.durable();
    {
        let flush = appender.flush();
        tokio::pin!(flush);
        assert!(poll_immediate(&mut flush).await.is_none());
        journal.fail("the disk is gone");
        assert!(matches!(flush.await, Err(AppendError::Failed(why)) if why == "the disk is gone"));
    }
    assert!(durable.has_changed().is_err(), "the watch is closed");
    assert!(appender.append(&mut vec![record("b")]).await.is_err());
    let mut second = journal.appender().await.unwrap();
    assert!(second.append(&mut vec![record("b")]).await.is_err());
}
