//! See `redis_io::fuzzing::endpoint` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redis_io::fuzzing::endpoint(data));
