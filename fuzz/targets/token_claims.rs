//! See `authpost_fuzz::requests::token_claims`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::requests::token_claims(data));
