//! The cookies of a sign-in: a key for each flow while a browser is at AuthKit, then the two tokens
//! of its session.
//!
//! All are HttpOnly (no script reads them), Secure, SameSite=Lax (no other site's POST bears them),
//! and their `__Host-` names keep other hosts of the same domain from setting them (RFC 6265bis,
//! 4.1.3).

use std::borrow::Cow;

use cookie::{Cookie, SameSite, time::Duration};
use domain::sign_in::{provider::Tokens, state::BrowserKey};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE},
};
use memchr::memmem;
use runtime::http::Answer;
use secrecy::{ExposeSecret as _, SecretString};

/// The name of a flow's cookie begins with this; its end is the flow's name. Two tabs are two
/// flows: they must not overwrite each other's key.
const FLOW: &str = "__Host-authpost_signin_";
/// The one cookie of every flow that an earlier release set.
const BROWSER: &str = "__Host-authpost_signin";
const ACCESS: &str = "__Host-authpost_access";
const REFRESH: &str = "__Host-authpost_refresh";

/// Most flows of one browser. A new one ends the oldest beyond that: those who never come back would
/// fill the header of every request.
const MOST_FLOWS: usize = 6;

/// A key outlives its state by a day, so that whoever is late is told so.
const KEPT_LONGER: Duration = Duration::days(1);

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
    // Ours fit into a cookie.
    let ours = value.len() <= MAX_COOKIE && value.iter().all(u8::is_ascii_graphic);
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

/// The key that this browser was given for a flow.
pub(super) fn browser(headers: &HeaderMap, flow: &str) -> Option<BrowserKey> {
    let own = read_cookie(headers, &format!("{FLOW}{flow}"));
    let value = own.or_else(|| read_cookie(headers, BROWSER))?;
    BrowserKey::parse(value.split('.').next().unwrap_or_default())
}

/// The names of the flows that the browser has keys of, the oldest first, as browsers send them
/// (RFC 6265, 5.4).
fn flows(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let name = |(line, at): (&[u8], usize)| {
        let before = trim_end(&line[..at]);
        let begins = before.is_empty() || before.ends_with(b";");
        let rest = &line[at + FLOW.len()..];
        let end = rest.iter().take(MAX_FLOW + 1).position(|byte| *byte == b'=')?;
        let name = std::str::from_utf8(&rest[..end]).ok()?;
        (begins && is_flow(name)).then(|| name.to_owned())
    };
    lines
        .flat_map(|line| memmem::find_iter(line, FLOW).map(move |at| (line, at)))
        .filter_map(name)
        .collect()
}

/// Longest name of a flow, in bytes.
const MAX_FLOW: usize = 16;

fn is_flow(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(plain)
}

/// The token in `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' '))?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The access token: from `Authorization: Bearer`, or from its cookie.
pub(crate) fn access(headers: &HeaderMap) -> Option<String> {
    bearer(headers).or_else(|| access_cookie(headers))
}

/// The access token from its cookie.
pub(super) fn access_cookie(headers: &HeaderMap) -> Option<String> {
    read_cookie(headers, ACCESS)
}

/// The refresh token from its cookie.
pub(crate) fn refresh(headers: &HeaderMap) -> Option<SecretString> {
    read_cookie(headers, REFRESH).filter(|token| !token.is_empty()).map(SecretString::from)
}

fn session_cookie(name: impl Into<Cow<'static, str>>, value: String, max_age: Duration) -> String {
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

/// Sets the cookie with the browser's key of a flow, whose state lives this long, and clears those
/// of the oldest flows if there are too many.
pub(super) fn set_key(
    answer: &mut Answer,
    headers: &HeaderMap,
    (flow, key): (&str, &BrowserKey),
    life: std::time::Duration,
) {
    let known = flows(headers);
    let excess = (known.len() + 1).saturating_sub(MOST_FLOWS);
    known.iter().take(excess).for_each(|flow| clear(answer, format!("{FLOW}{flow}")));
    let kept = Duration::try_from(life).unwrap_or(KEPT_LONGER) + KEPT_LONGER;
    // 43 characters of base64 always fit.
    set(answer, &session_cookie(format!("{FLOW}{flow}"), key.expose().to_owned(), kept))
        .unwrap_or_default();
}

/// Marks a flow as one that has made a session. Its key stays, for a callback that is posted again.
pub(super) fn set_done(
    answer: &mut Answer,
    flow: &str,
    key: &BrowserKey,
    mark: &str,
    life: std::time::Duration,
) {
    let kept = Duration::try_from(life).unwrap_or(KEPT_LONGER);
    let value = format!("{}.{mark}", key.expose());
    set(answer, &session_cookie(format!("{FLOW}{flow}"), value, kept)).unwrap_or_default();
}

/// The mark of a flow that has made a session.
pub(super) fn done(headers: &HeaderMap, flow: &str) -> Option<String> {
    let value = read_cookie(headers, &format!("{FLOW}{flow}"))?;
    value.split_once('.').map(|(_, mark)| mark.to_owned())
}

fn clear(answer: &mut Answer, name: impl Into<Cow<'static, str>>) {
    set(answer, &session_cookie(name, String::new(), Duration::ZERO)).unwrap_or_default();
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
pub(super) fn clear_all(answer: &mut Answer, headers: &HeaderMap) {
    for name in [BROWSER, ACCESS, REFRESH] {
        clear(answer, name);
    }
    flows(headers).into_iter().for_each(|flow| clear(answer, format!("{FLOW}{flow}")));
}

#[cfg(test)]
mod tests;
