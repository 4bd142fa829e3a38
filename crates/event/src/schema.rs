//! The generated protobuf types, private to the crate, and the version of the schema.

#![expect(
    unreachable_pub,
    reason = "generated from proto/keyferry/v1, where each message is documented"
)]
#![allow(dead_code, reason = "what is decoded by hand is constructed in tests only")]

/// Version of the schema that this build writes. It reads this and every earlier one.
pub const SCHEMA_VERSION: u32 = 1;

include!(concat!(env!("OUT_DIR"), "/keyferry.v1.rs"));
