//! What we show to relays: certificates, and where access tokens come from.

use std::path::PathBuf;

use runtime::{http::client::is_loopback, tls::Trust};
use url::Url;
use worker::mail::smtp::OauthConfig;

use super::{
    args,
    parse::Reader,
    relays_file::{FILE, OauthEntry},
};

/// A certificate and its private key, or neither.
#[expect(clippy::option_option, reason = "none given, and a mistake in what was given")]
pub(super) fn identity(
    reader: &mut Reader,
    variable: &'static str,
    files: (Option<&PathBuf>, Option<&PathBuf>),
) -> Option<Option<(Vec<u8>, Vec<u8>)>> {
    match files {
        (None, None) => Some(None),
        (Some(cert), Some(key)) => {
            let (cert, key) = (reader.file(variable, cert), reader.file(variable, key));
            Some(Some((cert?, key?)))
        }
        _ => {
            reader.problem(variable, "needs both a certificate and its private key");
            None
        }
    }
}

/// The token endpoint for the relays in `SMTP_URL`, if there is one.
#[expect(clippy::option_option, reason = "none given, and a mistake in what was given")]
pub(super) fn oauth(
    reader: &mut Reader,
    args: &args::WorkerOptions,
    trust: &Trust,
) -> Option<Option<OauthConfig>> {
    const SECRET: &str = "AUTHPOST_SMTP_OAUTH_CLIENT_SECRET";
    let Some(token_url) = &args.smtp_oauth_token_url else { return Some(None) };
    let token_url = self::token_url(reader, "AUTHPOST_SMTP_OAUTH_TOKEN_URL", token_url);
    let id = args.smtp_oauth_client_id.clone();
    let client_id = reader.required("AUTHPOST_SMTP_OAUTH_CLIENT_ID", id);
    let (value, file) =
        (args.smtp_oauth_client_secret.clone(), args.smtp_oauth_client_secret_file.clone());
    let secret = reader.secret(SECRET, value, file);
    let client_secret = reader.required_secret(SECRET, secret);
    Some(Some(OauthConfig {
        token_url: token_url?,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: args.smtp_oauth_scope.clone(),
        trust: trust.clone(),
    }))
}

pub(super) fn oauth_entry(
    reader: &mut Reader,
    entry: &OauthEntry,
    trust: &Trust,
) -> Option<OauthConfig> {
    let token_url = token_url(reader, FILE, &entry.token_url);
    let secret = reader.secret(FILE, entry.client_secret.clone(), entry.client_secret_file.clone());
    let client_secret = reader.given(FILE, secret, || {
        "has a relay with oauth and without client_secret or client_secret_file".to_owned()
    });
    Some(OauthConfig {
        token_url: token_url?,
        client_id: entry.client_id.clone(),
        client_secret: client_secret?,
        scope: entry.scope.clone(),
        trust: trust.clone(),
    })
}

/// Every request carries the client's secret: over plain HTTP only within this machine.
fn token_url(reader: &mut Reader, variable: &'static str, text: &str) -> Option<Url> {
    let url = text.trim().parse::<Url>().ok();
    let fits = |url: &Url| {
        (url.scheme() == "https" && url.has_host()) || (url.scheme() == "http" && is_loopback(url))
    };
    let rule = "must name a token endpoint that begins with https://";
    reader.note(variable, url.filter(fits).ok_or(rule))
}
