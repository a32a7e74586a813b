//! Signing in through AuthKit: its vocabulary, and the port to the provider.

pub mod person;
pub mod provider;
pub mod refusal;
pub mod state;
