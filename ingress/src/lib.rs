//! Authpost's ingress: everything that the public internet talks to.
//!
//! The whole path of a webhook is [`webhook::accept`]: read, verify, publish, answer. By its
//! dependencies this crate can publish and nothing else: it cannot consume, fetch a code or send a
//! mail.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod page;
pub mod proxies;
pub mod routes;
mod server;
pub mod sign_in;
mod state;
mod webhook;

pub use self::{server::run, state::Ingress, webhook::PROBE};
