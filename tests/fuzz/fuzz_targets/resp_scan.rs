//! See `wire::fuzzing::scan` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wire::fuzzing::scan(data));
