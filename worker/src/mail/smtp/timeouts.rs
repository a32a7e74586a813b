//! How long a relay may take for the steps of a mail.

use std::time::Duration;

/// Longest waits of one mail. Those of RFC 5321 are for mail that may take days; a code works for
/// ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the relay is ready for mails: TCP, TLS, greeting, login. A relay may be slow at any of
    /// them: some greet late on purpose.
    pub connect: Duration,
    /// For the answers to MAIL, RCPT and DATA together.
    pub command: Duration,
    /// For the answer to the final dot: relays scan and deliver before it.
    pub last: Duration,
}

impl Timeouts {
    /// Longest time of a transaction: the envelope on a connection that turns out stale, a new
    /// connection, the envelope again, and the final dot.
    pub fn transaction(&self) -> Duration {
        self.until_the_body() + self.last
    }

    /// Longest time of it until the relay waits for the body.
    pub(super) fn until_the_body(&self) -> Duration {
        self.connect + self.command * 2
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            command: Duration::from_secs(15),
            last: Duration::from_secs(40),
        }
    }
}
