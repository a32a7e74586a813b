//! The words of signing in by AuthKit. Pure: what talks to WorkOS is beside the rest of its client.

pub mod state;
