//! One frame: a header and a block of records, packed when that helps.
//!
//! Guarantees: what was packed is unpacked to the same records; any change of any bit is noticed;
//! nothing is allocated on the word of a header before its checksum and limits are checked.

use bytes::Bytes;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::Compression;
use super::block::{Block, Records};
use super::fields::Fields;
use super::format::{
    BLOCK_LIMIT_BYTES, BLOCK_TARGET_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, RECORD_LEAST_BYTES,
};

/// Records as they are.
const CODEC_NONE: u8 = 0;
/// Records as one LZ4 block.
const CODEC_LZ4: u8 = 1;

/// The buffer of a block that was larger than this, for a very large record, is not kept.
const KEPT_BUFFER_BYTES: usize = 2 * BLOCK_TARGET_BYTES;

/// Packing has to save this share: it takes more time than the system does to write and read a block twice as large.
const LEAST_SAVING_SHARE: usize = 3;
/// Below this there is nothing to find.
const LEAST_PACKED_BYTES: usize = 128;
/// After a block that did not pack, so many are stored as they are before it is tried again: data
/// that is compressed already comes in long runs.
const RUN_OF_UNPACKED: u32 = 15;

/// What a frame's header says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    codec: u8,
    stored_len: u32,
    raw_len: u32,
    pub(super) count: u32,
    body_crc: u32,
    pub(super) base_seq: u64,
    pub(super) durable_seq: u64,
    base_ms: i64,
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
}

/// Why bytes are not a frame of this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// There are fewer bytes than a frame takes.
    Short,
    /// They are something else.
    NotAFrame,
    /// They were a frame once.
    Damaged(&'static str),
}

/// Packs blocks into frames. Keeps its tables between them.
pub(super) struct Packer {
    compression: Compression,
    salt: u32,
    table: CompressTable,
    packed: Vec<u8>,
    skip: u32,
}

// === impl FrameHeader ===

impl FrameHeader {
    /// Reads a header at the front of `bytes`; the checksum starts from `salt`.
    pub(super) fn parse(bytes: &[u8], salt: u32) -> Result<Self, Defect> {
        let Some(bytes) = bytes.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(match FRAME_MAGIC.starts_with(bytes) || bytes.starts_with(&FRAME_MAGIC) {
                true => Defect::Short,
                false => Defect::NotAFrame,
            });
        };
        let (signed, crc) = bytes.split_at(FRAME_HEADER_BYTES - 4);
        let mut fields = Fields::new(signed);
        if fields.array() != Some(FRAME_MAGIC) {
            return Err(Defect::NotAFrame);
        }
        if crc32c::crc32c_append(salt, signed).to_le_bytes() != crc {
            return Err(Defect::Damaged("the checksum of a frame's header does not match"));
        }
        let header = Self::fields(&mut fields).ok_or(Defect::NotAFrame)?;
        match header.is_possible() {
            true => Ok(header),
            false => Err(Defect::Damaged("a frame's header is beyond the limits")),
        }
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        let [codec, _, _, _] = fields.array()?;
        Some(Self {
            codec,
            stored_len: fields.u32()?,
            raw_len: fields.u32()?,
            count: fields.u32()?,
            body_crc: fields.u32()?,
            base_seq: fields.u64()?,
            durable_seq: fields.u64()?,
            base_ms: fields.i64()?,
            min_ms: fields.i64()?,
            max_ms: fields.i64()?,
        })
    }

    fn is_possible(&self) -> bool {
        let raw = self.raw_bytes();
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        raw <= BLOCK_LIMIT_BYTES
            && self.body_bytes() <= raw
            && count <= raw / RECORD_LEAST_BYTES
            && self.base_seq.checked_add(u64::from(self.count)).is_some()
            && match self.codec {
                CODEC_NONE => self.stored_len == self.raw_len,
                CODEC_LZ4 => true,
                _ => false,
            }
    }

    fn write(&self, out: &mut Vec<u8>, salt: u32) {
        let begin = out.len();
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&[self.codec, 0, 0, 0]);
        for number in [self.stored_len, self.raw_len, self.count, self.body_crc] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.base_seq, self.durable_seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.base_ms, self.min_ms, self.max_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let signed = out.get(begin..).expect("begin was the length");
        let crc = crc32c::crc32c_append(salt, signed);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// The number of the record after the last.
    pub(super) fn end_seq(&self) -> u64 {
        self.base_seq + u64::from(self.count)
    }

    /// The length of the body in the file.
    pub(super) fn body_bytes(&self) -> usize {
        usize::try_from(self.stored_len).unwrap_or(usize::MAX)
    }

    fn raw_bytes(&self) -> usize {
        usize::try_from(self.raw_len).unwrap_or(usize::MAX)
    }

    /// The length of the whole frame in the file.
    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes()
    }

    /// Whether `body` is the one that was written.
    pub(super) fn check(&self, body: &[u8], salt: u32) -> Result<(), Defect> {
        let same =
            body.len() == self.body_bytes() && crc32c::crc32c_append(salt, body) == self.body_crc;
        same.then_some(()).ok_or(Defect::Damaged("the checksum of a frame does not match"))
    }

    /// The records of a body that has been checked.
    pub(super) fn unpack(&self, body: Bytes) -> Result<Records, Defect> {
        let raw = match self.codec {
            CODEC_LZ4 => lz4_flex::block::decompress(&body, self.raw_bytes())
                .map_err(|_| Defect::Damaged("a frame does not unpack"))?
                .into(),
            _ => body,
        };
        if raw.len() != self.raw_bytes() {
            return Err(Defect::Damaged("a frame unpacks to another length"));
        }
        Ok(Records::new(raw, self.count, self.base_ms))
    }
}

// === impl Packer ===

impl Packer {
    pub(super) fn new(compression: Compression, salt: u32) -> Self {
        let (table, packed) = (CompressTable::large(), Vec::new());
        Self { compression, salt, table, packed, skip: 0 }
    }

    /// Appends the block as a frame to `out`, and returns its header.
    pub(super) fn pack(
        &mut self,
        block: &Block,
        durable_seq: u64,
        out: &mut Vec<u8>,
    ) -> FrameHeader {
        let packed = self.compress(&block.bytes);
        let (codec, body) = match packed {
            Some(length) => (CODEC_LZ4, self.packed.get(..length).expect("it was written there")),
            None => (CODEC_NONE, block.bytes.as_slice()),
        };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("blocks are limited");
        let header = FrameHeader {
            codec,
            stored_len: length(body),
            raw_len: length(&block.bytes),
            count: block.count,
            body_crc: crc32c::crc32c_append(self.salt, body),
            base_seq: block.base_seq,
            durable_seq,
            base_ms: block.base_ms,
            min_ms: block.min_ms,
            max_ms: block.max_ms,
        };
        out.reserve(FRAME_HEADER_BYTES + body.len());
        header.write(out, self.salt);
        out.extend_from_slice(body);
        if self.packed.len() > KEPT_BUFFER_BYTES {
            self.packed = Vec::new();
        }
        header
    }

    /// The packed length when packing helps; the bytes are then at the front of `self.packed`.
    fn compress(&mut self, raw: &[u8]) -> Option<usize> {
        if self.compression == Compression::None || raw.len() < LEAST_PACKED_BYTES {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let room = get_maximum_output_size(raw.len());
        if self.packed.len() < room {
            self.packed.resize(room, 0);
        }
        let length = compress_into_with_table(raw, &mut self.packed, &mut self.table).ok()?;
        if length <= raw.len() - raw.len() / LEAST_SAVING_SHARE {
            return Some(length);
        }
        self.skip = RUN_OF_UNPACKED;
        None
    }
}

#[cfg(test)]
mod tests;
