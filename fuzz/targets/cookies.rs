//! See `authpost_fuzz::requests::cookies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::requests::cookies(data));
