//! Encodings in memory in which a long key that stands several times is held once.
//!
//! An event names its key, and its command names it again; in a group each change does so once more. For keys of
//! hundreds of megabytes that is what memory goes into, so what is put together from pieces is put together without
//! the repetitions: in their place stands a number, of the key that they repeat, with the wire type of numbers, which
//! no encoding has there.
//!
//! Guarantees: [`decode_lean`] gives for what [`LeanWriter`] made of an encoding, in whatever pieces it came, what
//! [`decode`] gives for that encoding. The form stays in the process: [`whole_of_lean`] is what others understand.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, decode_varint, encode_varint, encoded_len_varint};

use super::check;
use super::convert::{self, Convert};
use super::decode::{self, Parts, decode};
use super::error::{DecodeError, Malformed};
use super::rope::SHARED_BYTES;
use super::scan::{FieldValue, Fields, low_bits};
use crate::{Body, Change, Command, Effect, Event, GroupedChange, schema};

/// Puts an encoding together from its pieces, leaving out what it holds already.
#[derive(Debug)]
pub(crate) struct LeanWriter {
    out: Vec<u8>,
    /// Bytes that were pushed.
    taken: usize,
    /// The beginning of a field, up to its length or number.
    head: Vec<u8>,
    state: State,
    open: Vec<Level>,
    /// The long keys, in `out`.
    keys: Vec<Range<usize>>,
    /// Whether a body has ended: what another one says counts, and it is left as it is.
    has_body: bool,
    saved: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The beginning of a field comes next.
    Field,
    /// So many bytes of a value come next.
    Copy(usize),
    /// A value comes that may be one of the keys; so much of it is.
    Compare { key: usize, same: usize, notes: bool },
    /// It is no encoding of an event: its bytes are kept as they are.
    Foreign,
}

/// A message that has begun.
#[derive(Debug)]
struct Level {
    message: Kind,
    /// Where it ends in what is pushed.
    end: usize,
    /// Where its length stands in what is written.
    length: Range<usize>,
    bytes: usize,
    /// How many fewer bytes it has there.
    saved: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Event,
    Command,
    Group,
    Change,
}

/// More than a field number and a length take.
const HEAD_BYTES_MAX: usize = 20;

// === impl LeanWriter ===

impl LeanWriter {
    /// One for an encoding of that size.
    pub(crate) fn new(total_bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(total_bytes),
            taken: 0,
            head: Vec::new(),
            state: State::Field,
            open: Vec::new(),
            keys: Vec::new(),
            has_body: false,
            saved: false,
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = match self.state {
                State::Field => self.field_byte(rest),
                State::Copy(left) => self.copy(rest, left),
                State::Compare { key, same, notes } => self.compare(rest, (key, same), notes),
                State::Foreign => {
                    self.out.extend_from_slice(rest);
                    rest.len()
                }
            };
            self.taken += taken;
            rest = rest.get(taken..).unwrap_or_default();
            self.close_levels();
        }
    }

    /// What was put together: of what is no encoding of an event nothing, if it cannot be given as it was.
    pub(crate) fn finish(mut self) -> Bytes {
        let is_whole = matches!(self.state, State::Field) && self.head.is_empty();
        if self.saved && !(is_whole && self.open.is_empty()) {
            return Bytes::new();
        }
        self.keep_head();
        if let State::Compare { key, same, .. } = self.state
            && let Some(key) = self.keys.get(key)
        {
            self.out.extend_from_within(key.start..key.start + same);
        }
        Bytes::from(self.out)
    }

    fn field_byte(&mut self, rest: &[u8]) -> usize {
        self.head.extend(rest.first());
        let ended = self.open.last().is_some_and(|level| level.end < self.taken + 1);
        match Head::of(&self.head) {
            Ok(_) | Err(_) if ended => self.give_up(),
            Ok(None) if self.head.len() < HEAD_BYTES_MAX => {}
            Ok(Some(head)) => self.begin_field(head),
            Ok(None) | Err(()) => self.give_up(),
        }
        1
    }

    fn give_up(&mut self) {
        self.keep_head();
        self.state = State::Foreign;
    }

    fn keep_head(&mut self) {
        self.out.append(&mut self.head);
    }

    fn begin_field(&mut self, head: Head) {
        let Head::Bytes { number, bytes } = head else {
            self.keep_head();
            let Head::Fixed(bytes) = head else { return };
            self.state = State::Copy(bytes);
            return;
        };
        let begins = self.taken + 1;
        let end = begins.saturating_add(bytes);
        if self.open.last().is_some_and(|level| level.end < end) {
            return self.give_up();
        }
        let message = self.open.last().map_or(Kind::Event, |level| level.message);
        let inner = match (message, number) {
            _ if self.has_body => None,
            (Kind::Event, 7) | (Kind::Change, 4) => Some(Kind::Command),
            (Kind::Event, 10) => Some(Kind::Group),
            (Kind::Group, 1) => Some(Kind::Change),
            _ => None,
        };
        if let Some(inner) = inner {
            let width = encoded_len_varint(bytes as u64);
            self.keep_head();
            let length = self.out.len() - width..self.out.len();
            self.open.push(Level { message: inner, end, length, bytes, saved: 0 });
            return;
        }
        let is_long = bytes >= SHARED_BYTES && !self.has_body;
        let notes = is_long && matches!((message, number), (Kind::Event, 6) | (Kind::Change, 3));
        let may_repeat =
            is_long && matches!((message, number), (Kind::Command, 1) | (Kind::Change, 3));
        let known = self.keys.iter().rposition(|key| may_repeat && key.len() == bytes);
        self.state = match known {
            Some(key) => State::Compare { key, same: 0, notes },
            None => {
                self.keep_head();
                self.begin_value(bytes, notes);
                State::Copy(bytes)
            }
        };
        if bytes == 0 {
            self.state = State::Field;
        }
    }

    fn begin_value(&mut self, bytes: usize, notes: bool) {
        if notes {
            self.keys.push(self.out.len()..self.out.len() + bytes);
        }
    }

    fn copy(&mut self, rest: &[u8], left: usize) -> usize {
        let value = rest.get(..left).unwrap_or(rest);
        self.out.extend_from_slice(value);
        self.state = match left - value.len() {
            0 => State::Field,
            left => State::Copy(left),
        };
        value.len()
    }

    fn compare(&mut self, rest: &[u8], (number, same): (usize, usize), notes: bool) -> usize {
        let key = self.keys.get(number).cloned().unwrap_or_default();
        let left = key.len() - same;
        let value = rest.get(..left).unwrap_or(rest);
        let at = key.start + same;
        if self.out.get(at..at + value.len()) != Some(value) {
            // It is another value after all.
            self.keep_head();
            self.begin_value(key.len(), notes);
            self.out.extend_from_within(key.start..at);
            self.state = State::Copy(left);
            return 0;
        }
        self.state = State::Compare { key: number, same: same + value.len(), notes };
        if value.len() == left {
            self.refer_to(number, key.len());
        }
        value.len()
    }

    /// Writes the number of a key in the place of the field at hand.
    fn refer_to(&mut self, number: usize, bytes: usize) {
        let before = self.out.len();
        let (tag, _) = varint(&self.head).unwrap_or_default();
        encode_varint(tag & !7, &mut self.out);
        encode_varint(number as u64, &mut self.out);
        let saved = self.head.len() + bytes - (self.out.len() - before);
        if let Some(level) = self.open.last_mut() {
            level.saved += saved;
        }
        self.head.clear();
        self.saved = true;
        self.state = State::Field;
    }

    /// Ends the messages that end here: their lengths are those of what was written.
    fn close_levels(&mut self) {
        if !matches!(self.state, State::Field) || !self.head.is_empty() {
            return;
        }
        while let Some(level) = self.open.pop_if(|level| level.end == self.taken) {
            let mut left = level.bytes - level.saved;
            // As wide as before: a varint may have more bytes than it needs.
            let last = level.length.end.saturating_sub(1);
            for at in level.length {
                if let Some(byte) = self.out.get_mut(at) {
                    *byte = u8::try_from(left & 0x7f).unwrap_or_default()
                        | if at == last { 0 } else { 0x80 };
                }
                left >>= 7;
            }
            match self.open.last_mut() {
                Some(outer) => outer.saved += level.saved,
                None => self.has_body = true,
            }
        }
    }
}

/// The beginning of a field.
enum Head {
    /// A whole field: a number.
    Number,
    /// A value of so many bytes follows.
    Fixed(usize),
    /// A value of so many bytes follows, or a message.
    Bytes { number: u32, bytes: usize },
}

impl Head {
    /// None: more bytes are needed. An error: there is no such field.
    fn of(bytes: &[u8]) -> Result<Option<Self>, ()> {
        let Some((tag, tag_bytes)) = varint(bytes) else { return Ok(None) };
        let number = u32::try_from(tag >> 3).map_err(|_| ())?;
        let rest = bytes.get(tag_bytes..).unwrap_or_default();
        match WireType::try_from(tag & 7) {
            Ok(WireType::Varint) => Ok(varint(rest).map(|_| Self::Number)),
            Ok(WireType::SixtyFourBit) => Ok(Some(Self::Fixed(8))),
            Ok(WireType::ThirtyTwoBit) => Ok(Some(Self::Fixed(4))),
            Ok(WireType::LengthDelimited) => {
                let Some((length, width)) = varint(rest) else { return Ok(None) };
                let bytes = usize::try_from(length).map_err(|_| ())?;
                // Of a longer one than needed the place could not be found again.
                let plain = width == encoded_len_varint(length);
                plain.then_some(Some(Self::Bytes { number, bytes })).ok_or(())
            }
            Ok(WireType::StartGroup | WireType::EndGroup) | Err(_) => Err(()),
        }
    }
}

/// The number at the beginning, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut rest = bytes;
    let number = decode_varint(&mut rest).ok()?;
    Some((number, bytes.len() - rest.len()))
}

/// Decodes what [`LeanWriter`] made of an encoding, or an encoding. As [`decode`] it copies no byte of a key or a value.
///
/// # Errors
/// As [`decode`].
pub fn decode_lean(bytes: Bytes) -> Result<Event, DecodeError> {
    // No encoding has a number where a key stands, and nothing but that sets the two apart.
    decode(bytes.clone()).or_else(|error| lean(&bytes).map_err(|_| error))
}

/// The encoding of an event of which that is the lean form, or the encoding.
///
/// # Errors
/// As [`decode`].
pub fn whole_of_lean(bytes: &Bytes) -> Result<Bytes, DecodeError> {
    if bytes.len() < SHARED_BYTES || decode(bytes.clone()).is_ok() {
        return Ok(bytes.clone());
    }
    let event = decode_lean(bytes.clone())?;
    let mut whole = BytesMut::new();
    let encoded = super::encode(&event, &mut whole);
    encoded.map_err(|_| DecodeError::Missing { name: "a whole of ChangeEvent" })?;
    Ok(whole.freeze())
}

/// The long keys in the order in which they stand.
struct Keys<'a> {
    event: &'a Bytes,
    known: Vec<Bytes>,
}

fn lean(bytes: &Bytes) -> Result<Event, DecodeError> {
    let malformed = |reason| DecodeError::malformed("ChangeEvent", reason);
    let parts = Parts::of(bytes).map_err(malformed)?;
    let mut keys = Keys { event: bytes, known: Vec::new() };
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next().map_err(malformed)? {
        if field.number == 6 {
            keys.key(field).map_err(malformed)?;
        }
    }
    let body = match parts.body {
        Some((7, body)) => Body::Command(keys.command(body)?),
        Some((10, body)) => keys.group(body)?,
        _ => return Err(DecodeError::Missing { name: "body" }),
    };
    decode::event_of(bytes, parts, |_| Ok(body))
}

// === impl Keys ===

impl Keys<'_> {
    /// A field that is a key.
    fn key(&mut self, field: FieldValue<'_>) -> Result<Bytes, Malformed> {
        let key = self.value(field)?;
        if field.bytes().is_ok() && key.len() >= SHARED_BYTES {
            self.known.push(key.clone());
        }
        Ok(key)
    }

    /// A field that is a key or an argument, or the number of a key.
    fn value(&self, field: FieldValue<'_>) -> Result<Bytes, Malformed> {
        let Ok(number) = field.varint() else {
            return field.bytes().map(|value| self.event.slice_ref(value));
        };
        let known = usize::try_from(number).ok().and_then(|number| self.known.get(number));
        known.cloned().ok_or(Malformed::WireType { field: field.number })
    }

    fn command(&self, bytes: &[u8]) -> Result<Command, DecodeError> {
        let malformed = |reason| DecodeError::malformed("Command", reason);
        let (mut args, mut effect, mut written, mut read) = (Vec::new(), 0, Vec::new(), Vec::new());
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next().map_err(malformed)? {
            match field.number {
                1 => args.push(self.value(field).map_err(malformed)?),
                2 => effect = low_bits(field.varint().map_err(malformed)?),
                3 => field.append_to(&mut written).map_err(malformed)?,
                4 => field.append_to(&mut read).map_err(malformed)?,
                _ => {}
            }
        }
        let effect = Effect::convert(effect.cast_signed())?;
        let command = Command { args, effect, keys: decode::keys(written, read) };
        check::command_keys(&command)?;
        Ok(command)
    }

    fn group(&mut self, bytes: &[u8]) -> Result<Body, DecodeError> {
        let malformed = |reason| DecodeError::malformed("Group", reason);
        let mut changes = Vec::new();
        // All but the changes, which are not read by what knows no references.
        let mut others = Vec::new();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next().map_err(malformed)? {
            match field.number {
                1 => changes.push(self.change(field.bytes().map_err(malformed)?)?),
                _ => field.write_to(&mut others),
            }
        }
        let rest = schema::Group::decode(others.as_slice())
            .map_err(|reason| DecodeError::malformed("Group", reason))?;
        let mut group = convert::group(rest, &others)?;
        group.changes = changes;
        Ok(Body::Group(group))
    }

    fn change(&mut self, bytes: &[u8]) -> Result<GroupedChange, DecodeError> {
        let malformed = |reason| DecodeError::malformed("Change", reason);
        let (mut key, mut change) = (Bytes::new(), None);
        let mut others = Vec::new();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next().map_err(malformed)? {
            match field.number {
                3 => key = self.key(field).map_err(malformed)?,
                4 => {
                    let command = field.bytes().map_err(malformed)?;
                    change = Some(Change::Command(self.command(command)?));
                }
                _ => field.write_to(&mut others),
            }
        }
        let rest = schema::Change::decode(Bytes::from(others))
            .map_err(|reason| DecodeError::malformed("Change", reason))?;
        if let Some(body) = rest.body {
            change = Some(Change::convert(body)?);
        }
        let change = change.ok_or(DecodeError::Missing { name: "Change" })?;
        Ok(GroupedChange { db: rest.db, slot: decode::slot(rest.slot)?, key, change })
    }
}

#[cfg(test)]
mod tests;
