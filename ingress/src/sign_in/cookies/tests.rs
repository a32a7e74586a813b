//! Unit tests of the parent module.

use hyper::{
    StatusCode,
    header::{AUTHORIZATION, COOKIE},
};
use runtime::http;

use super::*;

const ACCESS: &str = "__Host-authpost_access";
const FLOW: &str = "__Host-authpost_signin_";

fn headers(lines: &[&'static str]) -> HeaderMap {
    lines.iter().map(|line| (COOKIE, HeaderValue::from_static(line))).collect()
}

#[test]
fn a_cookie_is_found_among_others_and_a_double_is_not_believed() {
    assert_eq!(read_cookie(&headers(&["a=1; __Host-authpost_access=t; b=2"]), ACCESS), Some("t"));
    assert_eq!(read_cookie(&headers(&["a=1", "__Host-authpost_access=t"]), ACCESS), Some("t"));
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
        read_cookie(&[(COOKIE, value)].into_iter().collect(), ACCESS).map(str::to_owned)
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
    let cookies = Cookies::default();
    let mut both = headers(&["__Host-authpost_access=cookie"]);
    assert_eq!(cookies.access(&both).as_deref(), Some("cookie"));
    both.insert(AUTHORIZATION, HeaderValue::from_static("bearer  token"));
    assert_eq!(cookies.access(&both).as_deref(), Some("token"));
    both.insert(AUTHORIZATION, HeaderValue::from_static("Basic dTpw"));
    assert_eq!(cookies.access(&both).as_deref(), Some("cookie"));
}

#[test]
fn every_cookie_is_out_of_reach_of_scripts_and_other_sites() {
    let mut answer = http::answer(StatusCode::OK, "text/plain", "");
    let key = BrowserKey::new([7; 32]);
    let life = std::time::Duration::from_secs(3600);
    let sent = headers(&[
        "__Host-authpost_signin_old=k; __Host-authpost_access_1=b; __Host-authpost_signin=k",
    ]);
    let cookies = Cookies::default();
    cookies.set_key(&mut answer, &sent, ("flow", &key), life);
    cookies.set_done(&mut answer, ("flow", &key), "mark", life);
    cookies.clear_all(&mut answer, &sent);
    let lines = set_by(&answer);
    assert_eq!(lines.len(), 7);
    for cookie in &lines {
        for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/", "; Max-Age="] {
            assert!(cookie.contains(attribute), "{cookie} has no {attribute}");
        }
        assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
    }
}

/// The `Set-Cookie` lines of an answer.
fn set_by(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers().get_all(SET_COOKIE).iter();
    lines.map(|value| value.to_str().expect("text")).collect()
}

fn tokens(access: usize, refresh: usize) -> Tokens {
    let json = serde_json::json!({
        "user": { "id": "user_1", "email": "a@example.com" },
        "access_token": "t".repeat(access), "refresh_token": "r".repeat(refresh),
    });
    serde_json::from_value(json).expect("tokens")
}

#[test]
fn chunks_that_a_shorter_token_does_not_need_are_cleared() {
    let sent = headers(&[
        "__Host-authpost_access=3:a; __Host-authpost_access_1=b",
        "__Host-authpost_access_2=c",
    ]);
    let cookies = Cookies::default();
    assert_eq!(cookies.access_cookie(&sent).as_deref(), Some("abc"));
    let mut answer = http::answer(StatusCode::OK, "text/plain", "");
    cookies.set_session(&mut answer, &sent, &tokens(5000, 30)).expect("fits");
    let lines = set_by(&answer);
    let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(
        (lines.len(), of("__Host-authpost_access=2:t"), of("__Host-authpost_access_1=t")),
        (4, 1, 1)
    );
    assert!(lines.iter().any(|line| line.starts_with("__Host-authpost_access_2=;")), "{lines:?}");
}

#[test]
fn what_does_not_fit_sets_nothing() {
    let mut answer = http::answer(StatusCode::OK, "text/plain", "");
    for (access, refresh) in [(17_000, 30), (300, 5000)] {
        let result = Cookies::default().set_session(
            &mut answer,
            &HeaderMap::new(),
            &tokens(access, refresh),
        );
        assert_eq!((result, set_by(&answer).len()), (Err(TokenTooLarge), 0));
    }
}

/// Two tabs of a browser are two flows.
#[test]
fn each_flow_has_a_key_of_its_own_and_the_oldest_ones_end() {
    let (one, other) = (BrowserKey::new([1; 32]), BrowserKey::new([2; 32]));
    let line = format!("{FLOW}aaa={}; {FLOW}bbb={}.mark", one.expose(), other.expose());
    let sent: HeaderMap =
        [(COOKIE, HeaderValue::from_str(&line).expect("text"))].into_iter().collect();
    let cookies = Cookies::default();
    assert_eq!(cookies.browser(&sent, "aaa"), Some(one.clone()));
    assert_eq!(
        (cookies.browser(&sent, "bbb"), cookies.done(&sent, "bbb")),
        (Some(other), Some("mark".to_owned()))
    );
    assert_eq!((cookies.browser(&sent, "ccc"), cookies.done(&sent, "aaa")), (None, None));
    // An earlier release had one cookie for all.
    let old = format!("{BROWSER}={}", one.expose());
    let old = [(COOKIE, HeaderValue::from_str(&old).expect("text"))].into_iter().collect();
    assert_eq!(cookies.browser(&old, "aaa"), Some(one.clone()));

    let many: Vec<String> = (0..9).map(|n| format!("{FLOW}f{n}=k")).collect();
    let line = many.join("; ") + "; __Host-authpost_signin_<=k; x__Host-authpost_signin_y=k";
    let sent = [(COOKIE, HeaderValue::from_str(&line).expect("text"))].into_iter().collect();
    let mut answer = http::answer(StatusCode::OK, "text/plain", "");
    cookies.set_key(&mut answer, &sent, ("new", &one), std::time::Duration::from_secs(3600));
    let lines = set_by(&answer);
    let cleared = lines.iter().filter(|cookie| cookie.contains("Max-Age=0")).count();
    assert_eq!((lines.len(), cleared), (5, 4), "{lines:?}");
    assert!(lines[0].starts_with("__Host-authpost_signin_f0=;"), "the oldest first: {lines:?}");
    assert!(lines[4].contains("Max-Age=90000"), "an hour and a day: {lines:?}");
}

#[test]
fn cookies_of_a_domain_are_sent_to_its_hosts() {
    for domain in ["example.com", ".example.com", "Example.COM"] {
        let cookies = Cookies::shared(domain).expect(domain);
        let mut answer = http::answer(StatusCode::OK, "text/plain", "");
        let sent = headers(&["__Secure-authpost_access=t; __Host-authpost_access=u"]);
        cookies.set_session(&mut answer, &sent, &tokens(30, 30)).expect("fits");
        for cookie in set_by(&answer) {
            assert!(cookie.starts_with("__Secure-authpost_"), "{cookie}");
            assert!(
                cookie.contains("; Domain=example.com") && cookie.contains("; Secure"),
                "{cookie}"
            );
        }
        assert_eq!(cookies.access_cookie(&sent).as_deref(), Some("t"));
        let reaches = |url: &str| cookies.reach(&url.parse().expect("a URL"));
        assert!(reaches("https://example.com/") && reaches("https://app.example.com:8443/x"));
        assert!(!reaches("https://notexample.com/") && !reaches("https://example.com.evil.test/"));
    }
    for domain in
        ["", ".", "com", "localhost", "192.0.2.1", "a..example.com", "example.com; Path=/", "[::1]"]
    {
        assert!(Cookies::shared(domain).is_none(), "{domain}");
    }
}
