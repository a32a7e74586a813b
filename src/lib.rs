//! Authpost mails WorkOS login codes from your own SMTP relay.
//!
//! This package is the composition root: it reads the configuration ([`config`]), joins the roles to an engine
//! ([`wiring`], the one `match` on engines), runs them ([`service`]) and offers the commands ([`cmd`]). What the roles do
//! is in the crates `ingress` and `worker`; the words they share are in `shared`.

pub mod cmd;
pub mod config;
mod descriptors;
pub mod service;
pub mod wiring;

/// What `--version` says.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
