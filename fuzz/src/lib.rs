//! What must hold for whatever comes in from outside. The fuzz targets run it on generated input,
//! and the ordinary tests (`tests/it/fuzzed.rs`) on the committed seeds, finds included.

pub mod properties;
