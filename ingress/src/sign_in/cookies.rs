//! The cookies of a sign-in: a key for each flow while a browser is at AuthKit, then the two tokens
//! of its session.
//!
//! All are HttpOnly (no script reads them), Secure, SameSite=Lax (no other site's POST bears them),
//! and their `__Host-` names keep other hosts of the same domain from setting them (RFC 6265bis,
//! 4.1.3). Those that several hosts share ([`Cookies::shared`]) cannot have that protection.

mod chunks;
mod read;

use std::borrow::Cow;

use cookie::{Cookie, SameSite, time::Duration};
use domain::sign_in::{provider::Tokens, state::BrowserKey};
use hyper::{
    HeaderMap,
    header::{HeaderValue, SET_COOKIE},
};
use runtime::http::Answer;
use secrecy::{ExposeSecret as _, SecretString};

pub(super) use self::read::bearer;
use self::{
    chunks::{MOST_CHUNKS, chunk_name, join, split},
    read::{flows, is_there, read_cookie},
};

/// The one cookie of every flow that an earlier release set.
const BROWSER: &str = "__Host-authpost_signin";

/// Most flows of one browser. A new one ends the oldest beyond that: those who never come back would
/// fill the header of every request.
const MOST_FLOWS: usize = 6;

/// A key outlives its state by a day, so that whoever is late is told so.
const KEPT_LONGER: Duration = Duration::days(1);

/// How long a browser keeps an unused session. WorkOS has its own limit, set in its dashboard; the
/// shorter one counts.
const SESSION_KEPT: Duration = Duration::days(30);

/// A session token does not fit into cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenTooLarge;

/// The cookies' names, and the domain whose hosts get them.
#[derive(Debug, Clone)]
pub struct Cookies {
    domain: Option<String>,
    /// The name of a flow's cookie begins with this; its end is the flow's name. Two tabs are two
    /// flows: they must not overwrite each other's key.
    flow: &'static str,
    access: &'static str,
    refresh: &'static str,
}

impl Default for Cookies {
    /// Cookies that one host alone gets.
    fn default() -> Self {
        Self {
            domain: None,
            flow: "__Host-authpost_signin_",
            access: "__Host-authpost_access",
            refresh: "__Host-authpost_refresh",
        }
    }
}

impl Cookies {
    /// Cookies that every host of `domain` gets, such as `example.com`. Every such host can also set
    /// them. `None` if browsers would not keep cookies of that domain.
    pub fn shared(domain: &str) -> Option<Self> {
        let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(plain)
        };
        let last = domain.rsplit('.').next().unwrap_or_default();
        let is_name = domain.contains('.')
            && domain.len() <= 253
            && domain.split('.').all(label)
            && last.starts_with(|first: char| first.is_ascii_alphabetic());
        is_name.then_some(Self {
            domain: Some(domain),
            flow: "__Secure-authpost_signin_",
            access: "__Secure-authpost_access",
            refresh: "__Secure-authpost_refresh",
        })
    }

    /// Whether the host of a URL gets them.
    pub fn reach(&self, url: &url::Url) -> bool {
        let (Some(domain), Some(host)) = (&self.domain, url.host_str()) else { return true };
        host.strip_suffix(domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    fn flow_name(&self, flow: &str) -> String {
        format!("{}{flow}", self.flow)
    }

    /// The key that this browser was given for a flow.
    pub(super) fn browser(&self, headers: &HeaderMap, flow: &str) -> Option<BrowserKey> {
        let own = read_cookie(headers, &self.flow_name(flow));
        let value = own.or_else(|| read_cookie(headers, BROWSER))?;
        BrowserKey::parse(value.split('.').next().unwrap_or_default())
    }

    /// The access token: from `Authorization: Bearer`, or from its cookie.
    pub(crate) fn access(&self, headers: &HeaderMap) -> Option<String> {
        bearer(headers).or_else(|| self.access_cookie(headers))
    }

    /// The access token from its cookies.
    pub(super) fn access_cookie(&self, headers: &HeaderMap) -> Option<String> {
        join(self.access, |name| read_cookie(headers, name))
    }

    /// The refresh token from its cookie.
    pub(crate) fn refresh(&self, headers: &HeaderMap) -> Option<SecretString> {
        read_cookie(headers, self.refresh)
            .filter(|token| !token.is_empty())
            .map(|token| SecretString::from(token.to_owned()))
    }

    /// Sets the cookie with the browser's key of a flow, whose state lives this long, and clears
    /// those of the oldest flows if there are too many.
    pub(super) fn set_key(
        &self,
        answer: &mut Answer,
        headers: &HeaderMap,
        (flow, key): (&str, &BrowserKey),
        life: std::time::Duration,
    ) {
        let known = flows(headers, self.flow);
        let excess = (known.len() + 1).saturating_sub(MOST_FLOWS);
        known.iter().take(excess).for_each(|flow| self.clear(answer, self.flow_name(flow)));
        let kept = Duration::try_from(life).unwrap_or(KEPT_LONGER) + KEPT_LONGER;
        self.set(answer, self.flow_name(flow), key.expose().to_owned(), kept);
    }

    /// Marks a flow as one that has made a session. Its key stays, for a callback that is posted
    /// again.
    pub(super) fn set_done(
        &self,
        answer: &mut Answer,
        (flow, key): (&str, &BrowserKey),
        mark: &str,
        life: std::time::Duration,
    ) {
        let kept = Duration::try_from(life).unwrap_or(KEPT_LONGER);
        self.set(answer, self.flow_name(flow), format!("{}.{mark}", key.expose()), kept);
    }

    /// The mark of a flow that has made a session.
    pub(super) fn done(&self, headers: &HeaderMap, flow: &str) -> Option<String> {
        let value = read_cookie(headers, &self.flow_name(flow))?;
        value.split_once('.').map(|(_, mark)| mark.to_owned())
    }

    /// Sets the cookies of a session, or none if one does not fit. An expired access token grants
    /// nothing, but still states which session to end.
    pub(super) fn set_session(
        &self,
        answer: &mut Answer,
        headers: &HeaderMap,
        tokens: &Tokens,
    ) -> Result<(), TokenTooLarge> {
        let access = split(self.access, tokens.access_token.expose_secret())?;
        self.set_refresh(answer, &tokens.refresh_token)?;
        self.clear_chunks(answer, headers, access.len());
        for (name, value) in access {
            self.set(answer, name, value, SESSION_KEPT);
        }
        Ok(())
    }

    /// Sets the cookie of a session's refresh token alone.
    pub(super) fn set_refresh(
        &self,
        answer: &mut Answer,
        token: &SecretString,
    ) -> Result<(), TokenTooLarge> {
        let cookies = split(self.refresh, token.expose_secret())?;
        let [(name, value)] = <[_; 1]>::try_from(cookies).map_err(|_| TokenTooLarge)?;
        self.set(answer, name, value, SESSION_KEPT);
        Ok(())
    }

    /// Clears every cookie of ours.
    pub(super) fn clear_all(&self, answer: &mut Answer, headers: &HeaderMap) {
        for name in [self.access, self.refresh] {
            self.clear(answer, name);
        }
        if is_there(headers, BROWSER) {
            Self::default().clear(answer, BROWSER);
        }
        self.clear_chunks(answer, headers, 1);
        flows(headers, self.flow)
            .into_iter()
            .for_each(|flow| self.clear(answer, self.flow_name(&flow)));
    }

    /// Clears the chunks of an access token from this one on, where the browser has them.
    fn clear_chunks(&self, answer: &mut Answer, headers: &HeaderMap, from: usize) {
        (from..MOST_CHUNKS)
            .map(|chunk| chunk_name(self.access, chunk))
            .filter(|name| is_there(headers, name))
            .for_each(|name| self.clear(answer, name));
    }

    fn clear(&self, answer: &mut Answer, name: impl Into<Cow<'static, str>>) {
        self.set(answer, name, String::new(), Duration::ZERO);
    }

    /// Names and values are visible ASCII, and fit.
    fn set(
        &self,
        answer: &mut Answer,
        name: impl Into<Cow<'static, str>>,
        value: String,
        kept: Duration,
    ) {
        let mut cookie = Cookie::build((name, value))
            .http_only(true)
            .secure(true)
            .same_site(SameSite::Lax)
            .path("/")
            .max_age(kept);
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(domain.clone());
        }
        let cookie = cookie.build().to_string();
        if let Ok(mut header) = HeaderValue::try_from(cookie) {
            header.set_sensitive(true);
            answer.headers_mut().append(SET_COOKIE, header);
        }
    }
}

#[cfg(test)]
mod tests;
