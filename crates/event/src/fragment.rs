//! Events larger than one record may be: cut into pieces, and put together again.

use bytes::Bytes;

/// A piece of the encoding of a larger event. All pieces carry that event's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Counted from 0.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    /// Size of the whole encoding.
    pub total_bytes: u64,
    /// CRC-32C of the whole encoding.
    pub crc32c: u32,
    /// This piece of it.
    pub data: Bytes,
}
