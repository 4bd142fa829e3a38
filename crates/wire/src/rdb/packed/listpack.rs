//! Listpacks: entries that end with their own length, for a walk from the end.

use bytes::Bytes;

use super::{Blob, Scalar};
use crate::rdb::error::Fault;

/// Stands where the next entry would begin.
const END: u8 = 0xff;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::rdb) struct Listpack(Blob);

// === impl Listpack ===

impl Listpack {
    pub(in crate::rdb) fn new(bytes: Bytes) -> Result<Self, Fault> {
        let total = bytes.len();
        let mut blob = Blob::new(bytes, "listpack");
        let said = blob.u32()?;
        // How many entries there are, or that there are too many to say.
        blob.array::<2>()?;
        if said == total { Ok(Self(blob)) } else { Err(blob.broken("its length is wrong")) }
    }

    /// The next entry; `None` at the end of the blob.
    pub(in crate::rdb) fn next(&mut self) -> Result<Option<Scalar>, Fault> {
        let blob = &mut self.0;
        let before = blob.bytes.len();
        let first = blob.byte()?;
        let scalar = match first {
            0x00..=0x7f => Scalar::Int(first.into()),
            0x80..=0xbf => Scalar::Bytes(blob.take(usize::from(first & 0x3f))?),
            0xc0..=0xdf => {
                let number = i16::from(first & 0x1f) << 8 | i16::from(blob.byte()?);
                // 13 bits, the highest of which is the sign.
                Scalar::Int(((number << 3) >> 3).into())
            }
            0xe0..=0xef => {
                let len = usize::from(first & 0x0f) << 8 | usize::from(blob.byte()?);
                Scalar::Bytes(blob.take(len)?)
            }
            0xf0 => {
                let len = blob.u32()?;
                Scalar::Bytes(blob.take(len)?)
            }
            0xf1 => Scalar::Int(i16::from_le_bytes(blob.array()?).into()),
            0xf2 => {
                let [a, b, c] = blob.array()?;
                Scalar::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into())
            }
            0xf3 => Scalar::Int(i32::from_le_bytes(blob.array()?).into()),
            0xf4 => Scalar::Int(i64::from_le_bytes(blob.array()?)),
            END => return blob.end(),
            _ => return Err(blob.broken("an entry has an unknown encoding")),
        };
        let entry = before - blob.bytes.len();
        blob.take(length_bytes(entry))?;
        Ok(Some(scalar))
    }

    /// The next entry, which must be there.
    pub(in crate::rdb) fn must(&mut self) -> Result<Scalar, Fault> {
        self.next()?.ok_or_else(|| self.0.broken("it ends inside an element"))
    }
}

/// In how many bytes of seven bits the length of an entry stands behind it.
fn length_bytes(entry: usize) -> usize {
    match entry {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    }
}
