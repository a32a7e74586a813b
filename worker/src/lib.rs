//! Authpost's worker: from a queued event to a mail at the relay.
//!
//! Read [`process::process`] first: it is the whole journey of one event. [`consume`] takes
//! deliveries, calls it, and settles, counts and logs the outcome in one place.

mod breaker;
mod circuit;
pub mod consume;
mod languages;
pub mod mail;
pub mod outcome;
pub mod process;
pub mod reconcile;
mod state;

#[cfg(test)]
mod simulation;

pub use self::{
    breaker::CircuitBreaker,
    consume::run,
    languages::LanguageSources,
    state::{OnAmbiguity, Worker, WorkerConfig},
};
