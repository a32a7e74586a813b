//! Authpost's vocabulary, its ports with their adapters, and the kit that runs its roles.
//!
//! One event's journey through these modules: bytes and a header become a [`webhook::SignedDelivery`], which either is
//! refused or verified into a [`payload::VerifiedEvent`]; one that a mail follows from travels as an
//! [`event::QueuedEvent`] through a [`queue`]; a worker claims it in a [`dedupe`] store, asks [`workos`] for the
//! [`login_code`], and settles the delivery. Every failure on the way is a [`fault::Fault`], every delay comes from
//! [`retry`].
//!
//! Pure, no IO: `address`, `clock`, `event`, `fault`, `ids`, `login_code`, `payload`, `retry`, `sign_in`, `webhook`.
//! Ports with their adapters beside them: `dedupe`, `queue`, `workos`. The kit: `crypto`, `failpoint`, `health`, `http`, `metrics`, `sqlite`,
//! `tasks`, `telemetry`, `tls`, `trace`.

pub mod address;
pub mod clock;
pub mod crypto;
pub mod dedupe;
pub mod event;
pub mod failpoint;
pub mod fault;
pub mod health;
pub mod http;
pub mod ids;
pub mod login_code;
pub mod metrics;
pub mod payload;
pub mod queue;
pub mod retry;
pub mod sign_in;
pub mod sqlite;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod webhook;
pub mod workos;
