//! The bytes that were fed and not yet consumed: contiguous as far as asked, copied only where a
//! unit lies across two chunks, counted and checksummed as they are consumed.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::crc64::Crc64;

/// Copied at least when a unit runs into the next chunk, so that few copies suffice.
const JOIN_BYTES: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    front: Front,
    /// The chunks after the front. The first `overlap` bytes of the first are in the front as well.
    queue: VecDeque<Bytes>,
    overlap: usize,
    /// Bytes of all chunks in the queue.
    queued: usize,
    /// How long the front must become before another try makes sense.
    needed: usize,
    offset: u64,
    checksum: Crc64,
    /// The chunk at the front from where it is not in the checksum yet: long runs are cheaper.
    unsummed: Bytes,
}

#[derive(Debug)]
enum Front {
    /// The rest of a chunk, as it was fed.
    Chunk(Bytes),
    /// The end of one chunk and the beginning of the next, copied together.
    Joined(BytesMut),
}

// === impl Buffer ===

impl Buffer {
    /// Appends a chunk, without a copy.
    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        if self.available() == 0 {
            self.adopt(chunk);
        } else {
            self.queued += chunk.len();
            self.queue.push_back(chunk);
        }
    }

    /// The contiguous bytes at the front.
    pub(super) fn front(&self) -> &[u8] {
        match &self.front {
            Front::Chunk(bytes) => bytes,
            Front::Joined(bytes) => bytes,
        }
    }

    /// Bytes fed and not consumed.
    pub(super) fn available(&self) -> usize {
        self.front().len() + self.queued - self.overlap
    }

    /// Bytes consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Checksum of the bytes consumed.
    pub(super) fn checksum(&mut self) -> u64 {
        self.settle();
        self.checksum.value()
    }

    /// Bytes that must at least be fed before what was asked for last is contiguous.
    pub(super) fn missing(&self) -> usize {
        self.needed.saturating_sub(self.available())
    }

    /// Makes at least `total` bytes contiguous at the front; `false` if they were not fed yet,
    /// and then nothing was copied.
    pub(super) fn require(&mut self, total: usize) -> bool {
        self.needed = total;
        if self.available() < total {
            return false;
        }
        while self.front().len() < total {
            self.join(total - self.front().len());
        }
        true
    }

    /// Whether what was required last is there by now, and makes it contiguous.
    pub(super) fn satisfied(&mut self) -> bool {
        self.front().len() >= self.needed || self.require(self.needed)
    }

    /// Consumes `len` bytes of the front, without a copy.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        let len = len.min(self.front().len());
        let taken = match &mut self.front {
            Front::Chunk(bytes) => bytes.split_to(len),
            Front::Joined(bytes) => {
                let taken = bytes.split_to(len).freeze();
                self.checksum.update(&taken);
                taken
            }
        };
        self.consumed(len);
        taken
    }

    /// All bytes that are left, neither counted nor checksummed.
    pub(super) fn drain(&mut self) -> Bytes {
        self.unsummed.clear();
        if self.queue.is_empty() {
            return match std::mem::take(&mut self.front) {
                Front::Chunk(bytes) => bytes,
                Front::Joined(bytes) => bytes.freeze(),
            };
        }
        let mut all = BytesMut::with_capacity(self.available());
        all.extend_from_slice(self.front());
        for (index, chunk) in self.queue.drain(..).enumerate() {
            let known = if index == 0 { self.overlap } else { 0 };
            all.extend_from_slice(chunk.get(known..).unwrap_or_default());
        }
        self.front = Front::default();
        (self.queued, self.overlap) = (0, 0);
        all.freeze()
    }

    /// Copies bytes of the queue behind the front, at least one and about `missing` of them, which
    /// are all there.
    fn join(&mut self, missing: usize) {
        self.settle();
        let Some(chunk) = self.queue.front() else { return };
        let wanted = missing.max(JOIN_BYTES);
        let end = chunk.len().min(self.overlap.saturating_add(wanted));
        let more = chunk.get(self.overlap..end).unwrap_or_default();
        match &mut self.front {
            Front::Joined(bytes) => {
                bytes.reserve(wanted);
                bytes.extend_from_slice(more);
            }
            Front::Chunk(bytes) => {
                let mut joined = BytesMut::with_capacity(bytes.len() + wanted);
                joined.extend_from_slice(bytes);
                joined.extend_from_slice(more);
                self.unsummed.clear();
                self.front = Front::Joined(joined);
            }
        }
        self.overlap = end;
        if end == chunk.len() {
            self.queued -= end;
            self.overlap = 0;
            self.queue.pop_front();
        }
    }

    fn consumed(&mut self, len: usize) {
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        self.needed = 0;
        let left = self.front().len();
        // What is left of the front is also at the front of the next chunk: go on there, uncopied.
        if (left <= self.overlap || left == 0)
            && let Some(mut chunk) = self.queue.pop_front()
        {
            self.queued -= chunk.len();
            drop(chunk.split_to(self.overlap - left));
            self.overlap = 0;
            self.adopt(chunk);
        }
    }

    /// Goes on at the beginning of `chunk`.
    fn adopt(&mut self, chunk: Bytes) {
        self.settle();
        self.unsummed = chunk.clone();
        self.front = Front::Chunk(chunk);
    }

    /// Brings the checksum up to what was consumed.
    fn settle(&mut self) {
        if let Front::Chunk(rest) = &self.front {
            let consumed = self.unsummed.len() - rest.len();
            self.checksum.update(&self.unsummed.split_to(consumed));
        }
    }
}

// === impl Front ===

impl Default for Front {
    fn default() -> Self {
        Self::Chunk(Bytes::new())
    }
}
