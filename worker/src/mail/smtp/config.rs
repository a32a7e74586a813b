//! Where the relay is and how to connect to it: `SMTP_URL`, parsed.

use std::{fmt, sync::Arc};

use domain::address::EmailAddress;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{oauth::OauthConfig, timeouts::Timeouts};
use crate::mail::relays::Takes;

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

/// How we log in at a relay.
#[derive(Clone)]
pub(super) enum Login {
    None,
    Password { user: String, password: SecretString },
    Token { user: String, oauth: OauthConfig },
}

/// How much a relay takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Most connections at once; `None` for as many as events are processed at once.
    pub connections: Option<usize>,
    /// Most mails on one connection.
    pub mails_per_connection: usize,
    /// Most mails per second; `None` for any number.
    pub rate: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: None, mails_per_connection: 100, rate: None }
    }
}

/// Where the relay is and how to connect to it.
#[derive(Clone)]
pub struct RelayConfig {
    pub(super) name: String,
    pub(super) takes: Takes,
    pub(super) limits: Limits,
    /// Header fields for the mails by this relay, each with its line break.
    pub(super) headers: String,
    /// The sender in the envelope, if it is another than in the header.
    pub(super) envelope_from: Option<EmailAddress>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) login: Login,
    pub(super) hello: String,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) timeouts: Timeouts,
}

impl fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, host, port, security, timeouts, limits, .. } = self;
        f.debug_struct("RelayConfig")
            .field("name", name)
            .field("limits", limits)
            .field("host", host)
            .field("port", port)
            .field("security", security)
            .field("timeouts", timeouts)
            .finish_non_exhaustive()
    }
}

/// Why `SMTP_URL` cannot be used. Never repeats it: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelayUrl {
    /// It is not a URL.
    #[error(
        "is not a URL: write smtps://user:password@host:465 or smtp://host:587, with special characters percent-encoded"
    )]
    NotAUrl,
    /// The scheme is neither `smtp` nor `smtps`.
    #[error("begins with neither smtps:// nor smtp://")]
    Scheme,
    #[error("names no host")]
    Host,
    /// It has an unknown option.
    #[error("has an option other than tls=none")]
    Option,
    /// It asks for TLS and for no TLS.
    #[error("says smtps:// and tls=none at once")]
    Contradiction,
    /// It has a user without a password, or a password without a user.
    #[error(
        "has a user name or a password without the other: add it, or set AUTHPOST_SMTP_OAUTH_TOKEN_URL"
    )]
    HalfCredentials,
    /// It would send a password in plain text.
    #[error(
        "would send a password over an unencrypted connection: drop tls=none, or the credentials"
    )]
    OpenPassword,
}

impl RelayConfig {
    /// Parses `smtps://user:pass@host:465`, `smtp://host:587` (STARTTLS required) or
    /// `smtp://host:25?tls=none`. With `oauth`, a user without a password logs in with an access
    /// token.
    pub fn parse(
        url: &SecretString,
        tls: &Arc<ClientConfig>,
        oauth: Option<&OauthConfig>,
    ) -> Result<Self, InvalidRelayUrl> {
        let url = Url::parse(url.expose_secret()).map_err(|_| InvalidRelayUrl::NotAUrl)?;
        let open = match url.query() {
            None | Some("") => false,
            Some("tls=none") => true,
            Some(_) => return Err(InvalidRelayUrl::Option),
        };
        let (security, default_port) = match (url.scheme(), open) {
            ("smtps", false) => (Security::Implicit, 465),
            ("smtps", true) => return Err(InvalidRelayUrl::Contradiction),
            ("smtp", false) => (Security::StartTls, 587),
            ("smtp", true) => (Security::None, 25),
            _ => return Err(InvalidRelayUrl::Scheme),
        };
        let host = url
            .host_str()
            .map(|host| host.trim_matches(['[', ']']))
            .filter(|host| !host.is_empty())
            .ok_or(InvalidRelayUrl::Host)?
            .to_owned();
        let login = login(&url, oauth)?;
        if security == Security::None && !matches!(login, Login::None) {
            return Err(InvalidRelayUrl::OpenPassword);
        }
        let port = url.port().unwrap_or(default_port);
        Ok(Self {
            name: format!("{host}:{port}"),
            takes: Takes::default(),
            limits: Limits::default(),
            headers: String::new(),
            envelope_from: None,
            host,
            port,
            security,
            login,
            hello: "localhost".to_owned(),
            tls: Arc::clone(tls),
            timeouts: Timeouts::default(),
        })
    }

    /// With this name in EHLO, and these timeouts.
    #[must_use]
    pub fn with(self, hello: String, timeouts: Timeouts) -> Self {
        Self { hello, timeouts, ..self }
    }

    /// The same relay with these limits.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same relay under this name.
    #[must_use]
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// The same relay, taking these mails only.
    #[must_use]
    pub fn taking(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    /// The same relay with further header fields, each with its line break, and with another sender
    /// in the envelope.
    #[must_use]
    pub fn marking(self, headers: String, envelope_from: Option<EmailAddress>) -> Self {
        Self { headers, envelope_from, ..self }
    }

    /// Its name in logs and metrics: the host and the port, unless the operator gave it one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much it takes, as configured.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Header fields for the mails by this relay, each with its line break.
    pub fn headers(&self) -> &str {
        &self.headers
    }

    /// How it gets access tokens, if it logs in with them.
    pub(super) fn oauth(&self) -> Option<OauthConfig> {
        match &self.login {
            Login::Token { oauth, .. } => Some(oauth.clone()),
            Login::None | Login::Password { .. } => None,
        }
    }

    /// Which mails it takes, and which first.
    pub fn takes(&self) -> &Takes {
        &self.takes
    }

    /// The name that we give in EHLO.
    pub fn hello(&self) -> &str {
        &self.hello
    }

    /// Longest waits of one mail.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// How the URL says to log in: with its user and password, percent-decoded, or with an access token
/// for its user.
fn login(url: &Url, oauth: Option<&OauthConfig>) -> Result<Login, InvalidRelayUrl> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(std::borrow::Cow::into_owned).map_err(|_| InvalidRelayUrl::NotAUrl)
    };
    match (url.username(), url.password(), oauth) {
        ("", None, _) => Ok(Login::None),
        ("", Some(_), _) | (_, None, None) => Err(InvalidRelayUrl::HalfCredentials),
        (user, None, Some(oauth)) => {
            Ok(Login::Token { user: decoded(user)?, oauth: oauth.clone() })
        }
        (user, Some(password), _) => {
            let password = SecretString::from(decoded(password)?);
            Ok(Login::Password { user: decoded(user)?, password })
        }
    }
}

#[cfg(test)]
mod tests;
