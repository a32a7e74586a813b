//! The mail and the port it leaves through.

pub mod message;
pub mod render;
pub mod smtp;

use std::{borrow::Cow, fmt};

use async_trait::async_trait;
use jiff::Timestamp;
use shared::{
    address::EmailAddress,
    fault::{Fault, Reason},
    trace,
};
use zeroize::Zeroizing;

/// A finished mail: who, and which bytes. Made only by [`render::Templates::login_code`], from a code that was alive.
pub struct Mail {
    pub(crate) recipient: EmailAddress,
    pub(crate) sender: EmailAddress,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) message_id: String,
    pub(crate) expires_at: Timestamp,
}

impl Mail {
    /// The RFC 5322 text. Holds the code.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// When the code in it dies.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The Message-ID, the same for every copy of one event's mail.
    pub fn message_id(&self) -> &str {
        &self.message_id
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("recipient", &self.recipient).field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

/// The relay took responsibility for the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The relay's queue id, as far as its answer holds one.
    pub receipt: String,
}

/// How sending can fail. The difference decides whether a second mail is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// The relay certainly does not have the mail.
    NotSent(Fault),
    /// The relay had the whole mail and did not answer.
    Ambiguous(Cow<'static, str>),
}

impl trace::Failure for SendError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotSent(fault) => fault.reason,
            Self::Ambiguous(_) => Reason::Ambiguous,
        }
    }
}

/// Where mails go.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// A connection that is ready for a mail. Nothing about a mail has been said on it.
    async fn connect(&self) -> Result<Box<dyn Relay>, Fault>;

    /// `Err` with the reason while the relay cannot be reached.
    async fn ready(&self) -> Result<(), Cow<'static, str>>;
}

/// A connection in hand, good for one mail.
#[async_trait]
pub trait Relay: Send {
    /// Sends the mail. `Ok` only after the relay's 250 to the final dot.
    async fn send(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError>;
}
