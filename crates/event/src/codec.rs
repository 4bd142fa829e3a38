//! Domain types to protobuf and back.
//!
//! What is encoded decodes to an equal value, and what decodes can be encoded: both sides refuse
//! the same inconsistencies ([`Invalid`]). Encoding writes straight into the buffer, without
//! building protobuf structs; decoding copies no byte of a key or a value: they are slices of the
//! input. Neither panics on any input.
//!
//! [`encode_command`], [`encode_text_image`] and [`encode_rdb_image`] write what [`encode`] writes
//! for the same event, from borrowed slices and without an allocation besides the buffer's own.

pub mod checkpoint;

mod bodies;
mod check;
mod convert;
mod decode;
mod encode;
mod error;
mod scan;
mod sink;

pub(crate) use self::bodies::{change_bytes_max, group_bytes_max};
pub use self::decode::decode;
pub use self::encode::{Head, encode, encode_command, encode_rdb_image, encode_text_image};
pub use self::error::{DecodeError, EncodeError, Invalid, Malformed};

#[cfg(test)]
mod tests;
