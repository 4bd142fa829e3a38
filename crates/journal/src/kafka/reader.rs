//! Readers: what a thread has fetched is taken from a bounded queue.
//!
//! Guarantees: order of each partition; a dropped `next` loses nothing, since records are taken from the queue only
//! when it returns; a dropped reader returns at once and its thread ends by itself.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::{Entry, Partition, ReadError, ReadLimit, Reader};

/// The thread waits while so many payload bytes are in the queue.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Or so many records.
const QUEUE_RECORDS: usize = 20_000;

/// A reader of some partitions.
pub(super) struct KafkaReader {
    queue: Arc<Queue>,
}

/// Between the thread that fetches and the task that takes.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something came, or it is over.
    came: Notify,
    /// There is room again, or nobody reads any more.
    room: Condvar,
    /// The thread has something to look at.
    bell: Condvar,
}

/// Fails the queue when its thread ends without a word, as by a panic: whoever reads would wait for ever.
pub(super) struct LastWord(pub(super) Arc<Queue>);

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
    failed: Option<ReadError>,
    is_closed: bool,
    /// Of these nothing is wanted for now.
    held: BTreeSet<Partition>,
    /// Something may have come since the thread has looked.
    has_rung: bool,
}

// === impl KafkaReader ===

impl KafkaReader {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl Reader for KafkaReader {
    fn next(&mut self, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            loop {
                let taken = self.queue.take(limit)?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
                self.queue.came.notified().await;
            }
        })
    }

    fn hold(&mut self, partitions: BTreeSet<Partition>) {
        self.queue.waiting.lock().held = partitions;
        self.queue.ring();
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.queue.waiting.lock().is_closed = true;
        self.queue.room.notify_all();
        self.queue.ring();
    }
}

// === impl Queue ===

impl Queue {
    fn take(&self, limit: ReadLimit) -> Result<Vec<Entry>, ReadError> {
        let mut waiting = self.waiting.lock();
        let mut taken: Vec<Entry> = Vec::new();
        let mut bytes = 0_usize;
        while let Some(entry) = waiting.entries.front() {
            bytes = bytes.saturating_add(entry.payload.len());
            let is_full = taken.len() >= limit.records.max(1) || bytes > limit.bytes;
            if is_full && !taken.is_empty() {
                break;
            }
            let entry = waiting.entries.pop_front().expect("it was just looked at");
            waiting.bytes -= entry.payload.len();
            taken.push(entry);
        }
        match &waiting.failed {
            Some(failed) if taken.is_empty() => Err(failed.clone()),
            _ => {
                self.room.notify_all();
                Ok(taken)
            }
        }
    }

    /// Waits until there is room; false when nobody reads any more.
    pub(super) fn has_room(&self) -> bool {
        let mut waiting = self.waiting.lock();
        while !waiting.is_closed
            && (waiting.bytes >= QUEUE_BYTES || waiting.entries.len() >= QUEUE_RECORDS)
        {
            self.room.wait(&mut waiting);
        }
        !waiting.is_closed
    }

    /// Wakes the thread: something has come, or others are wanted.
    pub(super) fn ring(&self) {
        self.waiting.lock().has_rung = true;
        self.bell.notify_all();
    }

    /// Waits until the thread has something to look at, for so long at most; false: it has not.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.has_rung {
            self.bell.wait_for(&mut waiting, time);
        }
        std::mem::take(&mut waiting.has_rung)
    }

    /// The partitions of which nothing is wanted for now.
    pub(super) fn held(&self) -> BTreeSet<Partition> {
        self.waiting.lock().held.clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().is_closed
    }

    pub(super) fn push(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        waiting.bytes += entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
        waiting.entries.extend(entries);
        drop(waiting);
        self.came.notify_one();
    }

    /// Nothing more comes; the first reason stays.
    pub(super) fn fail(&self, why: ReadError) {
        self.waiting.lock().failed.get_or_insert(why);
        self.came.notify_one();
    }
}

// === impl LastWord ===

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.fail(ReadError::Failed("the reading thread has ended".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offset;

    fn entry(offset: u64, bytes: usize) -> Entry {
        let payload = vec![0; bytes].into();
        Entry { partition: Partition(0), offset: Offset(offset), timestamp_ms: 0, payload }
    }

    #[tokio::test]
    async fn what_came_before_a_failure_is_read_first() {
        let queue = Arc::new(Queue::default());
        let mut reader = KafkaReader::new(Arc::clone(&queue));
        queue.push(vec![entry(0, 1)]);
        queue.fail(ReadError::Failed("over".to_owned()));
        let limit = ReadLimit { records: 10, bytes: 10 };
        assert_eq!(reader.next(limit).await.unwrap(), [entry(0, 1)]);
        assert!(matches!(reader.next(limit).await, Err(ReadError::Failed(_))));
    }

    #[tokio::test]
    async fn whoever_reads_hears_of_a_thread_that_has_panicked() {
        let queue = Arc::new(Queue::default());
        let mut reader = KafkaReader::new(Arc::clone(&queue));
        let thread = std::thread::spawn(move || {
            let _last_word = LastWord(queue);
            std::panic::resume_unwind(Box::new("a defect"));
        });
        let limit = ReadLimit { records: 1, bytes: 1 };
        assert!(matches!(reader.next(limit).await, Err(ReadError::Failed(_))));
        assert!(thread.join().is_err());
    }

    #[test]
    fn a_full_queue_has_room_again_when_something_is_taken_or_nobody_reads() {
        let queue = Arc::new(Queue::default());
        assert!(queue.has_room());
        queue.push(vec![entry(0, QUEUE_BYTES)]);
        let waiting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || waiting.has_room());
        assert_eq!(queue.take(ReadLimit { records: 1, bytes: 1 }).unwrap().len(), 1);
        assert!(thread.join().unwrap());
        queue.push(vec![entry(1, QUEUE_BYTES)]);
        let waiting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || waiting.has_room());
        drop(KafkaReader::new(queue));
        assert!(!thread.join().unwrap());
    }
}
