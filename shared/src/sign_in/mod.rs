//! The words of signing in by AuthKit. Pure: what talks to WorkOS is beside the rest of its client.

pub mod person;
pub mod refusal;
pub mod state;
