//! See `authpost_fuzz::properties::address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::properties::address(data));
