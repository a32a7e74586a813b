//! Authpost mails WorkOS login codes from your own SMTP relay.
//!
//! This package is the composition root: it reads the configuration ([`config`]), opens the engine
//! ([`engines`], the one `match` on engines), joins the roles to their adapters ([`wiring`]), runs
//! them ([`service`]) and offers the commands ([`cmd`]). What the roles do is in the crates
//! `ingress` and `worker`.

pub mod cmd;
pub mod config;
pub mod deps;
mod descriptors;
pub mod engines;
pub mod finding;
pub mod memory;
pub mod reload;
pub mod service;
pub mod wiring;

/// The version of this release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version, and the commit and the profile it was built from.
pub const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("AUTHPOST_BUILD"), ")");
