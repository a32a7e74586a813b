//! Unit tests of the parent module.

use super::*;

fn parse(url: &str) -> Result<RelayConfig, InvalidRelayUrl> {
    let trust = runtime::tls::Trust::load(None).expect("usable");
    RelayConfig::parse(&SecretString::from(url.to_owned()), trust.client(), None)
}

#[test]
fn the_three_forms() {
    let implicit = parse("smtps://user%40acme:p%2Fw@relay.example").expect("valid");
    assert_eq!((implicit.port, implicit.security), (465, Security::Implicit));
    let Login::Password { user, password } = implicit.login else { panic!("given") };
    assert_eq!((user.as_str(), password.expose_secret()), ("user@acme", "p/w"));
    let starttls = parse("smtp://relay.example").expect("valid");
    assert_eq!((starttls.port, starttls.security), (587, Security::StartTls));
    assert_eq!(parse("smtp://[::1]:25").expect("valid").host, "::1");
    let open = parse("smtp://127.0.0.1:2525?tls=none").expect("valid");
    assert_eq!((open.port, open.security), (2525, Security::None));
}

#[test]
fn an_invalid_url_is_explained_without_its_password() {
    for (url, error) in [
        ("relay.example:25", InvalidRelayUrl::Scheme),
        ("", InvalidRelayUrl::NotAUrl),
        ("http://relay.example", InvalidRelayUrl::Scheme),
        ("smtps://u:secret@h?tls=none", InvalidRelayUrl::Contradiction),
        ("smtp://u:secret@h?tls=none", InvalidRelayUrl::OpenPassword),
        ("smtp://h?tls=maybe", InvalidRelayUrl::Option),
        ("smtp://u@h", InvalidRelayUrl::HalfCredentials),
        ("smtp://:secret@h", InvalidRelayUrl::HalfCredentials),
    ] {
        let found = parse(url).err();
        assert_eq!(found, Some(error), "{url}");
        assert!(!error.to_string().contains("secret"));
    }
}
