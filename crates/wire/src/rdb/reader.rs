//! The primitive encodings of an RDB file, read from a slice: lengths, strings, numbers.
//!
//! A read either succeeds or leaves the caller to go back: [`Stop::More`] says how long the slice
//! must at least become. Nothing is allocated here, and a promised length is judged before anyone
//! waits for it.

use bytes::Bytes;

use super::error::{Error, Fault};
use crate::lzf;

/// Why a read did not succeed.
#[derive(Debug)]
pub(super) enum Stop {
    /// The slice must have at least so many bytes before another try makes sense.
    More(usize),
    /// The bytes are wrong.
    Bad(Error),
}

/// Where a string lies in the bytes that were read, and how to make it of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// As it is.
    Plain { start: usize, len: usize },
    /// A number that stands for its decimal digits.
    Int(i32),
    /// Compressed.
    Lzf { start: usize, compressed: usize, plain: usize },
}

/// A length, or one of the special encodings that stand where a string's length would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Plain(u64),
    Special(u8),
}

/// Reads from the front of a slice.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    position: usize,
    /// Offset of `data` in the file.
    base: u64,
    string_bytes_max: usize,
}

// === impl Text ===

impl Text {
    /// The string, as a slice of `source` where it stands there as it is. `source` begins where
    /// the slice began that the text was read from.
    pub(super) fn bytes(self, source: &Bytes) -> Result<Bytes, Fault> {
        match self {
            Self::Plain { start, len } => cut(source, start, len),
            Self::Int(number) => Ok(Bytes::from(number.to_string())),
            Self::Lzf { start, compressed, plain } => {
                let input = cut(source, start, compressed)?;
                lzf::decompress(&input, plain).map(Bytes::from).map_err(|lzf::Broken| Fault::Lzf)
            }
        }
    }
}

/// A slice of `source` without a copy; asking for more than it has is a fault, not a panic.
pub(super) fn cut(source: &Bytes, start: usize, len: usize) -> Result<Bytes, Fault> {
    let end = start.checked_add(len).ok_or(Fault::Truncated)?;
    if end > source.len() { Err(Fault::Truncated) } else { Ok(source.slice(start..end)) }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Reads `data`, which stands at `base` in the file, from `position` on.
    pub(super) fn new(data: &'a [u8], position: usize, base: u64, string_bytes_max: usize) -> Self {
        Self { data, position, base, string_bytes_max }
    }

    /// Bytes of the slice read so far.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The bytes from `start` to here were wrong.
    pub(super) fn bad_at(&self, start: usize, fault: Fault) -> Stop {
        let start = u64::try_from(start).unwrap_or(u64::MAX);
        Stop::Bad(fault.at(self.base.saturating_add(start)))
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let bytes = rest.first_chunk::<N>().ok_or(Stop::More(self.position.saturating_add(N)))?;
        self.position += N;
        Ok(*bytes)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A signed number of eight bytes, lowest first.
    pub(super) fn i64(&mut self) -> Result<i64, Stop> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// The next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let end = self.position.saturating_add(len);
        let bytes = self.data.get(self.position..end).ok_or(Stop::More(end))?;
        self.position = end;
        Ok(bytes)
    }

    /// A length.
    pub(super) fn len(&mut self) -> Result<u64, Stop> {
        let start = self.position;
        match self.length()? {
            Length::Plain(len) => Ok(len),
            Length::Special(code) => Err(self.bad_at(start, Fault::StringEncoding(code))),
        }
    }

    /// A length that must fit into `T`; `what` names it in the fault.
    pub(super) fn small<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Stop> {
        let start = self.position;
        let number = self.len()?;
        T::try_from(number).map_err(|_| self.bad_at(start, Fault::OutOfRange { what, number }))
    }

    /// A string in any encoding; its bytes are all there.
    pub(super) fn text(&mut self) -> Result<Text, Stop> {
        let text = self.text_head()?;
        if let Text::Plain { len, .. } | Text::Lzf { compressed: len, .. } = text {
            self.bytes(len)?;
        }
        Ok(text)
    }

    /// What stands before the bytes of a string; those may not have arrived.
    pub(super) fn text_head(&mut self) -> Result<Text, Stop> {
        let start = self.position;
        match self.length()? {
            Length::Plain(promised) => {
                let len = self.string_len(start, promised)?;
                Ok(Text::Plain { start: self.position, len })
            }
            Length::Special(0) => Ok(Text::Int(i8::from_le_bytes(self.array()?).into())),
            Length::Special(1) => Ok(Text::Int(i16::from_le_bytes(self.array()?).into())),
            Length::Special(2) => Ok(Text::Int(i32::from_le_bytes(self.array()?))),
            Length::Special(3) => {
                let (compressed, plain) = (self.len()?, self.len()?);
                if !lzf::plausible(compressed, plain) {
                    return Err(self.bad_at(start, Fault::Lzf));
                }
                let compressed = self.string_len(start, compressed)?;
                let plain = self.string_len(start, plain)?;
                Ok(Text::Lzf { start: self.position, compressed, plain })
            }
            Length::Special(code) => Err(self.bad_at(start, Fault::StringEncoding(code))),
        }
    }

    fn length(&mut self) -> Result<Length, Stop> {
        let start = self.position;
        let first = self.byte()?;
        Ok(match (first >> 6, first & 0x3f) {
            (0, low) => Length::Plain(low.into()),
            (1, low) => Length::Plain(u64::from(low) << 8 | u64::from(self.byte()?)),
            (2, 0) => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            (2, 1) => Length::Plain(u64::from_be_bytes(self.array()?)),
            (2, _) => return Err(self.bad_at(start, Fault::LengthEncoding(first))),
            (_, code) => Length::Special(code),
        })
    }

    fn string_len(&self, start: usize, promised: u64) -> Result<usize, Stop> {
        let limit = self.string_bytes_max;
        usize::try_from(promised).ok().filter(|len| *len <= limit).ok_or_else(|| {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            self.bad_at(start, Fault::TooLong { what: "string", promised, limit })
        })
    }
}
