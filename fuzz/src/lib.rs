//! What must hold for whatever comes in from outside. The fuzz targets run it on generated input,
//! and the ordinary tests (`tests/it/fuzz_seeds.rs`) on the committed seeds, finds included.

pub mod properties;
pub mod requests;
