//! The cookies of a sign-in: a key while a browser is at AuthKit, then the two tokens of its
//! session.
//!
//! All are HttpOnly (no script reads them), Secure, SameSite=Lax (no other site's POST bears them),
//! and their `__Host-` names keep other hosts of the same domain from setting them (RFC 6265bis,
//! 4.1.3).

use cookie::{Cookie, SameSite, time::Duration};
use domain::sign_in::{
    provider::Tokens,
    state::{BrowserKey, LIFE},
};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE},
};
use memchr::memmem;
use runtime::http::Answer;
use secrecy::{ExposeSecret as _, SecretString};

const BROWSER: &str = "__Host-authpost_signin";
const ACCESS: &str = "__Host-authpost_access";
const REFRESH: &str = "__Host-authpost_refresh";

/// How long a browser keeps an unused session. WorkOS has its own limit, set in its dashboard; the
/// shorter one counts.
const SESSION_KEPT: Duration = Duration::days(30);

/// Longest cookie that is set, in bytes: name, value and attributes (RFC 6265bis, 5.7).
const MAX_COOKIE: usize = 4096;

/// A session token does not fit into a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session token is too large for a cookie: remove permissions or custom claims from it")]
pub(super) struct TokenTooLarge;

/// The value of the one cookie of this name; `None` if there are several, because at least one was
/// not set by us.
///
/// Other cookies may hold any bytes. Only the space and the tab are white space around a name: with
/// Unicode's, a cookie that a sibling host can set would pass for one with our prefix.
fn read_cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter();
    let mut found = lines.flat_map(|line| values(line.as_bytes(), name.as_bytes()));
    let (Some(value), None) = (found.next(), found.next()) else { return None };
    let ours = value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| ours).map(str::to_owned)
}

/// The values of the cookies of this name in one header line. It looks for the name first, so that
/// a line of many short pairs costs no more than another of its size.
fn values<'a>(line: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    memmem::find_iter(line, name).filter_map(move |at| {
        let before = trim_end(&line[..at]);
        if !before.is_empty() && !before.ends_with(b";") {
            return None;
        }
        let rest = trim_start(&line[at + name.len()..]).strip_prefix(b"=")?;
        let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
        Some(trim_start(trim_end(&rest[..end])))
    })
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The key that this browser was given for the time it is at AuthKit.
pub(super) fn browser(headers: &HeaderMap) -> Option<BrowserKey> {
    BrowserKey::parse(&read_cookie(headers, BROWSER)?)
}

/// The access token: from `Authorization: Bearer`, or from its cookie.
pub(crate) fn access(headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, token)| token.trim().to_owned()).or_else(|| read_cookie(headers, ACCESS))
}

/// The refresh token from its cookie.
pub(crate) fn refresh(headers: &HeaderMap) -> Option<SecretString> {
    read_cookie(headers, REFRESH).filter(|token| !token.is_empty()).map(SecretString::from)
}

fn session_cookie(name: &'static str, value: String, max_age: Duration) -> String {
    let cookie = Cookie::build((name, value))
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Lax)
        .path("/");
    cookie.max_age(max_age).build().to_string()
}

fn set(answer: &mut Answer, cookie: &str) -> Result<(), TokenTooLarge> {
    let mut value = HeaderValue::from_str(cookie)
        .ok()
        .filter(|_| cookie.len() <= MAX_COOKIE)
        .ok_or(TokenTooLarge)?;
    value.set_sensitive(true);
    answer.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// Sets the cookie with the browser's key.
pub(super) fn set_key(answer: &mut Answer, key: &BrowserKey) {
    let life = Duration::seconds(LIFE.as_secs());
    // 43 characters of base64 always fit.
    set(answer, &session_cookie(BROWSER, key.expose().to_owned(), life)).unwrap_or_default();
}

/// Sets the cookies of a session. An expired access token grants nothing, but still states which
/// session to end.
pub(super) fn set_session(answer: &mut Answer, tokens: &Tokens) -> Result<(), TokenTooLarge> {
    set(
        answer,
        &session_cookie(ACCESS, tokens.access_token.expose_secret().to_owned(), SESSION_KEPT),
    )?;
    set(
        answer,
        &session_cookie(REFRESH, tokens.refresh_token.expose_secret().to_owned(), SESSION_KEPT),
    )
}

/// Clears every cookie of ours.
pub(super) fn clear_all(answer: &mut Answer) {
    for name in [BROWSER, ACCESS, REFRESH] {
        set(answer, &session_cookie(name, String::new(), Duration::ZERO)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
