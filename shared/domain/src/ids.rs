//! The identifiers WorkOS gives to events, codes and people, checked once on the way in.
//!
//! An identifier ends up in URLs, Redis keys, AMQP properties, log lines and a Message-ID. Each of
//! those is safe for the alphabet accepted here, so nothing downstream escapes or re-checks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier accepted, in bytes. WorkOS's own are under 40.
pub const MAX_ID_BYTES: usize = 128;

/// Why a text is not an identifier. The text itself is not repeated: it may be hostile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id is 1 to {MAX_ID_BYTES} letters, digits, '_' or '-'; this one has {length} bytes or another character"
)]
pub struct InvalidId {
    length: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The only way to make one.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if is_id(&text) { Ok(Self(text)) } else { Err(InvalidId { length: text.len() }) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// One event: `event_` and a ULID in production, `evt_…` from WorkOS's emulator. Claims are
    /// kept under this id.
    EventId
}
id! {
    /// One login code: `magic_auth_` and a ULID. The code is fetched under this id.
    MagicAuthId
}
id! {
    /// The person the code is for. Kept only to answer "what happened to this user's code".
    UserId
}

id! {
    /// One application of a WorkOS environment. Decides the brand of a mail.
    ClientId
}

impl EventId {
    /// The id of an event that never happened.
    pub fn sample() -> Self {
        Self("event_sample".to_owned())
    }
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
