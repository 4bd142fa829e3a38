//! The generated protobuf types, private to the crate, and the version of the schema.

#![expect(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::str_to_string,
    clippy::uninlined_format_args,
    clippy::enum_glob_use,
    reason = "generated from proto/keyferry/v1, where each message is documented"
)]

/// Version of the schema that this build writes. It reads this and every earlier one.
pub const SCHEMA_VERSION: u32 = 1;

include!(concat!(env!("OUT_DIR"), "/keyferry.v1.rs"));
