//! What fuzz targets run over what may be a damaged disk, and what must hold whatever the bytes are.
//!
//! The targets under `tests/fuzz` are one line each over these functions. Checksums would keep a fuzzer out of
//! everything behind them, so each function reads the bytes as they are, and then once more with checksums that match.

mod disk;
mod reading;
mod script;
#[cfg(test)]
#[path = "../../../../tests/fuzz/seeds.rs"]
mod seeds;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use self::disk::MemoryDisk;
use self::script::Script;
use super::Compression;
use super::block::{Block, Record, Records};
use super::format::{
    FOOTER_MAGIC, FRAME_HEADER_BYTES, FRAME_MAGIC, META_MAGIC, RECORD_LEAST_BYTES, SEALED_MAGIC,
    SEGMENT_MAGIC, TRAILER_BYTES, VERSION,
};
use super::frame::{FrameHeader, Packer};
use super::meta::Meta;
use super::recover::{Opened, Recovery};
use super::segment::{Footer, Mark, SegmentHeader, Trailer};
use crate::{Append, OpenError, Partition};

/// From where the checksums of the fuzzed stream start.
const SALT: u32 = 7;
/// Where a frame's header has the checksum of the body.
const BODY_CRC_AT: usize = 20;

// --- frames

/// Bytes as a frame: a header and the body behind it. Its records are within the body, and packed again are the same.
///
/// # Panics
/// When that does not hold.
pub fn frame(data: &[u8]) {
    read_frame(data);
    let Some((header, body)) = data.split_first_chunk::<FRAME_HEADER_BYTES>() else { return };
    let mut header = *header;
    put(&mut header, 0, &FRAME_MAGIC);
    put(&mut header, BODY_CRC_AT, &crc32c::crc32c_append(SALT, body).to_le_bytes());
    seal(&mut header, SALT);
    read_frame(&[header.as_slice(), body].concat());
}

fn read_frame(bytes: &[u8]) {
    let Ok(header) = FrameHeader::parse(bytes, SALT) else { return };
    assert!(header.end_seq() >= header.base_seq);
    let Some(body) = bytes.get(FRAME_HEADER_BYTES..header.frame_bytes()) else { return };
    if header.check(body, SALT).is_err() {
        return;
    }
    let Ok(mut records) = header.unpack(Bytes::copy_from_slice(body)) else { return };
    let Ok(found) = all_of(&mut records) else { return };
    assert_eq!(u32::try_from(found.len()), Ok(header.count));
    let Some((first, _)) = found.first() else { return };
    let mut block = Block::new(header.base_seq, Arc::from([0]), first.timestamp_ms, None);
    for (record, payload) in &found {
        block.push(&append(record.partition, record.timestamp_ms, payload.clone()));
    }
    let mut out = Vec::new();
    let packed = Packer::new(Compression::Lz4, SALT).pack(&block, header.durable_seq, &mut out);
    assert_eq!(FrameHeader::parse(&out, SALT).as_ref(), Ok(&packed));
    let body = out.split_off(FRAME_HEADER_BYTES);
    assert_eq!(packed.check(&body, SALT), Ok(()));
    let mut again = packed.unpack(body.into()).expect("what was packed");
    let again = all_of(&mut again).expect("what was packed");
    let content = |all: &[(Record, Bytes)]| -> Vec<_> {
        all.iter().map(|(r, bytes)| (r.partition, r.timestamp_ms, bytes.clone())).collect()
    };
    assert_eq!(content(&again), content(&found));
}

/// All records with their payloads.
fn all_of(records: &mut Records) -> Result<Vec<(Record, Bytes)>, &'static str> {
    let mut found = Vec::new();
    let mut at = records.position();
    while let Some(record) = records.next_record()? {
        assert!(records.position() >= at + RECORD_LEAST_BYTES);
        at = records.position();
        assert_eq!(record.payload.end, at);
        let payload = records.payload(&record);
        found.push((record, payload));
    }
    Ok(found)
}

fn append(partition: u16, timestamp_ms: i64, payload: Bytes) -> Append {
    let (partition, key) = (Partition(partition), Bytes::new());
    Append { partition, key, timestamp_ms, kind: "fuzzed", db: 0, payload }
}

// --- fixed parts of a segment

/// Bytes as the header of a segment, and as its footer with marks: what is taken is written as the same bytes.
///
/// # Panics
/// When it is not.
pub fn segment(data: &[u8]) {
    read_segment_header(data);
    read_footer(data);
    let mut header = [&SEGMENT_MAGIC, VERSION.to_le_bytes().as_slice(), data, &[0; 4]].concat();
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    put(&mut header, SEGMENT_MAGIC.len() + 4, &length.to_le_bytes());
    seal(&mut header, 0);
    read_segment_header(&header);
    let Some((rest, body)) = data.split_first_chunk::<TRAILER_BYTES>() else { return };
    let body = [FOOTER_MAGIC.as_slice(), body].concat();
    let mut trailer = *rest;
    let length = u32::try_from(body.len() + TRAILER_BYTES).unwrap_or(u32::MAX);
    put(&mut trailer, 0, &length.to_le_bytes());
    put(&mut trailer, 4, &crc32c::crc32c_append(SALT, &body).to_le_bytes());
    let (signed, magic) = trailer.split_at_mut(TRAILER_BYTES - SEALED_MAGIC.len());
    seal(signed, SALT);
    magic.copy_from_slice(&SEALED_MAGIC);
    read_footer(&[body, trailer.to_vec()].concat());
}

fn read_segment_header(bytes: &[u8]) {
    let Ok(header) = SegmentHeader::parse(bytes) else { return };
    let again = header.encode();
    assert_eq!(u64::try_from(again.len()), Ok(header.file_bytes()));
    assert_eq!(bytes.get(..again.len()), Some(again.as_slice()));
}

fn read_footer(bytes: &[u8]) {
    let trailer = bytes.last_chunk().and_then(|bytes| Trailer::parse(bytes, SALT));
    let Some(footer) = Footer::parse(bytes, SALT) else { return };
    let trailer = trailer.expect("the footer has one");
    let Trailer { end_seq: seq, min_ms, max_ms, .. } = trailer;
    let end = Mark { position: 0, seq, max_ms, next: footer.end };
    assert_eq!(Footer::encode(&end, min_ms, &footer.marks, SALT), bytes);
}

// --- the description of a stream

/// Bytes as a `meta` file: what is taken is written so that it reads back, without anything left over.
///
/// # Panics
/// When it is not.
pub fn meta(data: &[u8]) {
    read_meta(data);
    let mut bytes = [&META_MAGIC, VERSION.to_le_bytes().as_slice(), data, &[0; 4]].concat();
    seal(&mut bytes, 0);
    read_meta(&bytes);
}

fn read_meta(bytes: &[u8]) {
    let Ok(meta) = Meta::parse(bytes) else { return };
    let again = meta.encode();
    // Shorter where something stood there twice.
    assert!(again.len() <= bytes.len(), "more than there was: {meta:?}");
    assert_eq!(Meta::parse(&again), Ok(meta));
}

// --- opening

/// Opening what bytes, as a [`Script`], leave on a disk. A journal that opens has lost nothing that was reported
/// durable, and opens again as it is, and whoever reads its sealed segments gets all that they had or is told of the
/// damage; one that does not names the damage, and does not open the next time either.
///
/// # Panics
/// When that does not hold.
pub fn recovery(data: &[u8]) {
    let disk = MemoryDisk::default();
    Script::new(data).write(&disk);
    let before = disk.copy();
    match open(&disk) {
        Ok(opened) => check_opened(&before, &disk, &opened),
        Err(error) => {
            assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
            assert!(open(&disk).is_err(), "opens after {error:?}");
        }
    }
}

fn open(disk: &MemoryDisk) -> Result<Opened, OpenError> {
    Recovery { disk, dir: Path::new(script::DIR), now_ms: 0 }
        .open(script::STREAM, script::PARTITIONS)
}

fn check_opened(before: &MemoryDisk, disk: &MemoryDisk, opened: &Opened) {
    let active = opened.catalogue.active();
    assert_eq!(opened.file.bytes().ok(), Some(active.end.position));
    if let Some(cut) = &opened.report.cut {
        let from = usize::try_from(cut.at).expect("a small file") + 1;
        let content = before.content(&cut.path);
        let lost = (from..content.len()).filter_map(|at| content.get(at..));
        let known = lost.filter_map(|bytes| FrameHeader::parse(bytes, script::salt()).ok());
        let witness = known.into_iter().find(|header| header.durable_seq > active.end.seq);
        assert_eq!(witness, None, "cut {cut:?} although it was durable");
    }
    let again = open(disk).expect("what was opened");
    let found = again.catalogue.active();
    assert_eq!((&found.end, &found.marks), (&active.end, &active.marks));
    assert_eq!(again.catalogue.sealed().len(), opened.catalogue.sealed().len());
    assert!(again.report.cut.is_none() && again.report.rebuilt.is_empty(), "{:?}", again.report);
    reading::check_sealed(disk, again);
}

// --- checksums

/// Writes a part of something that is as long.
fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    let place = bytes.get_mut(at..at + part.len()).expect("it is as long");
    place.copy_from_slice(part);
}

/// Makes the last four bytes the checksum of those before.
fn seal(bytes: &mut [u8], salt: u32) {
    let (signed, crc) = bytes.split_last_chunk_mut::<4>().expect("it has a checksum");
    *crc = crc32c::crc32c_append(salt, signed).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn frames_survive_their_seeds() {
        seeds::run("journal_frame", frame);
    }

    #[test]
    fn fixed_parts_of_segments_survive_their_seeds() {
        seeds::run("journal_segment", segment);
    }

    #[test]
    fn descriptions_survive_their_seeds() {
        seeds::run("journal_meta", meta);
    }

    #[test]
    fn recovery_survives_its_seeds() {
        seeds::run("journal_recovery", recovery);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            frame(&bytes);
            segment(&bytes);
            meta(&bytes);
            recovery(&bytes);
        }
    }
}
