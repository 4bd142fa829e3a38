//! Domain types to protobuf and back.
//!
//! What is encoded decodes to an equal value, and what decodes can be encoded: both sides refuse
//! the same inconsistencies ([`Invalid`]). Encoding writes straight into the buffer, without
//! building protobuf structs; decoding copies no byte of a key or a value: they are slices of the
//! input. Neither panics on any input.
//!
//! [`encode_command`], [`encode_text_image`] and [`encode_rdb_image`] write what [`encode`] writes
//! for the same event, from borrowed slices and without an allocation besides the buffer's own;
//! [`Glance`] reads the commonest events likewise.
//! [`Beginning`] reads what an image says before its value.
//! [`decode_lean`] reads what was put together of pieces without what is repeated in it.
//! [`encode_rope`] and [`encode_command_rope`] write it without copying what is large.

pub mod checkpoint;

mod beginning;
mod bodies;
mod check;
mod convert;
mod decode;
mod encode;
mod error;
mod glance;
mod lean;
mod rope;
mod scan;
mod sink;

pub use self::beginning::Beginning;
pub(crate) use self::bodies::{change_bytes_max, group_bytes_max};
pub use self::decode::decode;
pub use self::encode::{
    Head, encode, encode_command, encode_command_rope, encode_rdb_image, encode_rope,
    encode_text_image,
};
pub use self::error::{DecodeError, EncodeError, Invalid, Malformed};
pub use self::glance::{GLANCE_ARGS, Glance, GlanceArgs, GlanceBody};
pub(crate) use self::lean::LeanWriter;
pub use self::lean::{decode_lean, whole_of_lean};
pub use self::rope::{Rope, SHARED_BYTES, lenders, lent};

#[cfg(test)]
mod tests;
