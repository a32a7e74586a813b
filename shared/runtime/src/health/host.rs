//! The names that the private listener answers to.
//!
//! A page of a stranger can have its own name resolve to this machine, and then read what its
//! visitor's browser can reach (DNS rebinding). The browser says that name in `Host`. An address, a
//! name without a dot and a name of a private network cannot be a stranger's.

use std::net::{IpAddr, SocketAddr};

use hyper::{Request, StatusCode, header::HOST};

use crate::http::{Answer, problem};

/// Ends of names that are not delegated in the public DNS (RFC 6761, RFC 6762, RFC 8375, ICANN's
/// `internal`), and Kubernetes's own.
const PRIVATE: [&str; 8] = [
    ".localhost",
    ".local",
    ".internal",
    ".home.arpa",
    ".test",
    ".svc",
    ".svc.cluster.local",
    ".lan",
];

/// The refusal of a request, if it is for a name that is not ours. `listed` are further names.
pub(super) fn refusal<B>(request: &Request<B>, listed: &[String]) -> Option<Answer> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // Browsers always send one.
        (None, _) => None,
        (Some(host), None) if host.to_str().is_ok_and(|host| is_ours(host, listed)) => None,
        _ => Some(problem(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "This listener does not answer to that host name: add it to AUTHPOST_ADMIN_HOSTS.",
        )),
    }
}

fn is_ours(host: &str, listed: &[String]) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    !name.contains('.')
        || PRIVATE.iter().any(|end| name.ends_with(end))
        || listed.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(host: Option<&str>) -> bool {
        let request = Request::get("/metrics");
        let request = host.into_iter().fold(request, |request, host| request.header(HOST, host));
        refusal(&request.body(()).expect("a request"), &["authpost.example.com".to_owned()])
            .is_none()
    }

    #[test]
    fn a_name_that_a_stranger_can_own_is_refused() {
        for host in [
            "127.0.0.1:9090",
            "127.0.0.1",
            "[::1]:9090",
            "[::1]",
            "10.1.2.3:9090",
            "localhost:9090",
            "authpost",
            "authpost:9090",
            "worker.ns.svc:9090",
            "worker.ns.svc.cluster.local:9090",
            "node.internal",
            "AuthPost.Example.com:9090",
            "authpost.example.com.",
        ] {
            assert!(allows(Some(host)), "{host}");
        }
        for host in [
            "evil.example:9090",
            "evil.example",
            "127.0.0.1.evil.example:9090",
            "localhost.evil.example",
            "evil.example.",
            "svc.evil.example",
            "sub.authpost.example.com",
        ] {
            assert!(!allows(Some(host)), "{host}");
        }
        assert!(allows(None));
    }
}
