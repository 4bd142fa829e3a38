//! The newest frames, unpacked, in memory: readers that keep up never touch the disk.
//!
//! Bounded in bytes; the oldest frame goes first. Readers share the bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::block::{Block, Records};

/// What a frame costs beside its records: its place in the queue and its allocation.
const FRAME_OVERHEAD_BYTES: usize = 128;

/// The newest frames.
#[derive(Debug)]
pub(super) struct Tail {
    frames: VecDeque<TailFrame>,
    bytes: usize,
    limit_bytes: usize,
}

/// Where a reader continues after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The segment, by its first record.
    pub(super) segment: u64,
    /// The byte in the segment's file.
    pub(super) position: u64,
    /// The number of the next record.
    pub(super) seq: u64,
}

#[derive(Debug)]
struct TailFrame {
    base_seq: u64,
    count: u32,
    base_ms: i64,
    bytes: Bytes,
    after: Place,
}

// === impl Tail ===

impl Tail {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, limit_bytes }
    }

    /// Adds the frame that was written last; `after` is where the next one will be. Buffers that
    /// nobody needs any more go to `spares`.
    pub(super) fn push(&mut self, block: Block, after: Place, spares: &mut Vec<Vec<u8>>) {
        let Block { base_seq, count, base_ms, bytes, .. } = block;
        if self.limit_bytes == 0 {
            spares.push(bytes);
            return;
        }
        // A block that was taken early has room for many more records.
        let bytes = match bytes.len() < bytes.capacity() / 2 {
            true => {
                let copy = Bytes::copy_from_slice(&bytes);
                spares.push(bytes);
                copy
            }
            false => bytes.into(),
        };
        self.bytes += bytes.len() + FRAME_OVERHEAD_BYTES;
        self.frames.push_back(TailFrame { base_seq, count, base_ms, bytes, after });
        while self.bytes > self.limit_bytes {
            let Some(TailFrame { bytes, .. }) = self.frames.pop_front() else { return };
            self.bytes -= bytes.len() + FRAME_OVERHEAD_BYTES;
            if bytes.is_unique() {
                spares.push(bytes.into());
            }
        }
    }

    /// Forgets everything, so that readers have to go to the files.
    #[cfg(test)]
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// The frame that begins with this record, and where to go on.
    pub(super) fn get(&self, seq: u64) -> Option<(Records, Place)> {
        let place = self.frames.partition_point(|frame| frame.base_seq < seq);
        let frame = self.frames.get(place).filter(|frame| frame.base_seq == seq)?;
        let records = Records::new(frame.bytes.clone(), frame.count, frame.base_ms);
        Some((records, frame.after))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Append, Partition};

    fn block(base_seq: u64, payload: usize) -> Block {
        let mut block = Block::new(base_seq, Arc::from([0]), 0, None);
        block.push(&Append {
            partition: Partition(0),
            key: Bytes::new(),
            timestamp_ms: 0,
            kind: "test",
            db: 0,
            payload: vec![1; payload].into(),
        });
        block
    }

    fn place(seq: u64) -> Place {
        Place { segment: 0, position: seq * 100, seq }
    }

    #[test]
    fn the_oldest_frames_go_when_the_limit_is_reached() {
        let (mut tail, mut spares) = (Tail::new(2_000), Vec::new());
        for seq in 0..10 {
            tail.push(block(seq, 500), place(seq + 1), &mut spares);
        }
        assert!(tail.bytes <= 2_000);
        assert!(tail.get(6).is_none() && tail.get(10).is_none());
        assert!((7..10).all(|seq| tail.get(seq).is_some_and(|(_, after)| after == place(seq + 1))));
        assert_eq!(spares.len(), 7, "their buffers are used again");
        let read = tail.get(9);
        tail.push(block(10, 5_000), place(11), &mut spares);
        assert_eq!((tail.frames.len(), tail.bytes), (0, 0));
        assert_eq!(spares.len(), 10, "except while somebody reads them");
        drop(read);
    }

    #[test]
    fn a_record_inside_a_frame_is_not_its_beginning() {
        let mut tail = Tail::new(100_000);
        let mut two = block(0, 10);
        two.push(&Append { partition: Partition(0), ..append() });
        tail.push(two, place(2), &mut Vec::new());
        assert!(tail.get(0).is_some() && tail.get(1).is_none());
    }

    fn append() -> Append {
        Append {
            partition: Partition(0),
            key: Bytes::new(),
            timestamp_ms: 7,
            kind: "test",
            db: 0,
            payload: Bytes::new(),
        }
    }
}
