//! Segment files apart from their frames: the header, the footer, and the marks in it.

use std::sync::Arc;

use crate::{Offset, Partition};

use super::fields::{Fields, put_count, put_u64s};
use super::format::{
    FOOTER_MAGIC, MARK_FIXED_BYTES, SEALED_MAGIC, SEGMENT_HEADER_FIXED_BYTES, SEGMENT_MAGIC,
    TRAILER_BYTES, VERSION,
};

/// Where a segment begins, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) incarnation: u64,
    /// The number of the first record.
    pub(super) base_seq: u64,
    pub(super) created_ms: i64,
    /// Per partition, the offset of the first record in or after this segment.
    pub(super) base: Arc<[u64]>,
}

/// A place between two frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The byte in the file.
    pub(super) position: u64,
    /// The number of the next record.
    pub(super) seq: u64,
    /// The latest time of the records before it in the segment.
    pub(super) max_ms: i64,
    /// Per partition, the offset of the first record at or after it.
    pub(super) next: Arc<[u64]>,
}

/// What a sealed segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Per partition, the offset of the first record after this segment.
    pub(super) end: Arc<[u64]>,
    pub(super) marks: Vec<Mark>,
}

/// The end of a footer: what is needed of every segment when a journal is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// The length of the whole footer, this included.
    pub(super) footer_len: u32,
    footer_crc: u32,
    /// The number of the first record after this segment.
    pub(super) end_seq: u64,
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
}

/// Why bytes are not the header of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderDefect {
    /// They are cut off, or a checksum does not match.
    Damaged,
    /// Written by another version of the format.
    Version(u32),
}

// === impl SegmentHeader ===

impl SegmentHeader {
    /// How many bytes it takes in the file.
    pub(super) fn file_bytes(&self) -> u64 {
        Self::bytes_for(self.base.len())
    }

    /// How many bytes a header takes for so many partitions.
    pub(super) fn bytes_for(partitions: usize) -> u64 {
        u64::try_from(SEGMENT_HEADER_FIXED_BYTES + 8 * partitions).expect("few partitions")
    }

    /// The place of the first frame.
    pub(super) fn first_mark(&self) -> Mark {
        Mark {
            position: self.file_bytes(),
            seq: self.base_seq,
            max_ms: i64::MIN,
            next: Arc::clone(&self.base),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_count(&mut out, SEGMENT_HEADER_FIXED_BYTES + 8 * self.base.len());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.base_seq.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        put_count(&mut out, self.base.len());
        put_u64s(&mut out, &self.base);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header at the front of `bytes`, which may go on with frames.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeaderDefect> {
        let mut fields = Fields::new(bytes);
        if fields.array() != Some(SEGMENT_MAGIC) {
            return Err(HeaderDefect::Damaged);
        }
        let version = fields.u32().ok_or(HeaderDefect::Damaged)?;
        if version != VERSION {
            return Err(HeaderDefect::Version(version));
        }
        Self::fields(bytes, &mut fields).ok_or(HeaderDefect::Damaged)
    }

    fn fields(bytes: &[u8], fields: &mut Fields<'_>) -> Option<Self> {
        let length = fields.count()?;
        let header = Self {
            incarnation: fields.u64()?,
            base_seq: fields.u64()?,
            created_ms: fields.i64()?,
            base: {
                let partitions = fields.count()?;
                fields.u64s(partitions)?.into()
            },
        };
        let signed = bytes.get(..length.checked_sub(4)?)?;
        let crc = fields.u32()?;
        let whole = header.file_bytes() == u64::try_from(length).ok()?;
        (whole && crc32c::crc32c(signed) == crc).then_some(header)
    }
}

// === impl Footer ===

impl Footer {
    /// The footer with its trailer; `end` is where the segment's frames end.
    pub(super) fn encode(end: &Mark, min_ms: i64, marks: &[Mark], salt: u32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&FOOTER_MAGIC);
        put_count(&mut out, end.next.len());
        put_count(&mut out, marks.len());
        put_u64s(&mut out, &end.next);
        for mark in marks {
            out.extend_from_slice(&mark.position.to_le_bytes());
            out.extend_from_slice(&mark.seq.to_le_bytes());
            out.extend_from_slice(&mark.max_ms.to_le_bytes());
            put_u64s(&mut out, &mark.next);
        }
        let footer_len = u32::try_from(out.len() + TRAILER_BYTES).expect("marks are limited");
        let footer_crc = crc32c::crc32c_append(salt, &out);
        let (end_seq, max_ms) = (end.seq, end.max_ms);
        Trailer { footer_len, footer_crc, end_seq, min_ms, max_ms }.write(&mut out, salt);
        out
    }

    /// Reads a whole footer with its trailer.
    pub(super) fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let (body, trailer) = bytes.split_last_chunk::<TRAILER_BYTES>()?;
        let trailer = Trailer::parse(trailer, salt)?;
        let length = usize::try_from(trailer.footer_len).ok()?;
        if length != bytes.len() || crc32c::crc32c_append(salt, body) != trailer.footer_crc {
            return None;
        }
        let mut fields = Fields::new(body);
        if fields.array() != Some(FOOTER_MAGIC) {
            return None;
        }
        let (partitions, marks) = (fields.count()?, fields.count()?);
        let end = fields.u64s(partitions)?.into();
        if fields.remaining() != marks.checked_mul(MARK_FIXED_BYTES + 8 * partitions)? {
            return None;
        }
        let marks: Option<Vec<_>> =
            (0..marks).map(|_| Mark::parse(&mut fields, partitions)).collect();
        Some(Self { end, marks: marks? })
    }
}

// === impl Trailer ===

impl Trailer {
    fn write(self, out: &mut Vec<u8>, salt: u32) {
        let begin = out.len();
        out.extend_from_slice(&self.footer_len.to_le_bytes());
        out.extend_from_slice(&self.footer_crc.to_le_bytes());
        out.extend_from_slice(&self.end_seq.to_le_bytes());
        out.extend_from_slice(&self.min_ms.to_le_bytes());
        out.extend_from_slice(&self.max_ms.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, out.get(begin..).expect("begin was the length"));
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&SEALED_MAGIC);
    }

    /// Reads the last bytes of a sealed segment.
    pub(super) fn parse(bytes: &[u8; TRAILER_BYTES], salt: u32) -> Option<Self> {
        let (signed, _) = bytes.split_at(TRAILER_BYTES - 12);
        let mut fields = Fields::new(bytes);
        let trailer = Self {
            footer_len: fields.u32()?,
            footer_crc: fields.u32()?,
            end_seq: fields.u64()?,
            min_ms: fields.i64()?,
            max_ms: fields.i64()?,
        };
        let whole = fields.u32() == Some(crc32c::crc32c_append(salt, signed));
        (whole && fields.array() == Some(SEALED_MAGIC)).then_some(trailer)
    }
}

// === impl Mark ===

impl Mark {
    /// Whether no record with one of the given offsets, or a later one, comes before it.
    pub(super) fn is_before(&self, offsets: &[(Partition, Offset)]) -> bool {
        offsets.iter().all(|(partition, offset)| {
            self.next.get(usize::from(partition.0)).is_none_or(|next| *next <= offset.0)
        })
    }

    /// Whether frames that were read up to here had the records that this says: all before number
    /// `seq`, and of some partitions, by their numbers, those before these offsets. The error says
    /// what differs.
    pub(super) fn check_reached(
        &self,
        seq: u64,
        offsets: impl IntoIterator<Item = (usize, u64)>,
    ) -> Result<(), String> {
        if seq != self.seq {
            let says = self.seq;
            return Err(format!(
                "its frames hold the records before number {seq}, its index says {says}"
            ));
        }
        for (partition, offset) in offsets {
            let says = self.next.get(partition).copied().unwrap_or_default();
            if offset != says {
                return Err(format!(
                    "its frames hold partition {partition} before offset {offset}, its index says \
                     {says}"
                ));
            }
        }
        Ok(())
    }

    fn parse(fields: &mut Fields<'_>, partitions: usize) -> Option<Self> {
        Some(Self {
            position: fields.u64()?,
            seq: fields.u64()?,
            max_ms: fields.i64()?,
            next: fields.u64s(partitions)?.into(),
        })
    }
}

#[cfg(test)]
mod tests;
