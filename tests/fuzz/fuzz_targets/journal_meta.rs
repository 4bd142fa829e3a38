//! See `journal::local::fuzzing::meta` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| journal::local::fuzzing::meta(data));
