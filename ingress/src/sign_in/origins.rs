//! The allowed origins: whose pages may send requests with cookies, and where AuthKit may send
//! people back to.

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_HEADERS, COOKIE, HeaderValue, ORIGIN, VARY,
    },
};
use runtime::http::{Answer, answer, client::is_loopback};
use url::Url;

/// Longest redirect URL, in bytes. It is a part of the state.
const MAX_REDIRECT: usize = 1024;

/// A browser's word for how the page that sent a request is related to us (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Origins such as `https://app.example.com`, each in the one form that browsers send (RFC 6454,
/// 6.2), so that a header is compared as bytes and never parsed.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<Listed>);

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Listed {
    Exact(String),
    /// `https://*.preview.example.com`: what follows the one label that may be anything.
    AnyLabel(String),
}

impl Listed {
    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == origin,
            Self::AnyLabel(end) => origin
                .strip_prefix(b"https://")
                .and_then(|rest| rest.strip_suffix(end.as_bytes()))
                .is_some_and(is_label),
        }
    }
}

/// A label of a host name as browsers send it (RFC 1123, 2.1).
fn is_label(label: &[u8]) -> bool {
    let part = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=63).contains(&label.len())
        && label.iter().all(part)
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

/// The text is not an origin that can be allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be origins such as https://app.example.com or https://*.preview.example.com, with commas \
     between; plain http:// only for this machine"
)]
pub struct NotAnOrigin;

impl Origins {
    /// The origins, as they are listed.
    pub fn listed(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|listed| match listed {
            Listed::Exact(origin) => origin.clone(),
            Listed::AnyLabel(end) => format!("https://*{end}"),
        })
    }

    /// Parses origins, each a scheme, a host and an optional port, and nothing more.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NotAnOrigin> {
        let origins: Vec<Listed> =
            texts.into_iter().map(|text| listed(text.trim())).collect::<Result<_, _>>()?;
        if origins.is_empty() { Err(NotAnOrigin) } else { Ok(Self(origins)) }
    }

    /// Adds the origins of the login page on a listener of this machine.
    #[must_use]
    pub fn with_loopback(mut self, port: u16) -> Self {
        let here = ["127.0.0.1", "localhost", "[::1]"]
            .map(|host| Url::parse(&format!("http://{host}:{port}")));
        self.0.extend(here.iter().flatten().map(serialized).map(Listed::Exact));
        self
    }

    /// The URL if AuthKit may send a browser there: at one of the origins, and without anything
    /// that two parsers could read differently.
    pub fn redirect(&self, text: &str) -> Option<Url> {
        let plain = text.len() <= MAX_REDIRECT
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let url = Url::parse(text).ok().filter(|url| plain && is_web(url, text))?;
        let fits = self.lists(serialized(&url).as_bytes());
        let fits = fits && no_user(&url) && url.fragment().is_none();
        fits.then_some(url)
    }

    fn has(&self, origin: &HeaderValue) -> bool {
        self.lists(origin.as_bytes())
    }

    fn lists(&self, origin: &[u8]) -> bool {
        self.0.iter().any(|listed| listed.is(origin))
    }

    /// Whether the page that sent a request is allowed. A request without `Origin` comes from no
    /// page, unless the browser says otherwise.
    pub(crate) fn allow<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        let mut origins = headers.get_all(ORIGIN).iter();
        match origins.next() {
            Some(first) => self.has(first) && origins.all(|origin| self.has(origin)),
            None => request.method() != Method::POST || !is_of_another_site(headers),
        }
    }

    /// The answer to a preflight request (Fetch, 3.3), from a page that is allowed: it may send the
    /// headers that it asks for. Error trackers and tracers add some to every request of a page.
    pub(super) fn preflight(methods: &'static str, headers: &HeaderMap) -> Answer {
        let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).filter(|names| are_names(names));
        let usual = HeaderValue::from_static("content-type, authorization");
        let allowed = wanted.cloned().unwrap_or(usual);
        let mut answer = answer(StatusCode::NO_CONTENT, "text/plain", "");
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        answer
    }

    /// Lets the allowed page read the answer.
    pub(super) fn share(mut answer: Answer, with: Option<&HeaderValue>) -> Answer {
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = with {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer
    }
}

/// Reads one entry. A wildcard stands for one whole label of an `https` origin, below at least two.
fn listed(text: &str) -> Result<Listed, NotAnOrigin> {
    const ANY: &str = "https://any";
    let Some(end) = text.strip_prefix("https://*") else { return exact(text).map(Listed::Exact) };
    let origin = exact(&format!("{ANY}{end}"))?;
    let end = origin.strip_prefix(ANY).filter(|end| end.starts_with('.')).ok_or(NotAnOrigin)?;
    if end.matches('.').count() < 2 || end.contains('*') {
        return Err(NotAnOrigin);
    }
    Ok(Listed::AnyLabel(end.to_owned()))
}

fn exact(text: &str) -> Result<String, NotAnOrigin> {
    let url = Url::parse(text).map_err(|_| NotAnOrigin)?;
    let bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && no_user(&url);
    let one = url.host_str().is_some_and(|host| !host.contains('*'));
    if bare && one && is_safe(&url) { Ok(serialized(&url)) } else { Err(NotAnOrigin) }
}

/// Longest list of names in a preflight request, in bytes.
const MAX_NAMES: usize = 1024;

/// Names of headers (RFC 9110, 5.6.2), with commas between.
fn are_names(names: &HeaderValue) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, \t".contains(&byte);
    names.len() <= MAX_NAMES && names.as_bytes().iter().copied().all(part)
}

/// A POST with our cookies that another origin caused, by the browser's word.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let ours = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    headers.contains_key(COOKIE) && !headers.get_all(SEC_FETCH_SITE).iter().all(ours)
}

/// The origin of an `http` or `https` URL. Other schemes must not come here: `blob:` URLs have the
/// origin of what they contain.
fn serialized(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Whether this is the text of a web URL with its two slashes; the parser would do without.
fn is_web(url: &Url, text: &str) -> bool {
    let rest = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://"));
    matches!(url.scheme(), "http" | "https") && rest.is_some_and(|rest| !rest.starts_with('/'))
}

fn no_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Encrypted, or only within this machine.
fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" && url.has_host() || url.scheme() == "http" && is_loopback(url)
}

#[cfg(test)]
mod tests;
