//! See `authpost_fuzz::properties::queued_event`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authpost_fuzz::properties::queued_event(data));
