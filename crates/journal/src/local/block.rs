//! The records of one frame, unpacked: built record by record, read record by record.
//!
//! Building copies each payload once, into one buffer. Reading gives ranges of the buffer, so
//! that payloads are slices of it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::fields::{Fields, put_varint, put_zigzag};
use super::format::RECORD_OVERHEAD_BYTES;
use crate::Append;

/// Records that will be one frame.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    /// The number of the first record.
    pub(super) base_seq: u64,
    /// Per partition, the offset that the first record at or after this block gets.
    pub(super) start: Arc<[u64]>,
    /// The first record's time; others are stored relative to it.
    pub(super) base_ms: i64,
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
}

/// One record inside a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) partition: u16,
    pub(super) timestamp_ms: i64,
    /// Where in the block its payload is.
    pub(super) payload: Range<usize>,
}

/// Walks over the records of an unpacked block.
#[derive(Clone, Debug)]
pub(super) struct Records {
    bytes: Bytes,
    at: usize,
    left: u32,
    base_ms: i64,
}

// === impl Block ===

impl Block {
    /// An empty block; `base_ms` is its first record's time. The buffer is used if there is one.
    pub(super) fn new(
        base_seq: u64,
        start: Arc<[u64]>,
        base_ms: i64,
        buffer: Option<Vec<u8>>,
    ) -> Self {
        let (min_ms, max_ms) = (base_ms, base_ms);
        let mut bytes = buffer.unwrap_or_default();
        bytes.clear();
        Self { bytes, count: 0, base_seq, start, base_ms, min_ms, max_ms }
    }

    /// What a record adds at most.
    pub(super) fn cost(record: &Append) -> usize {
        RECORD_OVERHEAD_BYTES + record.payload.len()
    }

    #[inline]
    pub(super) fn push(&mut self, record: &Append) {
        self.bytes.reserve(Self::cost(record));
        put_varint(&mut self.bytes, u64::from(record.partition.0));
        // Wrapping, as reading is: times may be anything, also the extremes of their type.
        put_zigzag(&mut self.bytes, record.timestamp_ms.wrapping_sub(self.base_ms));
        put_varint(&mut self.bytes, u64::try_from(record.payload.len()).expect("fits 64 bits"));
        self.bytes.extend_from_slice(&record.payload);
        self.count += 1;
        self.min_ms = self.min_ms.min(record.timestamp_ms);
        self.max_ms = self.max_ms.max(record.timestamp_ms);
    }
}

// === impl Records ===

impl Records {
    pub(super) fn new(bytes: Bytes, count: u32, base_ms: i64) -> Self {
        Self { bytes, at: 0, left: count, base_ms }
    }

    /// The next record, `None` after the last. An error says that the block is not one.
    #[inline]
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, &'static str> {
        if self.left == 0 {
            return match self.at == self.bytes.len() {
                true => Ok(None),
                false => Err("bytes are left after the last record"),
            };
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (record, taken) = parse(rest, self.base_ms).ok_or("a record does not end")?;
        let payload = record.payload.start + self.at..record.payload.end + self.at;
        self.at += taken;
        self.left -= 1;
        Ok(Some(Record { payload, ..record }))
    }

    /// Adds those that are left to the offsets of their partitions.
    pub(super) fn count_into(mut self, next: &mut [u64]) -> Result<(), &'static str> {
        while let Some(record) = self.next_record()? {
            let next = next.get_mut(usize::from(record.partition));
            *next.ok_or("a record names a partition that does not exist")? += 1;
        }
        Ok(())
    }

    /// Goes back to `at`, where the record returned last begins.
    pub(super) fn put_back(&mut self, at: usize) {
        self.at = at;
        self.left += 1;
    }

    /// Where the next record begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The payload of a record, without copying.
    pub(super) fn payload(&self, record: &Record) -> Bytes {
        self.bytes.slice(record.payload.clone())
    }
}

/// The record at the front, with its payload relative to the front, and its whole length.
#[inline]
fn parse(bytes: &[u8], base_ms: i64) -> Option<(Record, usize)> {
    let mut fields = Fields::new(bytes);
    let partition = u16::try_from(fields.varint()?).ok()?;
    let timestamp_ms = base_ms.wrapping_add(fields.zigzag()?);
    let length = usize::try_from(fields.varint()?).ok()?;
    let start = bytes.len() - fields.remaining();
    fields.bytes(length)?;
    let end = start + length;
    Some((Record { partition, timestamp_ms, payload: start..end }, end))
}
