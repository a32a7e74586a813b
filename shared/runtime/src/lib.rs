//! What every process needs: an HTTP server and clients, health, tasks, TLS, metrics, logs and
//! traces.
//!
//! Nothing here depends on an engine or on WorkOS. The roles, the engines and the WorkOS client
//! depend on it.

pub mod clock;
pub mod completed;
pub mod crypto;
pub mod dial;
pub mod failpoint;
pub mod health;
pub mod http;
pub mod live;
pub mod log_throttle;
pub mod metrics;
pub mod proxy;
pub mod random;
pub mod tasks;
pub mod telemetry;
pub mod terminal;
pub mod tls;
pub mod trace;
