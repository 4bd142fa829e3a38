//! RESP, as far as a replica and a writer need it.
//!
//! [`scan`] reads a replication stream, [`reply`] reads what a server answers, [`encode`] writes
//! commands. All three are pure: bytes in, values or bytes out, and no input makes them panic.

pub mod encode;
pub mod reply;
pub mod scan;
