//! Encodings of large events without a copy of what is large in them.
//!
//! Guarantees: the segments of a rope, one after the other, are the bytes that
//! [`encode`](super::encode()) gives for the same event. Only values from [`SHARED_BYTES`] on are
//! shared, so that there are few segments and the work is linear in the bytes, however many
//! arguments there are.

use bytes::{Buf, Bytes, BytesMut};

use super::sink::Sink;
use crate::image::ImageValue;
use crate::{Body, Change, Command, Event};

/// Values from this size on are not copied: below it a copy costs less than keeping track.
pub const SHARED_BYTES: usize = 64 * 1024;

/// Bytes in segments, of which the large ones are parts of what was encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rope {
    segments: Vec<Bytes>,
    bytes: usize,
}

/// Writes a rope.
#[derive(Debug)]
pub(super) struct RopeWriter<'a> {
    rope: Rope,
    copied: BytesMut,
    lenders: &'a [Bytes],
    /// Which of them lent last: they come in the order of their values.
    last: usize,
}

/// What the large values of an event are parts of; none: it has no large value.
#[must_use]
pub fn lenders(event: &Event) -> Vec<Bytes> {
    let mut lenders = Vec::new();
    lenders.extend(Some(&event.key).filter(|key| key.len() >= SHARED_BYTES).cloned());
    let mut of_command = |command: &Command| {
        lenders.extend(command.args.iter().filter(|arg| arg.len() >= SHARED_BYTES).cloned());
    };
    match &event.body {
        Body::Command(command) => of_command(command),
        Body::Group(group) => {
            for change in &group.changes {
                if let Change::Command(command) = &change.change {
                    of_command(command);
                }
            }
        }
        Body::Image(image) => {
            let (ImageValue::Text(value) | ImageValue::Rdb(value)) = &image.value;
            lenders.extend(Some(value).filter(|value| value.len() >= SHARED_BYTES).cloned());
        }
        Body::ImagePart(_) | Body::Fragment(_) | Body::Control(_) => {}
    }
    lenders
}

/// The same bytes without a copy, where they are a part of the lender.
#[must_use]
pub fn lent(lender: &Bytes, bytes: &[u8]) -> Option<Bytes> {
    let (wanted, whole) = (bytes.as_ptr_range(), lender.as_ptr_range());
    let is_part = whole.start <= wanted.start && wanted.end <= whole.end;
    is_part.then(|| lender.slice_ref(bytes))
}

// === impl Rope ===

impl Rope {
    /// Bytes in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The segments, in order. None is empty.
    #[must_use]
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// All of it in one piece: a copy, unless it is in one already.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.segments) {
            Ok([whole]) => whole,
            Err(segments) => Bytes::from(segments.concat()),
        }
    }

    /// CRC-32C of all of it.
    #[must_use]
    pub fn crc32c(&self) -> u32 {
        self.segments.iter().fold(0, |crc, segment| crc32c::crc32c_append(crc, segment))
    }

    /// Takes the first `bytes` off, or as many as there are, in one piece.
    pub(crate) fn take(&mut self, bytes: usize) -> Bytes {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        match self.segments.first_mut() {
            Some(first) if first.len() > bytes => first.split_to(bytes),
            _ => self.take_across(bytes),
        }
    }

    fn take_across(&mut self, bytes: usize) -> Bytes {
        let mut taken = BytesMut::with_capacity(bytes);
        let mut done = 0;
        for segment in &mut self.segments {
            let wanted = segment.len().min(bytes - taken.len());
            taken.extend_from_slice(segment.get(..wanted).unwrap_or_default());
            segment.advance(wanted);
            if !segment.is_empty() {
                break;
            }
            done += 1;
        }
        self.segments.drain(..done);
        taken.freeze()
    }

    fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.bytes += segment.len();
            self.segments.push(segment);
        }
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(bytes);
        rope
    }
}

// === impl RopeWriter ===

impl<'a> RopeWriter<'a> {
    /// A writer that shares what is part of `lenders`.
    pub(super) fn new(lenders: &'a [Bytes]) -> Self {
        Self { rope: Rope::default(), copied: BytesMut::new(), lenders, last: 0 }
    }

    pub(super) fn finish(mut self) -> Rope {
        self.rope.push(self.copied.freeze());
        self.rope
    }

    fn lent(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let lenders = self.lenders.iter().enumerate().cycle().skip(self.last);
        let mut lenders = lenders.take(self.lenders.len());
        let (number, lent) = lenders.find_map(|(at, lender)| Some((at, lent(lender, bytes)?)))?;
        self.last = number;
        Some(lent)
    }
}

impl Sink for RopeWriter<'_> {
    fn varint(&mut self, value: u64) {
        self.copied.varint(value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        let large = bytes.len() >= SHARED_BYTES;
        match large.then(|| self.lent(bytes)).flatten() {
            Some(lent) => {
                self.rope.push(self.copied.split().freeze());
                self.rope.push(lent);
            }
            None => self.copied.raw(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
