//! Values encoded anew: element by element, as every server reads them, or in the layout of the
//! one that is meant; for destinations that do not know the encoding in which the value came.
//! [`lower`](super::lower) knows when.

mod stream;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::HashField;
use super::kind::{Flavour, ValueType};
use super::value::Value;

pub use stream::stream;

/// Stand in a text score's length for what has no digits.
const NAN: u8 = 253;
const INFINITY: u8 = 254;
const NEGATIVE_INFINITY: u8 = 255;

/// Why a value has no generic encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoGenericForm {
    /// Every encoding of a stream has a version.
    #[error("streams have no generic encoding")]
    Stream,
    /// Only the module knows its encoding.
    #[error("values of modules have no generic encoding")]
    Module,
    /// The generic hash has no deadlines of fields.
    #[error("expiring hash fields have no generic encoding")]
    ExpiringFields,
}

/// Encodes a value with one of the types 0, 1, 2, 4 and 5.
///
/// # Errors
/// The value has no such encoding.
pub fn generic(value: &Value) -> Result<(ValueType, Bytes), NoGenericForm> {
    let mut raw = BytesMut::new();
    let kind = match value {
        Value::Str(bytes) => {
            text(&mut raw, bytes);
            ValueType::String
        }
        Value::List(elements) => {
            texts(&mut raw, elements);
            ValueType::List
        }
        Value::Set(members) => {
            texts(&mut raw, members);
            ValueType::Set
        }
        Value::Zset(members) => {
            length(&mut raw, members.len() as u64);
            for (member, score) in members {
                text(&mut raw, member);
                raw.put_f64_le(*score);
            }
            ValueType::Zset
        }
        Value::Hash(fields) => {
            length(&mut raw, fields.len() as u64);
            for field in fields {
                if field.expire_at_ms.is_some() {
                    return Err(NoGenericForm::ExpiringFields);
                }
                text(&mut raw, &field.field);
                text(&mut raw, &field.value);
            }
            ValueType::Hash
        }
        Value::Stream(_) => return Err(NoGenericForm::Stream),
        Value::Module { .. } => return Err(NoGenericForm::Module),
    };
    Ok((kind, raw.freeze()))
}

/// Encodes a sorted set as type 3, for servers that know no binary scores.
#[must_use]
pub fn zset_text(members: &[(Bytes, f64)]) -> Bytes {
    let mut raw = BytesMut::new();
    length(&mut raw, members.len() as u64);
    for (member, score) in members {
        text(&mut raw, member);
        text_score(&mut raw, *score);
    }
    raw.freeze()
}

/// Encodes a hash whose fields may expire: as type 22 for Valkey, as type 24 for Redis.
#[must_use]
pub fn expiring_hash(fields: &[HashField], flavour: Flavour) -> (ValueType, Bytes) {
    let mut raw = BytesMut::new();
    if flavour == Flavour::Valkey {
        length(&mut raw, fields.len() as u64);
        for field in fields {
            text(&mut raw, &field.field);
            text(&mut raw, &field.value);
            // -1 is none; all that is below 1970 has passed alike.
            raw.put_i64_le(field.expire_at_ms.map_or(-1, |ms| ms.max(0)));
        }
        return (ValueType::HashExpiryValkey, raw.freeze());
    }
    let earliest = fields.iter().filter_map(|field| field.expire_at_ms).min().unwrap_or_default();
    raw.put_i64_le(earliest);
    length(&mut raw, fields.len() as u64);
    for field in fields {
        // One more than the distance from the earliest; 0 is none.
        let distance = field.expire_at_ms.map(|ms| ms.abs_diff(earliest));
        length(&mut raw, distance.map_or(0, |ms| ms.saturating_add(1)));
        text(&mut raw, &field.field);
        text(&mut raw, &field.value);
    }
    (ValueType::HashExpiryRedis, raw.freeze())
}

/// A length byte and the shortest digits that read back as the same number.
fn text_score(raw: &mut BytesMut, score: f64) {
    if score.is_nan() {
        return raw.put_u8(NAN);
    }
    if score.is_infinite() {
        return raw.put_u8(if score > 0.0 { INFINITY } else { NEGATIVE_INFINITY });
    }
    // Without an exponent the largest numbers have more digits than a length byte can say.
    let digits = format!("{score:e}");
    raw.put_u8(u8::try_from(digits.len()).expect("17 digits, a sign, a point and an exponent"));
    raw.put_slice(digits.as_bytes());
}

fn texts(raw: &mut BytesMut, texts: &[Bytes]) {
    length(raw, texts.len() as u64);
    texts.iter().for_each(|one| text(raw, one));
}

fn text(raw: &mut BytesMut, bytes: &[u8]) {
    length(raw, bytes.len() as u64);
    raw.put_slice(bytes);
}

/// A length in its shortest encoding.
fn length(raw: &mut BytesMut, len: u64) {
    if let Ok(small @ 0..64) = u8::try_from(len) {
        raw.put_u8(small);
    } else if let Ok(medium @ 0..0x4000) = u16::try_from(len) {
        raw.put_u16(medium | 0x4000);
    } else if let Ok(long) = u32::try_from(len) {
        raw.put_u8(0x80);
        raw.put_u32(long);
    } else {
        raw.put_u8(0x81);
        raw.put_u64(len);
    }
}

#[cfg(test)]
mod tests;
