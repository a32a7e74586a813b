//! Which pages may talk to us with a person's cookies, and where AuthKit may send people back to: one list of exact
//! origins for both.

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
    },
};
use shared::http::{Answer, answer, client::stays_here};
use url::{Origin, Url};

/// Longest redirect URL. It travels in the state, in a cookie-sized world.
const MAX_REDIRECT: usize = 1024;

/// Origins such as `https://app.example.com`, compared as a browser compares them (RFC 6454).
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<Origin>);

/// Why a text is no origin that can be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be origins such as https://app.example.com, with commas between; plain http:// only for this machine")]
pub struct NotAnOrigin;

impl Origins {
    /// Each must be a scheme, a host and perhaps a port, and nothing more.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NotAnOrigin> {
        let origin = |text: &str| {
            let url = Url::parse(text).map_err(|_| NotAnOrigin)?;
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && no_user(&url);
            if bare && is_safe(&url) { Ok(url.origin()) } else { Err(NotAnOrigin) }
        };
        let origins: Vec<Origin> = texts.into_iter().map(|text| origin(text.trim())).collect::<Result<_, _>>()?;
        if origins.is_empty() { Err(NotAnOrigin) } else { Ok(Self(origins)) }
    }

    /// The same, and those of the login page on a listener of this machine.
    #[must_use]
    pub fn and_here(mut self, port: u16) -> Self {
        let here = ["127.0.0.1", "localhost", "[::1]"].map(|host| Url::parse(&format!("http://{host}:{port}")));
        self.0.extend(here.into_iter().flatten().map(|url| url.origin()));
        self
    }

    /// The URL if AuthKit may send a browser there: at one of the origins, and without anything that could mean two
    /// things to two readers.
    pub(super) fn redirect(&self, text: &str) -> Option<Url> {
        let plain = text.len() <= MAX_REDIRECT && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let url = Url::parse(text).ok().filter(|_| plain)?;
        let fits = self.0.contains(&url.origin()) && no_user(&url) && url.fragment().is_none();
        fits.then_some(url)
    }

    fn has(&self, origin: &HeaderValue) -> bool {
        let url = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
        url.is_some_and(|url| self.0.contains(&url.origin()))
    }

    /// Whether the page that asks may. A request without `Origin` comes from no page.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        headers.get_all(ORIGIN).iter().all(|origin| self.has(origin))
    }

    /// What a browser asks before it sends a request of another origin (Fetch, 3.3).
    pub(super) fn preflight(methods: &'static str) -> Answer {
        let mut answer = answer(StatusCode::NO_CONTENT, "text/plain", "");
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, authorization"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        answer
    }

    /// Lets the page that was admitted read the answer.
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

fn no_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Encrypted, or never leaving this machine.
fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" && url.has_host() || url.scheme() == "http" && stays_here(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        Origins::parse(["https://app.example.com", " http://localhost:3000"]).expect("origins")
    }

    #[test]
    fn only_exact_origins_can_be_listed() {
        for text in [
            "",
            "app.example.com",
            "http://app.example.com",
            "https://app.example.com/en",
            "https://a@b",
            "https://b?x",
            "ftp://b",
            "*",
            "https://*.b/x",
        ] {
            assert_eq!(Origins::parse([text]).map(|_| ()), Err(NotAnOrigin), "{text}");
        }
        assert!(Origins::parse([]).is_err());
        assert!(Origins::parse(["https://app.example.com/", "http://127.0.0.1:8080", "http://[::1]:1"]).is_ok());
    }

    #[test]
    fn a_redirect_stays_within_them() {
        for good in [
            "https://app.example.com/en/callback",
            "https://app.example.com:443/en/callback?next=%2Fhome",
            "HTTPS://APP.example.com/",
            "http://localhost:3000/cb",
        ] {
            assert!(origins().redirect(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/en/callback",
            "//app.example.com/cb",
            "https://evil.example/cb",
            "https://app.example.com.evil.example/cb",
            "https://app.example.com@evil.example/cb",
            "https://user@app.example.com/cb",
            "https://evil.example\\@app.example.com/cb",
            "https:\\\\app.example.com/cb",
            "https://app.example.com/cb#https://evil.example",
            "http://app.example.com/cb",
            "https://app.example.com:8443/cb",
            "http://localhost:3001/cb",
            "javascript:alert(1)//app.example.com",
            "https://app.example.com/cb\n",
            " https://app.example.com/cb",
            "https://аpp.example.com/cb",
        ] {
            assert!(origins().redirect(bad).is_none(), "{bad}");
        }
        assert!(origins().redirect(&format!("https://app.example.com/{}", "a".repeat(MAX_REDIRECT))).is_none());
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let headers = |origins: &[&'static str]| {
            let pair = |origin: &&'static str| (ORIGIN, HeaderValue::from_static(origin));
            origins.iter().map(pair).collect::<HeaderMap>()
        };
        assert!(origins().admit(&headers(&[])));
        assert!(origins().admit(&headers(&["https://app.example.com"])));
        for other in ["null", "https://evil.example", "http://app.example.com", ""] {
            assert!(!origins().admit(&headers(&[other])), "{other}");
        }
        let mut two = headers(&["https://app.example.com"]);
        two.append(ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(!origins().admit(&two));
    }
}
