//! The readers of headers that strangers write, for the fuzz targets.

use std::net::IpAddr;

use hyper::{HeaderMap, Request};
use secrecy::ExposeSecret as _;
use url::Url;

use crate::{
    proxies::Proxies,
    sign_in::{cookies::Cookies, origins::Origins},
};

/// The values of the two cookies of a session: `__Host-authpost_access`, unless there is an
/// `Authorization`, and `__Host-authpost_refresh`.
pub fn session_cookies(headers: &HeaderMap) -> [Option<String>; 2] {
    let cookies = Cookies::default();
    let refresh = cookies.refresh(headers).map(|token| token.expose_secret().to_owned());
    [cookies.access(headers), refresh]
}

/// The address of the client of a connection.
pub fn client(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    proxies.client(peer, headers)
}

/// Whether a request comes from a page that may sign people in.
pub fn is_allowed(origins: &Origins, request: &Request<()>) -> bool {
    origins.allow(request)
}

/// The URL that a browser may be sent to.
pub fn redirect(origins: &Origins, text: &str) -> Option<Url> {
    origins.redirect(text)
}
