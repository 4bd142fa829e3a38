//! See `event::fuzzing::letter` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| event::fuzzing::letter(data));
