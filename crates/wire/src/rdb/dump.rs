//! DUMP payloads, as RESTORE takes them: type, value, RDB version and checksum, without key and
//! deadline.
//!
//! A server compares the version with its own and uses it for nothing else, so a payload may be
//! made under any version that knows the value's type, whatever server the value came from.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::{Error, Fault};
use super::kind::{Flavour, ValueType};
use super::reader::{Reader, Stop};
use super::record::{KEY_META, KEY_META_VERSION, key_meta};
use super::value;
use crate::crc64::{Crc64, crc64};

/// Version and checksum.
const FOOTER_BYTES: usize = 10;

/// The checksum at the end of the footer.
const CHECKSUM_BYTES: usize = 8;

/// The opcode with which KeyDB notes a time between the value and the footer.
const AUX: u8 = 250;

/// A payload taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Metadata of modules that stands before the type, the exact bytes after its opcode.
    pub key_meta: Option<Bytes>,
    /// The type byte; [`Payload::value_type`] resolves it.
    pub kind: u8,
    /// What follows up to the footer: the value, in the encoding of its type.
    pub raw: Bytes,
    /// The RDB version of the server that made the payload.
    pub version: u16,
    /// Whether the payload had a checksum, which then was right; zero stands for none.
    pub checked: bool,
}

/// The payload of a value.
#[must_use]
pub fn payload(kind: u8, raw: &[u8], version: u16) -> Bytes {
    seal(&[&[kind], raw], version)
}

/// The payload of a value whose key has metadata of modules; `key_meta` are the exact bytes after
/// the opcode. Only Redis 8.6 and later, under a version that has it, take such a payload.
#[must_use]
pub fn payload_with_meta(key_meta: &[u8], kind: u8, raw: &[u8], version: u16) -> Bytes {
    seal(&[&[KEY_META], key_meta, &[kind], raw], version)
}

/// Takes a payload apart, after a look at its length and checksum; the value is not decoded.
///
/// # Errors
/// [`Fault::Truncated`], [`Fault::Checksum`], or what is wrong with the metadata before the type.
pub fn parse(payload: &Bytes) -> Result<Payload, Error> {
    let truncated = || Fault::Truncated.at(payload.len() as u64);
    let (covered, stored) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(truncated)?;
    let (body, version) = covered.split_last_chunk::<2>().ok_or_else(truncated)?;
    let (stored, version) = (u64::from_le_bytes(*stored), u16::from_le_bytes(*version));
    if stored != 0 {
        let mut crc = Crc64::default();
        crc.update(covered);
        let computed = crc.value();
        if stored != computed {
            return Err(Fault::Checksum { stored, computed }.at(covered.len() as u64));
        }
    }
    let (key_meta, at) = leading_meta(body, version)?;
    let kind = *body.get(at).ok_or_else(truncated)?;
    Ok(Payload {
        key_meta: key_meta.map(|(start, end)| payload.slice(start..end)),
        kind,
        raw: payload.slice(at + 1..body.len()),
        version,
        checked: stored != 0,
    })
}

// === impl Payload ===

impl Payload {
    /// What the type byte means under the payload's version.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] or [`Fault::UnknownType`].
    pub fn value_type(&self) -> Result<ValueType, Fault> {
        ValueType::from_byte(self.kind, Flavour::of_version(self.version))
    }

    /// Cuts off what KeyDB notes behind the value, which no other server takes.
    ///
    /// # Errors
    /// What is wrong with the type or the value.
    pub fn without_notes(mut self) -> Result<Self, Error> {
        let kind = self.value_type().map_err(|fault| fault.at(0))?;
        let len = value::length(kind, &self.raw)?;
        match self.raw.get(len) {
            None => {}
            Some(&AUX) => self.raw.truncate(len),
            Some(_) => return Err(Fault::TrailingBytes(self.raw.len() - len).at(len as u64)),
        }
        Ok(self)
    }
}

fn seal(body: &[&[u8]], version: u16) -> Bytes {
    let len: usize = body.iter().map(|part| part.len()).sum();
    let mut payload = BytesMut::with_capacity(len + FOOTER_BYTES);
    body.iter().for_each(|part| payload.put_slice(part));
    payload.put_u16_le(version);
    let checksum = crc64(&payload);
    payload.put_u64_le(checksum);
    payload.freeze()
}

/// Where metadata of modules stands, if any, and where the type byte follows.
fn leading_meta(body: &[u8], version: u16) -> Result<(Option<(usize, usize)>, usize), Error> {
    let known = version >= KEY_META_VERSION && Flavour::of_version(version) == Flavour::Redis;
    if body.first() != Some(&KEY_META) || !known {
        return Ok((None, 0));
    }
    let mut reader = Reader::new(body, 1, 0, usize::MAX);
    match key_meta(&mut reader) {
        Ok(_) => Ok((Some((1, reader.position())), reader.position())),
        Err(Stop::Bad(error)) => Err(error),
        Err(Stop::More(_)) => Err(Fault::Truncated.at(body.len() as u64)),
    }
}

#[cfg(test)]
mod tests;
