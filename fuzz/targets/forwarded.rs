//! See `authpost_fuzz::requests::forwarded`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::requests::forwarded(data));
