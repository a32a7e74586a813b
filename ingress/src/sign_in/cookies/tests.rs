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
