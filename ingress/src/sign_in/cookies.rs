//! The cookies of a sign-in: a key while a browser is at AuthKit, then the two tokens of its session.
//!
//! All are HttpOnly (no script reads them), Secure, SameSite=Lax (no other site's POST bears them), and their `__Host-`
//! names keep other hosts of the same domain from setting them (RFC 6265bis, 4.1.3).

use cookie::{Cookie, SameSite, time::Duration};
use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, HeaderValue, SET_COOKIE},
};
use secrecy::{ExposeSecret as _, SecretString};
use shared::{
    http::Answer,
    sign_in::state::{BrowserKey, LIFE},
    workos::sign_in::Tokens,
};

const BROWSER: &str = "__Host-authpost_signin";
const ACCESS: &str = "__Host-authpost_access";
const REFRESH: &str = "__Host-authpost_refresh";

/// How long a browser keeps a session it does not use. WorkOS has its own idea, set in its dashboard, and the shorter
/// one counts.
const SESSION_KEPT: Duration = Duration::days(30);

/// Longest cookie, name and value and attributes, that browsers keep (RFC 6265bis, 5.7).
const MAX_COOKIE: usize = 4096;

/// A session token that no cookie can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("WorkOS's token is too big for a cookie: fewer permissions or custom claims in the token make it smaller")]
pub(super) struct TooBig;

/// The one cookie of this name. With several, one of them was not set by us, and none is believed.
fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(Cookie::split_parse).flatten().filter(|cookie| cookie.name() == name);
    match (found.next(), found.next()) {
        (Some(cookie), None) => Some(cookie.value().to_owned()),
        _ => None,
    }
}

/// The key this browser was given for the time it is at AuthKit.
pub(super) fn browser(headers: &HeaderMap) -> Option<BrowserKey> {
    BrowserKey::parse(&read(headers, BROWSER)?)
}

/// The access token: a bearer's, or the cookie's.
pub(super) fn access(headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, token)| token.trim().to_owned()).or_else(|| read(headers, ACCESS))
}

/// The refresh token.
pub(super) fn refresh(headers: &HeaderMap) -> Option<SecretString> {
    read(headers, REFRESH).filter(|token| !token.is_empty()).map(SecretString::from)
}

fn bake(name: &'static str, value: String, max_age: Duration) -> String {
    let cookie = Cookie::build((name, value)).http_only(true).secure(true).same_site(SameSite::Lax).path("/");
    cookie.max_age(max_age).build().to_string()
}

fn set(answer: &mut Answer, cookie: &str) -> Result<(), TooBig> {
    let mut value = HeaderValue::from_str(cookie).ok().filter(|_| cookie.len() <= MAX_COOKIE).ok_or(TooBig)?;
    value.set_sensitive(true);
    answer.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

/// Gives a browser its key.
pub(super) fn give_key(answer: &mut Answer, key: &BrowserKey) {
    let life = Duration::seconds(LIFE.as_secs());
    // 43 characters of base64 always fit.
    set(answer, &bake(BROWSER, key.expose().to_owned(), life)).unwrap_or_default();
}

/// Gives a browser its session. The access token opens nothing after it has ended, and still says which session to leave.
pub(super) fn give_session(answer: &mut Answer, tokens: &Tokens) -> Result<(), TooBig> {
    set(answer, &bake(ACCESS, tokens.access_token.expose_secret().to_owned(), SESSION_KEPT))?;
    set(answer, &bake(REFRESH, tokens.refresh_token.expose_secret().to_owned(), SESSION_KEPT))
}

/// Takes everything back.
pub(super) fn take_all(answer: &mut Answer) {
    for name in [BROWSER, ACCESS, REFRESH] {
        set(answer, &bake(name, String::new(), Duration::ZERO)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use shared::http;

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others_and_a_double_is_not_believed() {
        assert_eq!(read(&headers(&["a=1; __Host-authpost_access=t; b=2"]), ACCESS).as_deref(), Some("t"));
        assert_eq!(read(&headers(&["a=1", "__Host-authpost_access=t"]), ACCESS).as_deref(), Some("t"));
        assert_eq!(read(&headers(&["__Host-authpost_access=t; __Host-authpost_access=u"]), ACCESS), None);
        assert_eq!(read(&headers(&["authpost_access=t; ;;="]), ACCESS), None);
    }

    #[test]
    fn a_bearer_comes_before_a_cookie() {
        let mut both = headers(&["__Host-authpost_access=cookie"]);
        assert_eq!(access(&both).as_deref(), Some("cookie"));
        both.insert(AUTHORIZATION, HeaderValue::from_static("bearer  token"));
        assert_eq!(access(&both).as_deref(), Some("token"));
        both.insert(AUTHORIZATION, HeaderValue::from_static("Basic dTpw"));
        assert_eq!(access(&both).as_deref(), Some("cookie"));
    }

    #[test]
    fn every_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let mut answer = http::answer(StatusCode::OK, "text/plain", "");
        give_key(&mut answer, &BrowserKey::new([7; 32]));
        take_all(&mut answer);
        let cookies: Vec<_> = answer.headers().get_all(SET_COOKIE).iter().map(|value| value.to_str().expect("text").to_owned()).collect();
        assert_eq!(cookies.len(), 4);
        for cookie in &cookies {
            for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/", "; Max-Age="] {
                assert!(cookie.contains(attribute), "{cookie} has no {attribute}");
            }
            assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
        }
        assert_eq!(set(&mut answer, &"x".repeat(MAX_COOKIE + 1)), Err(TooBig));
        assert_eq!(set(&mut answer, "a=\n"), Err(TooBig));
    }
}
