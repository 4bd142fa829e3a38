//! RESP, RDB, slots and the command table of Redis and Valkey: bytes in, values out.
//!
//! Nothing here does I/O or panics on any input.

pub mod args;
pub mod command;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod resp;
pub mod slot;

pub mod crc64;
mod lzf;
pub mod rdb;
mod sha1;
