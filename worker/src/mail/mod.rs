//! The mail, and the port to the relay.

pub mod brand;
pub mod detector;
pub mod languages;
pub mod lint;
pub mod message;
pub mod relays;
pub mod render;
pub mod smtp;

use std::{borrow::Cow, fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    address::EmailAddress,
    fault::{Fault, Reason},
};
use jiff::Timestamp;
use runtime::trace;
use zeroize::Zeroizing;

/// A rendered mail. Made only by [`render::Templates::login_code`], from a code that had not
/// expired.
pub struct Mail {
    pub(crate) recipient: EmailAddress,
    pub(crate) sender: EmailAddress,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) message_id: String,
    pub(crate) event_digest: String,
    pub(crate) expires_at: Timestamp,
    /// How many times relays were silent about it before.
    pub(crate) unanswered_sends: u32,
}

impl Mail {
    /// The whole message (RFC 5322). Contains the code.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// After so many times that relays received it and did not answer.
    #[must_use]
    pub fn after_silences(self, unanswered_sends: u32) -> Self {
        Self { unanswered_sends, ..self }
    }

    /// When the code in it expires.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The Message-ID, the same for every copy of the mail for one event.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("recipient", &self.recipient)
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

/// The relay accepted the mail, and with it the responsibility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The relay's queue id; empty if its answer has none.
    pub receipt: String,
    /// The name of the relay.
    pub relay: Arc<str>,
}

/// The queue id and the relay, for the record of the event.
impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.receipt.as_str() {
            "" => write!(f, "at {}", self.relay),
            receipt => write!(f, "{receipt} at {}", self.relay),
        }
    }
}

/// Why a mail was not accepted. The difference decides whether a second mail is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// The relay certainly did not accept the mail.
    NotSent(Fault),
    /// Nor would any other: the address does not exist.
    NoSuchAddress(Fault),
    /// The relay received the whole mail and did not answer.
    Ambiguous(Cow<'static, str>),
}

impl trace::Failure for SendError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotSent(fault) | Self::NoSuchAddress(fault) => fault.reason,
            Self::Ambiguous(_) => Reason::Ambiguous,
        }
    }
}

/// The port to the relay.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// A connection that is ready for `mail`, about which the relay has not been told.
    async fn connect(&self, mail: &Mail) -> Result<Box<dyn RelayConnection>, Fault>;

    /// Whether a mail has to wait here for others of ours.
    fn is_busy(&self) -> bool {
        false
    }

    /// `Err` with the reason while the relay cannot be reached.
    async fn ready(&self) -> Result<(), Cow<'static, str>>;
}

/// A connection that is ready to send one mail.
#[async_trait]
pub trait RelayConnection: Send {
    /// Announces the mail. Nothing of its body is sent: it can still go to another relay.
    async fn begin(self: Box<Self>, mail: &Mail) -> Result<Box<dyn BegunMail>, SendError>;

    /// Sends the mail. `Ok` only after the relay answered 250 to the final dot.
    async fn send(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        self.begin(mail).await?.finish(mail).await
    }
}

/// A mail whose body the relay waits for. Dropped, the relay has no mail.
#[async_trait]
pub trait BegunMail: Send {
    /// Sends the body. `Ok` only after the relay answered 250 to the final dot.
    async fn finish(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError>;
}
