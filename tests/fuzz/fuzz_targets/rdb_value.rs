//! See `wire::rdb::fuzzing::whole_value` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::rdb::fuzzing::whole_value(data));
