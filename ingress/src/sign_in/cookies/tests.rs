//! Unit tests of the parent module.

use hyper::StatusCode;
use runtime::http;

use super::*;

fn headers(lines: &[&'static str]) -> HeaderMap {
    lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect()
}

#[test]
fn a_cookie_is_found_among_others_and_a_double_is_not_believed() {
    assert_eq!(
        read_cookie(&headers(&["a=1; __Host-authpost_access=t; b=2"]), ACCESS).as_deref(),
        Some("t")
    );
    assert_eq!(
        read_cookie(&headers(&["a=1", "__Host-authpost_access=t"]), ACCESS).as_deref(),
        Some("t")
    );
    assert_eq!(
        read_cookie(&headers(&["__Host-authpost_access=t; __Host-authpost_access=u"]), ACCESS),
        None
    );
    assert_eq!(read_cookie(&headers(&["authpost_access=t; ;;="]), ACCESS), None);
}

/// Any script of the domain, and any sibling host, can set cookies of any bytes.
#[test]
fn bytes_of_other_cookies_hide_nothing_and_pass_for_nothing() {
    let read = |line: &[u8]| {
        let value = HeaderValue::from_bytes(line).expect("a header's value");
        read_cookie(&[(COOKIE, value)].into_iter().collect(), ACCESS)
    };
    for line in [
        &b"name=J\xc3\xbcrgen; __Host-authpost_access=t"[..],
        b"__Host-authpost_access=t;\xff",
        b"\xff\xfe=\x80;\t__Host-authpost_access = t\t; x",
        b"__Host-authpost_access=t; __Host-authpost_acc\xc3\xa9ss=u; =; ;",
    ] {
        assert_eq!(read(line).as_deref(), Some("t"), "{line:?}");
    }
    for line in [
        // A sibling host may set these: browsers look for the prefix at the very beginning.
        "\u{2000}__Host-authpost_access=t".as_bytes(),
        "\u{a0}__Host-authpost_access=t".as_bytes(),
        b"__host-authpost_access=t",
        b"__Host-authpost_access",
        b"__Host-authpost_access=t\xff",
        b"__Host-authpost_access=t u",
        b"__Host-authpost_access=t; a=1; __Host-authpost_access=\xff",
    ] {
        assert_eq!(read(line), None, "{line:?}");
    }
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
    set_key(&mut answer, &BrowserKey::new([7; 32]));
    clear_all(&mut answer);
    let cookies: Vec<_> = answer
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|value| value.to_str().expect("text").to_owned())
        .collect();
    assert_eq!(cookies.len(), 4);
    for cookie in &cookies {
        for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/", "; Max-Age="] {
            assert!(cookie.contains(attribute), "{cookie} has no {attribute}");
        }
        assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
    }
    assert_eq!(set(&mut answer, &"x".repeat(MAX_COOKIE + 1)), Err(TokenTooLarge));
    assert_eq!(set(&mut answer, "a=\n"), Err(TokenTooLarge));
}
