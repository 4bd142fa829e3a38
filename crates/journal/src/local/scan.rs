//! Walking over the frames of one segment file.
//!
//! Guarantees: a frame that is returned is whole, of this stream, and the next in the sequence.
//! Reads in large pieces; what a frame holds is a slice of a piece.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::block::Records;
use super::disk::{DiskFile, read_up_to, to_u64};
use super::format::FRAME_HEADER_BYTES;
use super::frame::{Defect, FrameHeader};

/// How much is read at once: a few frames.
const PIECE_BYTES: usize = 256 * 1024;

/// A frame as found in a file, checked.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: FrameHeader,
    /// The byte after it in the file.
    pub(super) end: u64,
    body: Bytes,
}

/// Walks from one frame to the next.
#[derive(Debug)]
pub(super) struct Scan {
    file: Arc<dyn DiskFile>,
    salt: u32,
    /// The byte where the next frame begins.
    position: u64,
    /// The number of the record with which it has to begin.
    seq: u64,
    /// The byte before which frames have to end.
    end: u64,
    /// The bytes from `position` on, as far as they have been read.
    piece: Bytes,
}

/// Why there is no further frame.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The file could not be read.
    Io(io::Error),
    /// What is at this byte is not the next frame.
    Defect {
        /// The byte.
        at: u64,
        /// What is wrong.
        defect: Defect,
    },
}

// === impl Frame ===

impl Frame {
    /// Its records. An error says why there are none although the checksums match.
    pub(super) fn records(&self) -> Result<Records, Defect> {
        self.header.unpack(self.body.clone())
    }

    /// Adds its records to the offsets of their partitions.
    pub(super) fn count_into(&self, next: &mut [u64]) -> Result<(), Defect> {
        self.records()?.count_into(next).map_err(Defect::Damaged)
    }
}

// === impl Scan ===

impl Scan {
    /// From the frame at `position`, which begins with record `seq`, to the byte `end`.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        salt: u32,
        (position, seq): (u64, u64),
        end: u64,
    ) -> Self {
        Self { file, salt, position, seq, end, piece: Bytes::new() }
    }

    /// Where the next frame begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The number of the record with which it has to begin.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// The next frame; `None` when the end is reached exactly.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, ScanError> {
        if self.position == self.end {
            return Ok(None);
        }
        self.fill(FRAME_HEADER_BYTES)?;
        let header = FrameHeader::parse(&self.piece, self.salt).map_err(|d| self.defect(d))?;
        if header.base_seq != self.seq {
            return Err(self.defect(Defect::Damaged("a frame is out of sequence")));
        }
        self.fill(header.frame_bytes())?;
        if self.piece.len() < header.frame_bytes() {
            return Err(self.defect(Defect::Short));
        }
        let body = self.piece.slice(FRAME_HEADER_BYTES..header.frame_bytes());
        header.check(&body, self.salt).map_err(|d| self.defect(d))?;
        self.piece = self.piece.slice(header.frame_bytes()..);
        self.position += to_u64(header.frame_bytes());
        self.seq = header.end_seq();
        Ok(Some(Frame { header, end: self.position, body }))
    }

    /// Whether the next frame can be had without reading on.
    pub(super) fn has_next_at_hand(&self) -> bool {
        FrameHeader::parse(&self.piece, self.salt)
            .is_ok_and(|header| header.frame_bytes() <= self.piece.len())
    }

    fn fill(&mut self, wanted: usize) -> Result<(), ScanError> {
        if self.piece.len() >= wanted {
            return Ok(());
        }
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let length = wanted.max(PIECE_BYTES).min(left);
        self.piece = read_up_to(&*self.file, self.position, length).map_err(ScanError::Io)?;
        Ok(())
    }

    fn defect(&self, defect: Defect) -> ScanError {
        ScanError::Defect { at: self.position, defect }
    }
}

// === impl Defect ===

impl std::fmt::Display for Defect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Short => "a frame is cut off",
            Self::NotAFrame => "there is no frame",
            Self::Damaged(what) => what,
        })
    }
}
