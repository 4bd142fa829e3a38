//! The state machine of one frame: where each argument begins and ends, as far as the bytes go.
//!
//! It owns no bytes. Each call sees the frame from its first byte, and goes on where the last one
//! stopped.

use super::{ScanErrorKind, ScanLimits};

/// Redis refuses a longer line from a client too.
const MAX_INLINE_BYTES: usize = 64 << 10;
/// A marker, a sign, 19 digits and the line end fit easily.
const MAX_LENGTH_LINE_BYTES: usize = 32;
/// Ranges held without an allocation: enough for most of what is written to a key.
const INLINE_ARGS: usize = 6;
/// Ranges allocated ahead on the word of a header alone; beyond it the list grows with the bytes.
const MAX_RESERVED_ARGS: usize = 1 << 10;

/// What the scan of a frame came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes up to the next newline are needed.
    #[default]
    Line,
    /// The frame must have this many bytes before there is anything to do.
    Bytes(usize),
    /// The frame is whole and this long.
    Done(usize),
}

/// Where in a frame the scan stands.
#[derive(Debug, Default)]
pub(super) struct FrameScan {
    phase: Phase,
    /// Bytes of the frame that are understood.
    position: usize,
    args_left: usize,
    ranges: ArgRanges,
    /// Steps of the machine, for the proof that the work is linear.
    #[cfg(test)]
    pub(super) work: usize,
}

#[derive(Debug, Default, Clone, Copy)]
enum Phase {
    #[default]
    Start,
    /// A line that is no array, without its end so far.
    Inline,
    /// The length line of the next argument.
    Header,
    /// An argument that ends before this byte of the frame, its line end not included.
    Body { end: usize },
}

/// A part of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ArgRange {
    start: u32,
    end: u32,
}

/// The arguments of a command as parts of its frame.
#[derive(Debug, Clone)]
pub(super) enum ArgRanges {
    Inline { len: u8, ranges: [ArgRange; INLINE_ARGS] },
    Heap(Vec<ArgRange>),
}

// === impl FrameScan ===

impl FrameScan {
    /// Bytes of the frame that are understood.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The arguments of the frame that is done; the machine is at the start of the next one.
    pub(super) fn take_ranges(&mut self) -> ArgRanges {
        self.position = 0;
        self.phase = Phase::Start;
        std::mem::take(&mut self.ranges)
    }

    /// Goes on as far as `frame`, which starts at the frame's first byte, reaches.
    pub(super) fn advance(
        &mut self,
        frame: &[u8],
        limits: &ScanLimits,
    ) -> Result<Step, ScanErrorKind> {
        loop {
            #[cfg(test)]
            {
                self.work += 1;
            }
            let step = match self.phase {
                Phase::Start => self.start(frame, limits)?,
                Phase::Inline => return self.inline(frame),
                Phase::Header => self.header(frame, limits)?,
                Phase::Body { end } => self.body(frame, end)?,
            };
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    fn start(&mut self, frame: &[u8], limits: &ScanLimits) -> Result<Option<Step>, ScanErrorKind> {
        match frame.first() {
            None => return Ok(Some(Step::Line)),
            Some(b'*') => {}
            Some(_) => {
                self.phase = Phase::Inline;
                return Ok(None);
            }
        }
        let Some((count, after)) = length_line(frame, 0, b'*', "an array")? else {
            return Ok(Some(Step::Line));
        };
        self.position = after;
        // A server takes an array of no or fewer arguments for nothing at all.
        let count = u64::try_from(count).unwrap_or(0);
        self.args_left = match usize::try_from(count) {
            Ok(args) if args <= limits.max_args => args,
            _ => {
                let limit = limits.max_args;
                return Err(ScanErrorKind::TooManyArguments { found: count, limit });
            }
        };
        if self.args_left == 0 {
            return Ok(Some(Step::Done(after)));
        }
        self.ranges.reserve(self.args_left.min(MAX_RESERVED_ARGS));
        self.phase = Phase::Header;
        Ok(None)
    }

    fn header(&mut self, frame: &[u8], limits: &ScanLimits) -> Result<Option<Step>, ScanErrorKind> {
        let Some((length, after)) = length_line(frame, self.position, b'$', "a bulk string")?
        else {
            return Ok(Some(Step::Line));
        };
        let found = u64::try_from(length).map_err(|_| ScanErrorKind::BadLength)?;
        let length = match usize::try_from(found) {
            Ok(length) if length <= limits.max_bulk_bytes => length,
            _ => return Err(ScanErrorKind::BulkTooLong { found, limit: limits.max_bulk_bytes }),
        };
        let end = after.saturating_add(length);
        if end.saturating_add(2) > limits.max_frame_bytes {
            return Err(ScanErrorKind::FrameTooLong { limit: limits.max_frame_bytes });
        }
        self.position = after;
        self.phase = Phase::Body { end };
        Ok(None)
    }

    fn body(&mut self, frame: &[u8], end: usize) -> Result<Option<Step>, ScanErrorKind> {
        let Some(terminator) = frame.get(end..end + 2) else {
            return Ok(Some(Step::Bytes(end + 2)));
        };
        if let &[found, _] = terminator
            && terminator != b"\r\n"
        {
            return Err(ScanErrorKind::Unexpected { found, expected: "the end of an argument" });
        }
        self.ranges.push(ArgRange::new(self.position, end));
        self.position = end + 2;
        self.phase = Phase::Header;
        self.args_left -= 1;
        Ok((self.args_left == 0).then_some(Step::Done(self.position)))
    }

    fn inline(&mut self, frame: &[u8]) -> Result<Step, ScanErrorKind> {
        let unread = frame.get(self.position..).unwrap_or_default();
        let newline = memchr::memchr(b'\n', unread).map(|newline| self.position + newline);
        if newline.unwrap_or(frame.len()) > MAX_INLINE_BYTES {
            self.position = 0;
            return Err(ScanErrorKind::InlineTooLong { limit: MAX_INLINE_BYTES });
        }
        let Some(newline) = newline else {
            self.position = frame.len();
            return Ok(Step::Line);
        };
        let line = frame.get(..newline).unwrap_or_default();
        let mut word = None;
        for (index, byte) in line.iter().chain(b"\n").enumerate() {
            match (byte.is_ascii_whitespace(), word) {
                (true, Some(start)) => {
                    self.ranges.push(ArgRange::new(start, index));
                    word = None;
                }
                (false, None) => word = Some(index),
                _ => {}
            }
        }
        self.position = newline + 1;
        Ok(Step::Done(self.position))
    }
}

/// Reads `<marker><number>\r\n` at `start`: the number and the position after it, or `None` while
/// the line has no end yet.
#[inline]
fn length_line(
    frame: &[u8],
    start: usize,
    marker: u8,
    expected: &'static str,
) -> Result<Option<(i64, usize)>, ScanErrorKind> {
    let line = frame.get(start..).unwrap_or_default();
    // Nearly every length has one or two digits.
    match *line {
        [first, a @ b'0'..=b'9', b'\r', b'\n', ..] if first == marker => {
            return Ok(Some((i64::from(a - b'0'), start + 4)));
        }
        [first, a @ b'0'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] if first == marker => {
            return Ok(Some((i64::from(a - b'0') * 10 + i64::from(b - b'0'), start + 5)));
        }
        _ => {}
    }
    let Some((&first, rest)) = line.split_first() else {
        return Ok(None);
    };
    if first != marker {
        return Err(ScanErrorKind::Unexpected { found: first, expected });
    }
    let (negative, digits) = match rest.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, rest),
    };
    let mut value: i64 = 0;
    for (index, &byte) in digits.iter().enumerate() {
        if byte == b'\r' && index > 0 {
            let after = start + 1 + usize::from(negative) + index + 2;
            return match digits.get(index + 1) {
                Some(b'\n') => Ok(Some((if negative { -value } else { value }, after))),
                Some(_) => Err(ScanErrorKind::BadLength),
                None => Ok(None),
            };
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 || index > MAX_LENGTH_LINE_BYTES {
            return Err(ScanErrorKind::BadLength);
        }
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(i64::from(digit)))
            .ok_or(ScanErrorKind::BadLength)?;
    }
    Ok(None)
}

// === impl ArgRange ===

impl ArgRange {
    /// A range within a frame, whose length the limits hold below 4 GiB.
    fn new(start: usize, end: usize) -> Self {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: narrow(start), end: narrow(end) }
    }

    /// The bytes of the argument.
    pub(super) fn of(self, frame: &[u8]) -> Option<&[u8]> {
        frame.get(self.start as usize..self.end as usize)
    }
}

// === impl ArgRanges ===

impl ArgRanges {
    pub(super) fn as_slice(&self) -> &[ArgRange] {
        match self {
            Self::Inline { len, ranges } => ranges.get(..usize::from(*len)).unwrap_or_default(),
            Self::Heap(ranges) => ranges,
        }
    }

    /// Makes room at once for what does not fit inline.
    fn reserve(&mut self, count: usize) {
        if count > INLINE_ARGS {
            *self = Self::Heap(Vec::with_capacity(count));
        }
    }

    fn push(&mut self, range: ArgRange) {
        match self {
            Self::Heap(ranges) => ranges.push(range),
            Self::Inline { len, ranges } => {
                if let Some(slot) = ranges.get_mut(usize::from(*len)) {
                    *slot = range;
                    *len += 1;
                } else {
                    let mut heap = Vec::with_capacity(INLINE_ARGS * 2);
                    heap.extend_from_slice(ranges);
                    heap.push(range);
                    *self = Self::Heap(heap);
                }
            }
        }
    }
}

impl Default for ArgRanges {
    fn default() -> Self {
        Self::Inline { len: 0, ranges: [ArgRange::default(); INLINE_ARGS] }
    }
}
