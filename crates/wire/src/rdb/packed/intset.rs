//! Intsets: numbers of one width.

use bytes::Bytes;

use super::{Blob, Scalar};
use crate::rdb::error::Fault;

/// Width and count.
const HEAD_BYTES: usize = 8;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::rdb) struct Intset {
    blob: Blob,
    width: usize,
}

// === impl Intset ===

impl Intset {
    pub(super) fn new(bytes: Bytes) -> Result<Self, Fault> {
        let total = bytes.len();
        let mut blob = Blob::new(bytes, "intset");
        let (width, count) = (blob.u32()?, blob.u32()?);
        if !matches!(width, 2 | 4 | 8) {
            return Err(blob.broken("its width is neither 2, 4 nor 8"));
        }
        let said = count.checked_mul(width).and_then(|bytes| bytes.checked_add(HEAD_BYTES));
        if said == Some(total) {
            Ok(Self { blob, width })
        } else {
            Err(blob.broken("its length is wrong"))
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Scalar>, Fault> {
        let blob = &mut self.blob;
        if blob.bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(Scalar::Int(match self.width {
            2 => i16::from_le_bytes(blob.array()?).into(),
            4 => i32::from_le_bytes(blob.array()?).into(),
            _ => i64::from_le_bytes(blob.array()?),
        })))
    }
}
