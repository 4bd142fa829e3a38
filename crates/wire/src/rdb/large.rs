//! A large value, decoded in parts of bounded size while it arrives. Where parts end depends on
//! the value only, not on how its bytes arrived.

use bytes::Bytes;

use super::Part;
use super::buffer::Buffer;
use super::element::{Collector, Elements};
use super::error::{Error, Fault};
use super::kind::ValueType;
use super::parser::Limits;
use super::reader::{Reader, Stop, Text};
use super::walk::Walk;
use crate::lzf::{self, Inflater};

/// A large value being read.
#[derive(Debug)]
pub(super) enum Large {
    Text(TextStream),
    Elements { walk: Walk, elements: Elements, loaded_at: u64, collector: Collector },
}

/// A string being read.
#[derive(Debug)]
pub(super) enum TextStream {
    Head,
    Plain { left: usize },
    Packed { packed: PackedText, inflater: Inflater },
    Short(Bytes),
}

/// The compressed bytes of a string.
#[derive(Debug)]
pub(super) struct PackedText {
    /// Where the string begins in the file.
    at: u64,
    /// Compressed bytes that were not read yet.
    left: usize,
}

/// What reading on came to.
pub(super) enum LargeStep {
    Part(Part),
    NeedMore,
    End,
}

// === impl Large ===

impl Large {
    /// At the beginning of a value.
    pub(super) fn new(kind: ValueType) -> Self {
        if kind == ValueType::String {
            return Self::Text(TextStream::Head);
        }
        let (walk, collector) = (Walk::new(kind), Collector::new(kind.class()));
        Self::Elements { walk, elements: Elements::default(), loaded_at: 0, collector }
    }

    /// Reads the next part from the front of `buffer`.
    pub(super) fn next(&mut self, buffer: &mut Buffer, limits: Limits) -> Result<LargeStep, Error> {
        let part_bytes = limits.part_bytes.max(1);
        match self {
            Self::Text(text) => text.next(buffer, limits.max_string_bytes, part_bytes),
            Self::Elements { walk, elements, loaded_at, collector } => loop {
                while let Some(element) = elements.next().map_err(|fault| fault.at(*loaded_at))? {
                    collector.push(element);
                    if collector.weight() >= part_bytes {
                        return Ok(LargeStep::Part(collector.take()));
                    }
                }
                let at = buffer.offset();
                let mut reader = Reader::new(buffer.front(), 0, at, limits.max_string_bytes);
                match walk.next(&mut reader) {
                    Ok(Some(unit)) => {
                        let len = reader.position();
                        let bytes = buffer.take(len);
                        elements.load(unit, &bytes).map_err(|fault| fault.at(at))?;
                        *loaded_at = at;
                    }
                    Ok(None) if collector.weight() > 0 => {
                        return Ok(LargeStep::Part(collector.take()));
                    }
                    Ok(None) => return Ok(LargeStep::End),
                    Err(Stop::Bad(error)) => return Err(error),
                    Err(Stop::More(total)) if !buffer.require(total) => {
                        return Ok(LargeStep::NeedMore);
                    }
                    Err(Stop::More(_)) => {}
                }
            },
        }
    }
}

// === impl TextStream ===

impl TextStream {
    fn next(
        &mut self,
        buffer: &mut Buffer,
        max_string_bytes: usize,
        part_bytes: usize,
    ) -> Result<LargeStep, Error> {
        loop {
            match self {
                Self::Head => match Self::head(buffer, max_string_bytes)? {
                    Some(text) => *self = text,
                    None => return Ok(LargeStep::NeedMore),
                },
                Self::Plain { left: 0 } => return Ok(LargeStep::End),
                Self::Plain { left } => {
                    let len = part_bytes.min(*left);
                    if !buffer.require(len) {
                        return Ok(LargeStep::NeedMore);
                    }
                    *left -= len;
                    return Ok(LargeStep::Part(Part::Str(buffer.take(len))));
                }
                Self::Packed { packed, inflater } => {
                    return inflate(buffer, packed, inflater, part_bytes);
                }
                Self::Short(digits) => {
                    let part = Part::Str(std::mem::take(digits));
                    *self = Self::Plain { left: 0 };
                    return Ok(LargeStep::Part(part));
                }
            }
        }
    }

    fn head(buffer: &mut Buffer, max_string_bytes: usize) -> Result<Option<Self>, Error> {
        loop {
            let mut reader = Reader::new(buffer.front(), 0, buffer.offset(), max_string_bytes);
            match reader.text_head() {
                Ok(text) => {
                    let at = buffer.offset();
                    let len = reader.position();
                    buffer.take(len);
                    return Ok(Some(match text {
                        Text::Plain { len, .. } => Self::Plain { left: len },
                        Text::Int(number) => Self::Short(Bytes::from(number.to_string())),
                        Text::Lzf { compressed, plain, .. } => {
                            let packed = PackedText { at, left: compressed };
                            Self::Packed { packed, inflater: Inflater::new(plain) }
                        }
                    }));
                }
                Err(Stop::Bad(error)) => return Err(error),
                Err(Stop::More(total)) if !buffer.require(total) => return Ok(None),
                Err(Stop::More(_)) => {}
            }
        }
    }
}

/// The next part of a compressed string.
fn inflate(
    buffer: &mut Buffer,
    packed: &mut PackedText,
    inflater: &mut Inflater,
    part_bytes: usize,
) -> Result<LargeStep, Error> {
    let broken = || Fault::Lzf.at(packed.at);
    loop {
        if inflater.ready() >= part_bytes || (inflater.complete() && inflater.ready() > 0) {
            return Ok(LargeStep::Part(Part::Str(inflater.take(part_bytes))));
        }
        if inflater.complete() {
            return if packed.left == 0 { Ok(LargeStep::End) } else { Err(broken()) };
        }
        let input = buffer.front().get(..packed.left).unwrap_or(buffer.front());
        let used = inflater.run(input, part_bytes).map_err(|lzf::Broken| broken())?;
        if used == 0 {
            // An instruction is cut off: by the end of the string, or by that of what arrived.
            if input.len() >= packed.left {
                return Err(broken());
            }
            let enough = input.len() + 1;
            if !buffer.require(enough) {
                return Ok(LargeStep::NeedMore);
            }
        }
        packed.left -= used;
        buffer.take(used);
    }
}
