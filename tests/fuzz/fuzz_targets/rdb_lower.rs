//! See `wire::rdb::fuzzing::lowered` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::rdb::fuzzing::lowered(data));
