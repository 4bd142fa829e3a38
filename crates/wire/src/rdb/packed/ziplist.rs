//! Ziplists: entries that know the length of the one before.

use bytes::Bytes;

use super::{Blob, Scalar};
use crate::rdb::error::Fault;

/// Stands where the next entry would begin.
const END: u8 = 0xff;

/// As the length of the entry before: the length follows in four bytes.
const PREVIOUS_LONG: u8 = 0xfe;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::rdb) struct Ziplist(Blob);

// === impl Ziplist ===

impl Ziplist {
    pub(super) fn new(bytes: Bytes) -> Result<Self, Fault> {
        let total = bytes.len();
        let mut blob = Blob::new(bytes, "ziplist");
        let said = blob.u32()?;
        // Where the last entry begins, and how many there are: hints.
        blob.array::<6>()?;
        if said == total { Ok(Self(blob)) } else { Err(blob.broken("its length is wrong")) }
    }

    pub(super) fn next(&mut self) -> Result<Option<Scalar>, Fault> {
        let blob = &mut self.0;
        match blob.byte()? {
            END => return blob.end(),
            PREVIOUS_LONG => drop(blob.array::<4>()?),
            _ => {}
        }
        let encoding = blob.byte()?;
        let low = usize::from(encoding & 0x3f);
        Ok(Some(match encoding {
            0x00..=0x3f => Scalar::Bytes(blob.take(low)?),
            0x40..=0x7f => {
                let len = low << 8 | usize::from(blob.byte()?);
                Scalar::Bytes(blob.take(len)?)
            }
            0x80 => {
                let len = usize::try_from(u32::from_be_bytes(blob.array()?))
                    .map_err(|_| blob.broken("a length is out of range"))?;
                Scalar::Bytes(blob.take(len)?)
            }
            0xc0 => Scalar::Int(i16::from_le_bytes(blob.array()?).into()),
            0xd0 => Scalar::Int(i32::from_le_bytes(blob.array()?).into()),
            0xe0 => Scalar::Int(i64::from_le_bytes(blob.array()?)),
            0xf0 => {
                let [a, b, c] = blob.array()?;
                Scalar::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into())
            }
            0xfe => Scalar::Int(i8::from_le_bytes(blob.array()?).into()),
            0xf1..=0xfd => Scalar::Int(i64::from(encoding & 0x0f) - 1),
            _ => return Err(blob.broken("an entry has an unknown encoding")),
        }))
    }
}
