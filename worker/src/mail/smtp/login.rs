//! Logging in at the relay: with a password, or with an access token.

use std::sync::Arc;

use domain::fault::{Fault, Reason};
use lettre::transport::smtp::{
    authentication::{Credentials, Mechanism},
    client::AsyncSmtpConnection,
};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::{
    answer::{answered, not_opened},
    config::{Login, RelayConfig},
    hello::Extensions,
    oauth::{AccessTokens, Token},
    reply::{Phase, Refusal},
};

/// Logs in as the configuration says. `token` is for a relay that takes access tokens.
pub(super) async fn log_in(
    smtp: &mut AsyncSmtpConnection,
    offers: &Extensions,
    config: &RelayConfig,
    token: Option<&Token>,
) -> Result<(), Refusal> {
    match (&config.login, token) {
        (Login::None, _) | (Login::Token { .. }, None) => Ok(()),
        (Login::Password { user, password }, _) => {
            if !offers.has_auth("PLAIN") && !offers.has_auth("LOGIN") {
                return Err(not_offered(offers.has_auth("XOAUTH2")));
            }
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let answer = smtp.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
            let answer = answer.map_err(|error| not_opened(Phase::Auth, &error))?;
            welcome(u16::from(answer.code()), || answered(Phase::Auth, &answer))
        }
        (Login::Token { user, .. }, Some(token)) => {
            let (mechanism, response, error_seen) = if offers.has_auth("XOAUTH2") {
                ("XOAUTH2", token.xoauth2(user), "\r\n")
            } else if offers.has_auth("OAUTHBEARER") {
                ("OAUTHBEARER", token.oauthbearer(user, &config.host, config.port), "AQ==\r\n")
            } else {
                return Err(misconfigured("the relay offers neither XOAUTH2 nor OAUTHBEARER"));
            };
            let command = Zeroizing::new(format!("AUTH {mechanism} {}\r\n", &*response));
            let mut answer = smtp.command(&*command).await;
            // With 334 comes what is wrong with the token; the refusal follows.
            if matches!(&answer, Ok(answer) if u16::from(answer.code()) == 334) {
                answer = smtp.command(error_seen).await;
            }
            let answer = answer.map_err(|error| not_opened(Phase::Auth, &error))?;
            welcome(u16::from(answer.code()), || answered(Phase::Auth, &answer))
        }
    }
}

fn welcome(code: u16, refusal: impl FnOnce() -> Refusal) -> Result<(), Refusal> {
    if code == 235 { Ok(()) } else { Err(refusal()) }
}

fn not_offered(takes_tokens: bool) -> Refusal {
    misconfigured(if takes_tokens {
        "the relay takes access tokens (XOAUTH2) and no password: set AUTHPOST_SMTP_OAUTH_TOKEN_URL"
    } else {
        "the relay offers neither AUTH PLAIN nor AUTH LOGIN"
    })
}

fn misconfigured(detail: &'static str) -> Refusal {
    Fault::misconfigured(Reason::RelayRefusedUs, detail).into()
}

/// A token for the relay, if it takes any. `Err` while none can be had.
pub(super) async fn token(tokens: Option<&Arc<AccessTokens>>) -> Result<Option<Arc<Token>>, Fault> {
    match tokens {
        Some(tokens) => tokens.token().await.map(Some),
        None => Ok(None),
    }
}
