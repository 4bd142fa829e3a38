//! Reading protobuf field by field, without a schema.
//!
//! What stands on the path of every field is inlined always: as calls, with results through memory,
//! decoding an event costs a third more.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::error::{DecodeError, Malformed};

/// The fields of one message, in the order in which they stand.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of eight or four bytes: no field that is read here is of this kind.
    Fixed,
}

/// A field and its value.
#[derive(Clone, Copy)]
pub(super) struct FieldValue<'a> {
    pub(super) number: u32,
    value: Value<'a>,
}

/// The error for a message that says nothing known: names the first field that this build does not
/// know and that could be what the message says, else what is missing.
pub(super) fn nothing_known(message: &'static str, bytes: &[u8], known: &[u32]) -> DecodeError {
    let mut fields = Fields::of(bytes);
    while let Ok(Some(field)) = fields.next() {
        if field.bytes().is_ok() && !known.contains(&field.number) {
            return DecodeError::UnknownBody { message, field: field.number };
        }
    }
    DecodeError::Missing { name: message }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field; none at the end. After an error nothing that follows means anything.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<FieldValue<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.key()?;
        let value = match kind {
            WireType::Varint => Value::Varint(self.varint()?),
            WireType::LengthDelimited => {
                let promised = self.varint()?;
                Value::Bytes(self.take(number, promised)?)
            }
            WireType::SixtyFourBit => self.take(number, 8).map(|_| Value::Fixed)?,
            WireType::ThirtyTwoBit => self.take(number, 4).map(|_| Value::Fixed)?,
            WireType::StartGroup | WireType::EndGroup => {
                return Err(Malformed::WireType { field: number });
            }
        };
        Ok(Some(FieldValue { number, value }))
    }

    /// A field's number and wire type. Most take one byte.
    #[inline(always)]
    fn key(&mut self) -> Result<(u32, WireType), Malformed> {
        if let [key @ 8..0x80, rest @ ..] = self.rest
            && let Ok(kind) = WireType::try_from(u64::from(key & 7))
        {
            self.rest = rest;
            return Ok((u32::from(key >> 3), kind));
        }
        Ok(decode_key(&mut self.rest)?)
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Malformed> {
        if let [value @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*value));
        }
        Ok(decode_varint(&mut self.rest)?)
    }

    #[inline(always)]
    fn take(&mut self, field: u32, promised: u64) -> Result<&'a [u8], Malformed> {
        let taken = usize::try_from(promised).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((value, rest)) = taken else {
            return Err(Malformed::Truncated { field, promised, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(value)
    }
}

// === impl FieldValue ===

impl<'a> FieldValue<'a> {
    #[inline(always)]
    pub(super) fn varint(self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            Value::Bytes(_) | Value::Fixed => Err(Malformed::WireType { field: self.number }),
        }
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(value) => Ok(value),
            Value::Varint(_) | Value::Fixed => Err(Malformed::WireType { field: self.number }),
        }
    }

    pub(super) fn text(self) -> Result<String, Malformed> {
        match std::str::from_utf8(self.bytes()?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed::NotText { field: self.number }),
        }
    }

    /// Writes the field as it stands, but for one of a kind that is not read here.
    pub(super) fn write_to(self, out: &mut Vec<u8>) {
        match self.value {
            Value::Varint(value) => {
                encode_key(self.number, WireType::Varint, out);
                encode_varint(value, out);
            }
            Value::Bytes(value) => {
                encode_key(self.number, WireType::LengthDelimited, out);
                encode_varint(value.len() as u64, out);
                out.extend_from_slice(value);
            }
            Value::Fixed => {}
        }
    }

    /// One value of a repeated number, or several where they are packed. As in every protobuf
    /// reader what does not fit 32 bits loses the rest.
    pub(super) fn append_to(self, list: &mut Vec<u32>) -> Result<(), Malformed> {
        let mut packed = match self.value {
            Value::Varint(value) => {
                list.push(low_bits(value));
                return Ok(());
            }
            Value::Bytes(packed) => packed,
            Value::Fixed => return Err(Malformed::WireType { field: self.number }),
        };
        while !packed.is_empty() {
            list.push(low_bits(decode_varint(&mut packed)?));
        }
        Ok(())
    }
}

/// What a 32-bit field makes of a varint.
#[expect(clippy::cast_possible_truncation, reason = "protobuf's own rule for 32-bit fields")]
pub(super) fn low_bits(value: u64) -> u32 {
    value as u32
}
