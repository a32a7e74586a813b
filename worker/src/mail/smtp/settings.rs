//! What `SMTP_URL` means.

use std::{fmt, sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte (`smtps://`, RFC 8314).
    Implicit,
    /// STARTTLS, required (`smtp://`): a relay that does not offer it is refused.
    StartTls,
    /// None, and the operator said so (`smtp://…?tls=none`).
    None,
}

/// Longest waits of one mail. RFC 5321's are made for relays that may take days; a code lives for ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection, and again for each step until the relay is ready for mails.
    pub connect: Duration,
    /// For each command's answer.
    pub command: Duration,
    /// For the answer to the final dot: relays scan and deliver in it.
    pub last: Duration,
}

impl Timeouts {
    /// The longest it takes to have a connection that is ready: TCP, TLS, the greeting, AUTH.
    pub fn connecting(&self) -> Duration {
        self.connect * 5
    }

    /// The longest a transaction takes: a first command on a connection that turns out stale, a new connection, MAIL,
    /// RCPT, DATA, and the final dot.
    pub fn transaction(&self) -> Duration {
        self.connecting() + self.command * 4 + self.last
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(4), command: Duration::from_secs(5), last: Duration::from_secs(40) }
    }
}

/// Where the relay is and how to speak to it.
pub struct SmtpSettings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<(String, SecretString)>,
    pub(super) hello: String,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) timeouts: Timeouts,
}

impl fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, security, timeouts, .. } = self;
        f.debug_struct("SmtpSettings")
            .field("host", host)
            .field("port", port)
            .field("security", security)
            .field("timeouts", timeouts)
            .finish_non_exhaustive()
    }
}

/// Why `SMTP_URL` cannot be used. Never repeats it: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not a URL.
    #[error("is not a URL: write smtps://user:password@host:465 or smtp://host:587, with special characters percent-encoded")]
    NotAUrl,
    /// Another scheme.
    #[error("begins with neither smtps:// nor smtp://")]
    Scheme,
    /// No host.
    #[error("names no host")]
    Host,
    /// An option we do not know.
    #[error("has an option other than tls=none")]
    Option,
    /// `smtps` and no TLS at once.
    #[error("says smtps:// and tls=none at once")]
    Contradiction,
    /// A user without a password, or the other way round.
    #[error("has a user name or a password without the other")]
    HalfCredentials,
    /// A password over an open connection.
    #[error("would send a password over an unencrypted connection: drop tls=none, or the credentials")]
    OpenPassword,
    /// Not a number of connections the pool takes.
    #[error("cannot be used for a pool of that many connections")]
    Pool,
}

/// What can be read from the URL alone.
#[derive(Debug, Clone)]
pub struct RelayUrl {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<(String, SecretString)>,
}

impl RelayUrl {
    /// Reads `smtps://user:pass@host:465`, `smtp://host:587` (STARTTLS required) or `smtp://host:25?tls=none`.
    pub fn parse(url: &SecretString) -> Result<Self, SettingsError> {
        let url = Url::parse(url.expose_secret()).map_err(|_| SettingsError::NotAUrl)?;
        let open = match url.query() {
            None | Some("") => false,
            Some("tls=none") => true,
            Some(_) => return Err(SettingsError::Option),
        };
        let (security, usual_port) = match (url.scheme(), open) {
            ("smtps", false) => (Security::Implicit, 465),
            ("smtps", true) => return Err(SettingsError::Contradiction),
            ("smtp", false) => (Security::StartTls, 587),
            ("smtp", true) => (Security::None, 25),
            _ => return Err(SettingsError::Scheme),
        };
        let host =
            url.host_str().map(|host| host.trim_matches(['[', ']'])).filter(|host| !host.is_empty()).ok_or(SettingsError::Host)?.to_owned();
        let decoded =
            |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| SettingsError::NotAUrl);
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(SettingsError::HalfCredentials),
            (user, Some(password)) => Some((decoded(user)?, SecretString::from(decoded(password)?))),
        };
        if security == Security::None && credentials.is_some() {
            return Err(SettingsError::OpenPassword);
        }
        Ok(Self { port: url.port().unwrap_or(usual_port), host, security, credentials })
    }

    /// With everything that is not in the URL. `hello` is what we call ourselves in EHLO.
    pub fn with(self, hello: String, tls: Arc<ClientConfig>, timeouts: Timeouts) -> SmtpSettings {
        let Self { host, port, security, credentials } = self;
        SmtpSettings { host, port, security, credentials, hello, tls, timeouts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RelayUrl, SettingsError> {
        RelayUrl::parse(&SecretString::from(url.to_owned()))
    }

    #[test]
    fn the_three_forms() {
        let implicit = parse("smtps://user%40acme:p%2Fw@relay.example").expect("valid");
        assert_eq!((implicit.port, implicit.security), (465, Security::Implicit));
        let (user, password) = implicit.credentials.expect("given");
        assert_eq!((user.as_str(), password.expose_secret()), ("user@acme", "p/w"));
        let starttls = parse("smtp://relay.example").expect("valid");
        assert_eq!((starttls.port, starttls.security), (587, Security::StartTls));
        assert_eq!(parse("smtp://[::1]:25").expect("valid").host, "::1");
        let open = parse("smtp://127.0.0.1:2525?tls=none").expect("valid");
        assert_eq!((open.port, open.security), (2525, Security::None));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, error) in [
            ("relay.example:25", SettingsError::Scheme),
            ("", SettingsError::NotAUrl),
            ("http://relay.example", SettingsError::Scheme),
            ("smtps://u:secret@h?tls=none", SettingsError::Contradiction),
            ("smtp://u:secret@h?tls=none", SettingsError::OpenPassword),
            ("smtp://h?tls=maybe", SettingsError::Option),
            ("smtp://u@h", SettingsError::HalfCredentials),
            ("smtp://:secret@h", SettingsError::HalfCredentials),
        ] {
            let found = parse(url).err();
            assert_eq!(found, Some(error), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
