//! The scanner of a replication stream: raw bytes in, whole commands out.
//!
//! It guarantees that
//! - the frames it yields, concatenated, are exactly the bytes it was fed, so a frame's length is
//!   the distance that the replication offset moves, also for bare newlines and inline commands;
//! - the work is linear in the bytes, however they are cut into chunks, because its state survives
//!   between calls and a byte once understood is not looked at again;
//! - a command that lies within one chunk is not copied at all, and one that spans chunks is moved
//!   together once, apart from what a growing buffer costs.
//!
//! It is written by hand although `redis-protocol` decodes the same bytes: that decoder keeps no
//! state and starts over from the first byte of an incomplete frame, which is quadratic for a
//! command of a million arguments arriving in socket reads, and it builds a tree of frames where
//! offsets are all that is needed. The tests hold the two against each other.

mod frame;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use self::frame::{ArgRanges, FrameScan, Step};
use crate::args::Args;

/// What one frame may be at most; beyond it the scanner fails instead of filling the memory.
#[derive(Debug, Clone, Copy)]
pub struct ScanLimits {
    /// Most arguments of one command.
    pub max_args: usize,
    /// Longest argument, in bytes.
    pub max_bulk_bytes: usize,
    /// Longest command in its raw form, in bytes. Never more than `u32::MAX`.
    pub max_frame_bytes: usize,
}

/// The default `proto-max-bulk-len` of every server.
const DEFAULT_MAX_BULK_BYTES: usize = 512 << 20;
/// Servers from 7.0 on take any count that fits in 31 bits; this many empty arguments are already
/// 384 MiB.
const DEFAULT_MAX_ARGS: usize = 1 << 26;
/// Nearly four of the largest arguments; argument ranges are 32 bits wide.
const DEFAULT_MAX_FRAME_BYTES: usize = 2 << 30;

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            max_args: DEFAULT_MAX_ARGS,
            max_bulk_bytes: DEFAULT_MAX_BULK_BYTES,
            max_frame_bytes: DEFAULT_MAX_FRAME_BYTES,
        }
    }
}

/// One command as it stood in the stream.
///
/// A bare newline and an empty array are commands without arguments: there is nothing to do for
/// them, but their frame counts in the offset.
#[derive(Debug, Clone)]
pub struct RawCommand {
    frame: Bytes,
    ranges: ArgRanges,
}

/// Why a stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("at byte {at} of the stream: {kind}")]
pub struct ScanError {
    /// Bytes of this scanner's stream before the offending place.
    pub at: u64,
    /// What was wrong there.
    pub kind: ScanErrorKind,
}

/// What was wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScanErrorKind {
    /// Another byte than the protocol has here.
    #[error("expected {expected}, found byte 0x{found:02x}")]
    Unexpected {
        /// The offending byte.
        found: u8,
        /// What belongs here.
        expected: &'static str,
    },
    /// A length that is no number, or a negative one where none may be.
    #[error("a length that is not a number")]
    BadLength,
    /// More arguments than the limit.
    #[error("{found} arguments, more than the limit of {limit}")]
    TooManyArguments {
        /// The count announced.
        found: u64,
        /// The configured limit.
        limit: usize,
    },
    /// An argument longer than the limit.
    #[error("an argument of {found} bytes, more than the limit of {limit}")]
    BulkTooLong {
        /// The length announced.
        found: u64,
        /// The configured limit.
        limit: usize,
    },
    /// A command longer than the limit.
    #[error("a command longer than the limit of {limit} bytes")]
    FrameTooLong {
        /// The configured limit.
        limit: usize,
    },
    /// An inline command without a line end.
    #[error("an inline command longer than {limit} bytes")]
    InlineTooLong {
        /// The longest line accepted.
        limit: usize,
    },
}

/// The scanner. Feed it chunks, take commands until there are none.
#[derive(Debug, Default)]
pub struct StreamScanner {
    limits: ScanLimits,
    /// Chunks not yet consumed; none is empty.
    chunks: VecDeque<Bytes>,
    /// The beginning of a command whose rest is in chunks to come.
    partial: BytesMut,
    /// What `partial` still wants. Meaningful only while `partial` is not empty.
    need: Step,
    scan: FrameScan,
    /// Bytes of all frames yielded.
    yielded: u64,
    /// Bytes in `chunks` and `partial`.
    buffered: usize,
    failed: Option<ScanError>,
}

// === impl RawCommand ===

impl RawCommand {
    /// The exact bytes of the stream, so that its length is the offset delta.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The arguments in order, the name first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.ranges.as_slice().iter().map(|range| range.of(&self.frame).unwrap_or_default())
    }

    /// Whether the command takes no action: a bare newline or an empty array.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl Args for RawCommand {
    fn len(&self) -> usize {
        self.ranges.as_slice().len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.ranges.as_slice().get(index)?.of(&self.frame)
    }

    fn bytes(&self, index: usize) -> Option<Bytes> {
        self.get(index).map(|argument| self.frame.slice_ref(argument))
    }
}

// === impl StreamScanner ===

impl StreamScanner {
    /// A scanner at a command boundary.
    #[must_use]
    pub fn new(limits: ScanLimits) -> Self {
        let max_frame_bytes = limits.max_frame_bytes.min(u32::MAX as usize);
        Self { limits: ScanLimits { max_frame_bytes, ..limits }, ..Self::default() }
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.buffered += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// The next whole command, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// When the bytes are no command, or one beyond the limits. The stream is lost then: every
    /// later call gives the same error.
    pub fn next_command(&mut self) -> Result<Option<RawCommand>, ScanError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.scan_chunks().map_err(|kind| {
            let at = self.yielded + self.scan.position() as u64;
            *self.failed.insert(ScanError { at, kind })
        })
    }

    /// Bytes fed and not yet part of a command that was yielded.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Bytes of all commands yielded so far.
    #[must_use]
    pub fn yielded(&self) -> u64 {
        self.yielded
    }

    fn scan_chunks(&mut self) -> Result<Option<RawCommand>, ScanErrorKind> {
        while let Some(chunk) = self.chunks.front_mut() {
            let step = if self.partial.is_empty() {
                self.scan.advance(chunk, &self.limits)?
            } else {
                take_needed(chunk, &mut self.partial, self.need);
                self.scan.advance(&self.partial, &self.limits)?
            };
            let frame = match step {
                Step::Done(length) if self.partial.is_empty() => chunk.split_to(length),
                Step::Done(_) => std::mem::take(&mut self.partial).freeze(),
                Step::Line | Step::Bytes(_) => {
                    self.need = step;
                    let moved = if self.partial.is_empty() { chunk.len() } else { 0 };
                    if let Step::Bytes(total) = step {
                        self.partial.reserve(total.saturating_sub(self.partial.len()));
                    }
                    self.partial.extend_from_slice(&chunk.split_to(moved));
                    Bytes::new()
                }
            };
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            if !frame.is_empty() {
                return Ok(Some(self.finish(frame)));
            }
        }
        Ok(None)
    }

    fn finish(&mut self, frame: Bytes) -> RawCommand {
        self.yielded += frame.len() as u64;
        self.buffered -= frame.len();
        RawCommand { frame, ranges: self.scan.take_ranges() }
    }
}

/// Moves from `chunk` to `partial` what the command at hand wants, and no byte of the one after it.
fn take_needed(chunk: &mut Bytes, partial: &mut BytesMut, need: Step) {
    let wanted = match need {
        Step::Bytes(total) => total.saturating_sub(partial.len()),
        Step::Line | Step::Done(_) => {
            memchr::memchr(b'\n', chunk).map_or(chunk.len(), |newline| newline + 1)
        }
    };
    partial.extend_from_slice(&chunk.split_to(wanted.min(chunk.len())));
}
