//! The files of a journal, format version 1: the one page that describes them, and their limits.
//!
//! A directory holds one stream:
//! ```text
//!   lock                        who has the directory open for writing (text; the lock is flock's)
//!   meta                        what the stream is, and what its named readers have released
//!   00000000000000000000.seg    segments, named by the number of their first record;
//!   00000000000000183020.seg    the last one is active, all others are sealed
//! ```
//! All numbers are little-endian; `crc` is CRC-32C. Records of all partitions share one sequence
//! (`seq`, from 0); offsets count per partition from 0 without gaps and are not stored per record:
//! they follow from the counts in headers, footers and marks.
//!
//! ```text
//! segment   header, frames, and when sealed a footer
//! header    "KFSEGMNT" version:u32 header_len:u32 incarnation:u64 base_seq:u64 created_ms:i64
//!           partitions:u32 base_offset:u64[partitions] crc:u32
//! frame     "KFFR" codec:u8 zero:u8[3] stored_len:u32 raw_len:u32 count:u32 body_crc:u32
//!           base_seq:u64 durable_seq:u64 base_ms:i64 min_ms:i64 max_ms:i64 header_crc:u32
//!           body:u8[stored_len]
//! body      records one after the other (codec 0), or an LZ4 block of them (codec 1)
//! record    partition:varint (timestamp_ms - base_ms):zigzag varint payload_len:varint payload
//! footer    "KFFOOTER" partitions:u32 marks:u32 end_offset:u64[partitions] mark[marks] trailer
//! trailer   footer_len:u32 footer_crc:u32 end_seq:u64 min_ms:i64 max_ms:i64 crc:u32 "KFSEALED"
//! mark      position:u64 seq:u64 max_ms:i64 offset:u64[partitions]
//! meta      "KFSTREAM" version:u32 incarnation:u64 partitions:u32 stream:text readers:u32
//!           (name:text releases:u32 (partition:u16 offset:u64)[releases])[readers] crc:u32
//! text      length:u16 utf-8 bytes
//! ```
//!
//! - **`durable_seq`** of a frame is what the writer had reported as durable when it wrote the
//!   frame. An invalid frame is a torn tail, and is cut, only as long as no later frame shows that
//!   it had been reported durable; otherwise it is damage, and the journal does not open.
//! - **The checksums of frames and footers** start from the CRC of the incarnation, so that what
//!   another stream left on the disk, or what is stored as a payload, is never taken for part of
//!   this one.
//! - **A mark** is a place between two frames: what its offsets name is the first record at or
//!   after it, `max_ms` is the latest time before it in the segment.
//! - **A footer** is synced before the next segment is made, so only the last segment may lack
//!   one, or have one and lack frames before it; if it is damaged it is made again from the frames.
//!   `footer_len` includes the trailer, `footer_crc` covers what is before it; opening a journal
//!   reads headers and trailers only. Whether the frames hold what the trailer and the header of
//!   the next segment say is seen by a reader that comes to their end.

use std::ops::RangeInclusive;

/// What this program writes, and the only version it reads.
pub(super) const VERSION: u32 = 1;

pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"KFSEGMNT";
pub(super) const FRAME_MAGIC: [u8; 4] = *b"KFFR";
pub(super) const FOOTER_MAGIC: [u8; 8] = *b"KFFOOTER";
pub(super) const SEALED_MAGIC: [u8; 8] = *b"KFSEALED";
pub(super) const META_MAGIC: [u8; 8] = *b"KFSTREAM";

/// The frame header, to the end of its checksum.
pub(super) const FRAME_HEADER_BYTES: usize = 68;

/// The end of a footer, which says how long it is.
pub(super) const TRAILER_BYTES: usize = 44;

/// The fixed part of a segment header: everything but the base offsets.
pub(super) const SEGMENT_HEADER_FIXED_BYTES: usize = 48;

/// The fixed part of a mark.
pub(super) const MARK_FIXED_BYTES: usize = 24;

/// Small enough that a reader that wants one record does not unpack much, large enough that LZ4
/// finds repetition and that headers cost nothing.
pub(super) const BLOCK_TARGET_BYTES: usize = 128 * 1024;

/// What a frame may claim to unpack to: bounds allocation when a header lies. Leaves room for the
/// largest record beside a block that was nearly full.
pub(super) const BLOCK_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// The largest record that may be configured.
pub(super) const RECORD_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// Per record: partition, time and length, each at its longest.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 3 + 10 + 5;

/// The least that a record takes: bounds a frame's count.
pub(super) const RECORD_LEAST_BYTES: usize = 3;

/// Segments may be this large. Below, headers dominate (tests use few kilobytes); above, opening
/// after a crash, which checks the last segment, takes long.
pub(super) const SEGMENT_BYTES: RangeInclusive<u64> = 4 * 1024..=4 * 1024 * 1024 * 1024;

/// A name of a stream or a reader: what fits any tool's column.
pub(super) const NAME_LIMIT_BYTES: usize = 255;

/// Named readers of one stream: each is written with every change of any of them.
pub(super) const READERS_LIMIT: usize = 4096;

/// The least distance of two marks: a reader unpacks this much at most to find its place.
const MARK_DISTANCE_LEAST_BYTES: u64 = 64 * 1024;

/// A mark may take this share of the bytes that it covers.
const MARK_SHARE: u64 = 64;

const _: () =
    assert!(BLOCK_TARGET_BYTES + RECORD_LIMIT_BYTES + RECORD_OVERHEAD_BYTES < BLOCK_LIMIT_BYTES);
const _: () = assert!(BLOCK_LIMIT_BYTES < u32::MAX as usize);

/// How far apart marks are: many partitions make large marks, which then are rarer.
pub(super) fn mark_distance_bytes(partitions: usize) -> u64 {
    let mark = u64::try_from(MARK_FIXED_BYTES + 8 * partitions).expect("few partitions");
    MARK_DISTANCE_LEAST_BYTES.max(mark * MARK_SHARE)
}

/// From where the checksums of a stream's frames and footers start.
pub(super) fn salt_of(incarnation: u64) -> u32 {
    crc32c::crc32c(&incarnation.to_le_bytes())
}

/// The file name of the segment that begins with the given record.
pub(super) fn segment_name(base_seq: u64) -> String {
    format!("{base_seq:020}.seg")
}

/// The first record of the segment with this name; `None` when it is another kind of file.
pub(super) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}
