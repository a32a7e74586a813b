//! A WorkOS stand-in and an SMTP inbox, over real sockets: what `authpost demo` runs against, and
//! the tests.
//!
//! Nothing here is part of the product's path: the roles reach these servers through the same
//! clients, over the same protocols, as they reach the real ones.

pub mod clock;
pub mod events;
pub mod inbox;
pub mod proxy;
pub mod readable;
pub mod workos;
