//! See `wire::fuzzing::normalise` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzzing::normalise(data));
