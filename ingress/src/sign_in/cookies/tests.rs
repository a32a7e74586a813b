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
    let key = BrowserKey::new([7; 32]);
    let life = std::time::Duration::from_secs(3600);
    let sent = headers(&["__Host-authpost_signin_old=k"]);
    set_key(&mut answer, &sent, ("flow", &key), life);
    set_done(&mut answer, "flow", &key, "mark", life);
    clear_all(&mut answer, &sent);
    let cookies: Vec<_> = answer
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .map(|value| value.to_str().expect("text").to_owned())
        .collect();
    assert_eq!(cookies.len(), 6);
    for cookie in &cookies {
        for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/", "; Max-Age="] {
            assert!(cookie.contains(attribute), "{cookie} has no {attribute}");
        }
        assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
    }
    assert_eq!(set(&mut answer, &"x".repeat(MAX_COOKIE + 1)), Err(TokenTooLarge));
    assert_eq!(set(&mut answer, "a=\n"), Err(TokenTooLarge));
}

/// Two tabs of a browser are two flows.
#[test]
fn each_flow_has_a_key_of_its_own_and_the_oldest_ones_end() {
    let (one, other) = (BrowserKey::new([1; 32]), BrowserKey::new([2; 32]));
    let line = format!("{FLOW}aaa={}; {FLOW}bbb={}.mark", one.expose(), other.expose());
    let sent: HeaderMap =
        [(COOKIE, HeaderValue::from_str(&line).expect("text"))].into_iter().collect();
    assert_eq!(browser(&sent, "aaa"), Some(one.clone()));
    assert_eq!((browser(&sent, "bbb"), done(&sent, "bbb")), (Some(other), Some("mark".to_owned())));
    assert_eq!((browser(&sent, "ccc"), done(&sent, "aaa")), (None, None));
    // An earlier release had one cookie for all.
    let old = format!("{BROWSER}={}", one.expose());
    let old = [(COOKIE, HeaderValue::from_str(&old).expect("text"))].into_iter().collect();
    assert_eq!(browser(&old, "aaa"), Some(one.clone()));

    let many: Vec<String> = (0..9).map(|n| format!("{FLOW}f{n}=k")).collect();
    let line = many.join("; ") + "; __Host-authpost_signin_<=k; x__Host-authpost_signin_y=k";
    let sent = [(COOKIE, HeaderValue::from_str(&line).expect("text"))].into_iter().collect();
    let mut answer = http::answer(StatusCode::OK, "text/plain", "");
    set_key(&mut answer, &sent, ("new", &one), std::time::Duration::from_secs(3600));
    let lines: Vec<_> = answer.headers().get_all(SET_COOKIE).iter().collect();
    let lines: Vec<_> = lines.iter().map(|cookie| cookie.to_str().expect("text")).collect();
    let cleared = lines.iter().filter(|cookie| cookie.contains("Max-Age=0")).count();
    assert_eq!((lines.len(), cleared), (5, 4), "{lines:?}");
    assert!(lines[0].starts_with("__Host-authpost_signin_f0=;"), "the oldest first: {lines:?}");
    assert!(lines[4].contains("Max-Age=90000"), "an hour and a day: {lines:?}");
}
