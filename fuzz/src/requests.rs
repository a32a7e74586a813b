//! Properties of the headers, URLs and tokens that strangers write.

use std::{net::IpAddr, sync::LazyLock};

use hyper::{
    HeaderMap, Request,
    header::{COOKIE, HeaderValue, ORIGIN},
};
use ingress::{fuzzing, proxies::Proxies, sign_in::origins::Origins};
use jiff::Timestamp;
use serde_json::{Map, Value};
use workos::claims::Rules;

/// The header lines of this name: the input's lines, without those that HTTP could not carry.
fn headers(name: &'static str, data: &[u8]) -> HeaderMap {
    let lines = data.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.parse().expect("a name"), value)).collect()
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(begin) = bytes.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = bytes.iter().rposition(|byte| !blank(byte)).unwrap_or(begin);
    &bytes[begin..=end]
}

/// Lines of cookies. Each is found as by the plain rule: split at semicolons, the first equals sign
/// ends the name, and one that is there twice is not used.
pub fn cookies(data: &[u8]) {
    let headers = headers(COOKIE.as_str(), data);
    let pairs: Vec<(&[u8], &[u8])> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((trimmed(&pair[..at]), trimmed(&pair[at + 1..])))
        })
        .collect();
    let value = |name: &str| {
        let mut of_name = pairs.iter().filter(|(found, _)| *found == name.as_bytes());
        let (Some((_, value)), None) = (of_name.next(), of_name.next()) else { return None };
        let ours = value.len() <= 4096 && value.iter().all(u8::is_ascii_graphic);
        String::from_utf8(value.to_vec()).ok().filter(|_| ours)
    };
    let [access, refresh] = fuzzing::session_cookies(&headers);
    assert_eq!(access, value("__Host-authpost_access"));
    assert_eq!(refresh, value("__Host-authpost_refresh").filter(|token| !token.is_empty()));
}

static PROXIES: LazyLock<Proxies> = LazyLock::new(|| {
    let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
    Proxies::new(networks.to_vec()).expect("not everybody")
});

fn is_proxy(address: IpAddr) -> bool {
    PROXIES.networks().iter().any(|network| network.contains(&address.to_canonical()))
}

/// Lines of `X-Forwarded-For`. The client is the last one that is no proxy of ours, whatever it has
/// written before that.
pub fn forwarded(data: &[u8]) {
    const NAME: &str = "x-forwarded-for";
    let (peer, stranger) = ([10, 0, 0, 1].into(), [192, 0, 2, 1].into());
    let sent = headers(NAME, data);
    assert_eq!(fuzzing::client(&PROXIES, stranger, &sent), stranger, "a stranger was believed");
    let client = fuzzing::client(&PROXIES, peer, &sent);
    let added: HeaderMap = headers(NAME, &[data, b"\n203.0.113.5, 10.1.1.1"].concat());
    let behind = fuzzing::client(&PROXIES, peer, &added);
    assert_eq!(behind.to_string(), "203.0.113.5", "the client hid itself");
    if client != peer && !is_proxy(client) {
        let before = headers(NAME, &[b"198.51.100.9, \xff,,\n", data].concat());
        assert_eq!(fuzzing::client(&PROXIES, peer, &before), client);
    }
}

const ORIGINS: [&str; 2] = ["https://app.example.com", "https://admin.example.com:8443"];

/// First line: an `Origin`. The rest: a URL to send a browser to. Both only within the list.
pub fn origin(data: &[u8]) {
    static LIST: LazyLock<Origins> = LazyLock::new(|| Origins::parse(ORIGINS).expect("origins"));
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (origin, url) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    if let Ok(value) = HeaderValue::from_bytes(origin) {
        let request = Request::post("/").header(ORIGIN, value).body(()).expect("a request");
        let listed = ORIGINS.iter().any(|known| known.as_bytes() == origin);
        assert_eq!(fuzzing::is_allowed(&LIST, &request), listed);
    }
    let Ok(text) = std::str::from_utf8(url) else { return };
    let Some(url) = fuzzing::redirect(&LIST, text) else { return };
    let shown = url.as_str();
    let rest = ORIGINS.iter().find_map(|known| shown.strip_prefix(known)).expect("a listed origin");
    assert!(rest.starts_with(['/', '?']), "{shown}");
    assert!(url.username().is_empty() && url.fragment().is_none(), "{shown}");
    assert!(text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")), "{text}");
}

/// The claims of a token, as JSON. What is believed is a person's, ours, and in time.
pub fn token_claims(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let rules = Rules {
        client_id: "client_1".to_owned(),
        issuers: vec!["https://api.workos.com".to_owned()],
    };
    let now = Timestamp::from_second(1_768_478_400).expect("in range");
    let Ok(believed) = rules.check(&claims, now) else { return };
    assert!(!believed.sub.is_empty() && !believed.sid.is_empty());
    assert_eq!(claims["sub"], believed.sub);
    assert_eq!(claims["sid"], believed.sid);
    assert!(believed.exp >= now.as_second() - 30);
    let issuer = claims["iss"].as_str().expect("text");
    assert_eq!(issuer.strip_suffix('/').unwrap_or(issuer), "https://api.workos.com");
    for name in ["aud", "client_id", "azp"] {
        let claim = claims.get(name).filter(|claim| !claim.is_null());
        assert!(claim.is_none_or(|claim| claim.to_string().contains("\"client_1\"")), "{name}");
    }
    assert!(claims.get("sub_type").is_none_or(Value::is_null));
    assert!(claims.get("sub_profile").is_none_or(|it| it.is_null() || it == "user"));
}
