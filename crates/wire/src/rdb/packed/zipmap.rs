//! Zipmaps, in which servers before 2.6 packed hashes: fields and values in turn, values with room
//! to grow behind them.

use bytes::Bytes;

use super::{Blob, Scalar};
use crate::rdb::error::Fault;

/// Stands where the next field would begin.
const END: u8 = 0xff;

/// As a length: the length follows in four bytes.
const LENGTH_LONG: u8 = 0xfe;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::rdb) struct Zipmap {
    blob: Blob,
    /// Whether a value comes next, not a field.
    value: bool,
}

// === impl Zipmap ===

impl Zipmap {
    pub(super) fn new(bytes: Bytes) -> Result<Self, Fault> {
        let mut blob = Blob::new(bytes, "zipmap");
        // How many fields there are, or that there are too many to say.
        blob.byte()?;
        Ok(Self { blob, value: false })
    }

    pub(super) fn next(&mut self) -> Result<Option<Scalar>, Fault> {
        let blob = &mut self.blob;
        let len = match blob.byte()? {
            END if !self.value => return blob.end(),
            END => return Err(blob.broken("it ends inside an element")),
            LENGTH_LONG => blob.u32()?,
            len => len.into(),
        };
        let room = if self.value { blob.byte()? } else { 0 };
        let bytes = blob.take(len)?;
        blob.take(room.into())?;
        self.value = !self.value;
        Ok(Some(Scalar::Bytes(bytes)))
    }
}
