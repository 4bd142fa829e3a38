//! Values encoded element by element, as every server reads them: for destinations that are too
//! old for the encoding in which the value came.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::kind::ValueType;
use super::value::Value;

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
            length(&mut raw, members.len());
            for (member, score) in members {
                text(&mut raw, member);
                raw.put_f64_le(*score);
            }
            ValueType::Zset
        }
        Value::Hash(fields) => {
            length(&mut raw, fields.len());
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

fn texts(raw: &mut BytesMut, texts: &[Bytes]) {
    length(raw, texts.len());
    texts.iter().for_each(|one| text(raw, one));
}

fn text(raw: &mut BytesMut, bytes: &[u8]) {
    length(raw, bytes.len());
    raw.put_slice(bytes);
}

/// A length in its shortest encoding.
fn length(raw: &mut BytesMut, len: usize) {
    if let Ok(small @ 0..64) = u8::try_from(len) {
        raw.put_u8(small);
    } else if let Ok(medium @ 0..0x4000) = u16::try_from(len) {
        raw.put_u16(medium | 0x4000);
    } else if let Ok(long) = u32::try_from(len) {
        raw.put_u8(0x80);
        raw.put_u32(long);
    } else {
        raw.put_u8(0x81);
        raw.put_u64(len as u64);
    }
}

#[cfg(test)]
mod tests;
