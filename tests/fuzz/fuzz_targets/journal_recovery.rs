//! See `journal::local::fuzzing::recovery` for what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| journal::local::fuzzing::recovery(data));
