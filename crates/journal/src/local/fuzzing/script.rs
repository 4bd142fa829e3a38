//! Bytes as steps of a writer and of a disk that damages what it holds.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::super::Compression;
use super::super::block::Block;
use super::super::catalogue::{Active, Segment};
use super::super::disk::to_u64;
use super::super::fields::Fields;
use super::super::format::salt_of;
use super::super::frame::Packer;
use super::super::meta::{Meta, Releases};
use super::super::segment::{Footer, Mark, SegmentHeader};
use super::append;
use super::disk::MemoryDisk;

/// Where the stream is.
pub(super) const DIR: &str = "/fuzzed";
pub(super) const STREAM: &str = "s";
pub(super) const PARTITIONS: u16 = 2;

const INCARNATION: u64 = 7;

/// Records of one frame.
const FRAME_RECORDS: u8 = 4;

/// From where the checksums of the stream start.
pub(super) fn salt() -> u32 {
    salt_of(INCARNATION)
}

/// The steps that are left, and what is written so far of the segment at hand.
pub(super) struct Script<'a> {
    steps: Fields<'a>,
    content: Vec<u8>,
    active: Active,
    packer: Packer,
}

// === impl Script ===

impl<'a> Script<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let mut script = Self {
            steps: Fields::new(data),
            content: Vec::new(),
            active: begin(0, vec![0; usize::from(PARTITIONS)].into()),
            packer: Packer::new(Compression::Lz4, salt()),
        };
        script.content = script.active.segment.header.encode();
        script
    }

    /// Takes all steps.
    pub(super) fn write(mut self, disk: &MemoryDisk) {
        let meta = Meta {
            stream: STREAM.to_owned(),
            incarnation: INCARNATION,
            partitions: PARTITIONS,
            readers: Releases::new(),
        };
        meta.store(disk, Path::new(DIR)).expect("a disk in memory");
        while self.step(disk).is_some() {}
        self.store(disk);
    }

    /// One step; none when there is no more.
    fn step(&mut self, disk: &MemoryDisk) -> Option<()> {
        match self.byte()? % 8 {
            0..=2 => self.frame(false)?,
            // The disk has lost a frame.
            3 => self.frame(true)?,
            4 => {
                let junk = self.some_bytes()?;
                self.content.extend_from_slice(junk);
            }
            5 => {
                let (at, change) = (usize::from(self.steps.u16()?), self.byte()?);
                if let Some(byte) = self.content.get_mut(at) {
                    *byte ^= change;
                }
            }
            6 => {
                let length = self.content.len().saturating_sub(usize::from(self.steps.u16()?));
                self.content.truncate(length);
            }
            _ => self.roll(disk),
        }
        Some(())
    }

    /// Writes a frame, or a hole in its place.
    fn frame(&mut self, is_lost: bool) -> Option<()> {
        let (count, lag) = (self.byte()? % FRAME_RECORDS + 1, u64::from(self.byte()?));
        let Mark { seq, mut max_ms, next, .. } = self.active.end.clone();
        let mut next = next.to_vec();
        let mut block = Block::new(seq, next.as_slice().into(), to_ms(seq), None);
        for number in 0..u64::from(count) {
            let partition = u16::from(self.byte()?) % (PARTITIONS + 1);
            let payload = Bytes::copy_from_slice(self.some_bytes()?);
            block.push(&append(partition, to_ms(seq + number), payload));
            if let Some(next) = next.get_mut(usize::from(partition)) {
                *next += 1;
            }
        }
        max_ms = max_ms.max(block.max_ms);
        let begin = self.content.len();
        self.packer.pack(&block, seq.saturating_sub(lag), &mut self.content);
        if is_lost && let Some(hole) = self.content.get_mut(begin..) {
            hole.fill(0);
        }
        let position = to_u64(self.content.len());
        let end = Mark { position, seq: seq + u64::from(count), max_ms, next: next.into() };
        self.active.extend(end, block.min_ms);
        Some(())
    }

    /// Seals the segment and begins the next.
    fn roll(&mut self, disk: &MemoryDisk) {
        let Active { segment, end, min_ms, marks } = &self.active;
        if end.seq == segment.header.base_seq {
            return;
        }
        // Whatever the disk does: to the writer, frames end where the file does.
        let footer = Footer::encode(end, *min_ms, marks, salt());
        self.content.extend_from_slice(&footer);
        self.store(disk);
        self.active = begin(end.seq, Arc::clone(&end.next));
        self.content = self.active.segment.header.encode();
    }

    fn store(&self, disk: &MemoryDisk) {
        disk.put(self.active.segment.path.to_path_buf(), self.content.clone());
    }

    fn byte(&mut self) -> Option<u8> {
        self.steps.array().map(|[byte]| byte)
    }

    fn some_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?);
        self.steps.bytes(length)
    }
}

fn begin(base_seq: u64, base: Arc<[u64]>) -> Active {
    let header = SegmentHeader { incarnation: INCARNATION, base_seq, created_ms: 0, base };
    Active::new(Segment::new(Path::new(DIR), header))
}

fn to_ms(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
