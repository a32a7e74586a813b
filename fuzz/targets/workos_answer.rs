//! See `authpost_fuzz::properties::workos_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::properties::workos_answer(data));
