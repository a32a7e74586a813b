//! Authpost's client of the WorkOS API: codes by id ([`Workos`]), past events ([`WorkosEvents`]),
//! signing in ([`WorkosSignIn`]), session tokens ([`WorkosSessions`]), and WorkOS's time
//! ([`WorkosClock`]).
//!
//! Recipient and code come from WorkOS's answer, never from the webhook
//! (<https://workos.com/docs/authkit/custom-emails>).

#[cfg(feature = "fuzzing")]
pub mod answer;
#[cfg(not(feature = "fuzzing"))]
mod answer;
mod api;
pub mod claims;
mod clock;
mod codes;
mod events;
mod gate;
mod sessions;
mod sign_in;
mod users;

pub use self::{
    answer::date,
    api::{ApiConfig, ApiKey, InvalidApiKey},
    clock::WorkosClock,
    codes::{LONGEST_WAIT_AT_GATE, Workos},
    events::WorkosEvents,
    sessions::WorkosSessions,
    sign_in::WorkosSignIn,
    users::WorkosUsers,
};
