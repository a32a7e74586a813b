//! The vocabulary of Authpost and its ports, without IO.
//!
//! One event's journey through these modules: bytes and a header become a
//! [`webhook::SignedDelivery`], which is either rejected or verified into a
//! [`payload::VerifiedEvent`]. An event that needs a mail travels as an [`event::QueuedEvent`]
//! through a [`queue`]; a worker takes out a claim on it ([`claims`]), fetches the [`login_code`]
//! from a [`codes::CodeSource`], and settles the delivery. Every failure on the way is a
//! [`fault::Fault`]; every delay comes from [`retry`].
//!
//! The ports are traits: [`queue::Publish`], [`queue::Consume`], [`queue::Inspect`],
//! [`claims::ClaimStore`], [`records::Records`], [`nonces::NonceStore`], [`codes::CodeSource`],
//! [`event_log::EventLog`], [`sign_in::provider::SignInProvider`], [`sessions::SessionVerifier`].
//! Their adapters are in the crates `engine` and `workos`. No dependency of this crate does IO,
//! starts a task or logs: its manifest is the proof.

pub mod address;
pub mod claims;
pub mod clock;
pub mod codes;
pub mod event;
pub mod event_log;
pub mod fault;
pub mod ids;
pub mod language;
pub mod login_code;
pub mod nonces;
pub mod payload;
pub mod queue;
pub mod records;
pub mod retry;
pub mod sessions;
pub mod sign_in;
pub mod webhook;
