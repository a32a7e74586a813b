//! The proxy for outgoing HTTPS, as `HTTPS_PROXY` and `NO_PROXY` name it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::Uri;
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

/// A proxy that connections to other servers are tunnelled through (CONNECT; RFC 9110, 9.3.6).
/// `{:?}` shows no password.
#[derive(Clone)]
pub struct Proxy {
    matcher: Arc<Matcher>,
    address: String,
}

/// The text is not the URL of a proxy that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the URL of an HTTP proxy such as http://proxy.example.com:3128")]
pub struct InvalidProxy;

impl Proxy {
    /// The proxy at `url`, except for the hosts in `except`, in the form of `NO_PROXY`: names, which
    /// contain their subdomains, addresses and networks, or `*` for all.
    pub fn parse(url: &str, except: &str) -> Result<Self, InvalidProxy> {
        let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parsed = url::Url::parse(&full).map_err(|_| InvalidProxy)?;
        let host = parsed.host_str().ok_or(InvalidProxy)?;
        let bare = parsed.scheme() == "http" && parsed.path() == "/" && parsed.query().is_none();
        if !bare {
            return Err(InvalidProxy);
        }
        let address = format!("{host}:{}", parsed.port_or_known_default().unwrap_or(80));
        let matcher = Matcher::builder().https(full).no(except.to_owned()).build();
        Ok(Self { matcher: Arc::new(matcher), address })
    }

    /// Its host and port, if it is used for this URL.
    pub fn for_url(&self, url: &str) -> Option<&str> {
        let uri: Uri = url.parse().ok()?;
        self.matcher.intercept(&uri).map(|_| self.address.as_str())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

/// Connects to a server, through the proxy if there is one for it.
#[derive(Clone)]
pub struct Route {
    pub(crate) direct: HttpConnector,
    pub(crate) proxy: Option<Proxy>,
}

type Connecting = Pin<
    Box<
        dyn Future<Output = Result<TokioIo<TcpStream>, Box<dyn std::error::Error + Send + Sync>>>
            + Send,
    >,
>;

impl Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.direct.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Connecting {
        let through = self.proxy.as_ref().and_then(|proxy| proxy.matcher.intercept(&server));
        let Some(proxy) = through else {
            let connecting = self.direct.call(server);
            return Box::pin(async { Ok(connecting.await?) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.direct.clone());
        if let Some(auth) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let connecting = tunnel.call(server);
        Box::pin(async { Ok(connecting.await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_used_for_https_except_for_the_hosts_named() {
        let proxy = Proxy::parse(
            "http://user:hush@proxy.example.com:3128",
            "internal.example, 10.0.0.0/8, 127.0.0.1",
        )
        .expect("a proxy");
        for (url, used) in [
            ("https://api.workos.com", true),
            ("http://api.workos.com", false),
            ("https://collector.internal.example", false),
            ("https://internal.example:4318/v1/traces", false),
            ("https://notinternal.example", true),
            ("https://10.1.2.3", false),
            ("https://127.0.0.1:8443", false),
        ] {
            assert_eq!(proxy.for_url(url), used.then_some("proxy.example.com:3128"), "{url}");
        }
        assert!(!format!("{proxy:?}").contains("hush"));
        let none = Proxy::parse("proxy.example.com", "*").expect("a proxy");
        assert_eq!(none.for_url("https://api.workos.com"), None);
    }

    #[test]
    fn what_is_no_http_proxy_is_refused() {
        for url in
            ["", "socks5://p:1080", "https://p", "http://", "http://p/path", "http://p?x", "://"]
        {
            assert_eq!(Proxy::parse(url, "").err(), Some(InvalidProxy), "{url}");
        }
        assert!(Proxy::parse("proxy:3128", "").is_ok());
    }
}
