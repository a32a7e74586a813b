//! See `authpost_fuzz::requests::origin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::requests::origin(data));
