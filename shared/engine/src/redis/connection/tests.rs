//! Unit tests of the parent module.

use super::*;

#[test]
fn every_error_is_retried_and_only_unusable_connections_are_discarded() {
    let server = |kind| RedisError::from((redis::ErrorKind::Server(kind), "text"));
    let io = |kind| RedisError::from(std::io::Error::from(kind));
    for (error, discarded, says) in [
        (server(ServerErrorKind::ReadOnly), true, "read-only"),
        (server(ServerErrorKind::BusyLoading), true, "loading"),
        (server(ServerErrorKind::NoPerm), false, "lacks a permission"),
        (server(ServerErrorKind::Moved), false, "node of a Redis Cluster"),
        (server(ServerErrorKind::CrossSlot), false, "node of a Redis Cluster"),
        (server(ServerErrorKind::ResponseError), false, "refused the command"),
        (io(std::io::ErrorKind::TimedOut), true, "in time"),
        (io(std::io::ErrorKind::ConnectionRefused), true, "was refused"),
        (io(std::io::ErrorKind::BrokenPipe), true, "broke"),
        (RedisError::from((redis::ErrorKind::AuthenticationFailed, "text")), true, "password"),
    ] {
        let fault = classify(&error);
        assert_eq!(fault.severity, domain::fault::Severity::Transient { retry_after: None });
        assert!(fault.detail.contains(says), "{error}: {fault}");
        assert_eq!(is_unusable_after(&error), discarded, "{error}");
    }
}

fn parse(url: &str, trust: &Trust) -> Result<RedisConfig, InvalidRedisUrl> {
    RedisConfig::parse(&SecretString::from(url.to_owned()), trust)
}

#[test]
fn every_way_of_connecting_disables_nagle() {
    runtime::tls::install_provider();
    let authority =
        rcgen::generate_simple_self_signed(["authority".to_owned()]).expect("a certificate");
    let extra = Trust::load(Some(authority.cert.pem().as_bytes())).expect("usable");
    let machine = Trust::load(None).expect("usable");
    for (url, trust) in [
        ("redis://h:1", &machine),
        ("redis://h:1", &extra),
        ("rediss://h:1", &machine),
        ("rediss://h:1", &extra),
    ] {
        let config = parse(url, trust).expect("a URL");
        assert!(
            config.client.get_connection_info().tcp_settings().nodelay(),
            "{url} with {trust:?}"
        );
    }
}

#[test]
fn a_url_that_cannot_be_used_is_refused_without_repeating_it() {
    let trust = Trust::load(None).expect("usable");
    for url in ["", "redis://", "http://h", "redis://:secret@h/first", "redis://:secret@h:port"] {
        let error = parse(url, &trust).err().unwrap_or_else(|| panic!("{url} was accepted"));
        assert!(!error.to_string().contains("secret"));
    }
    assert!(!format!("{:?}", parse("redis://user:secret@h/1", &trust)).contains("secret"));
}
