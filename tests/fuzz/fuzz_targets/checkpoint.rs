//! See `event::fuzzing::checkpoint` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| event::fuzzing::checkpoint(data));
