//! Unit tests of the parent module.

use super::*;

fn origins() -> Origins {
    Origins::parse(["https://app.example.com", " http://localhost:3000"]).expect("origins")
}

#[test]
fn only_exact_origins_can_be_listed() {
    for text in [
        "",
        "app.example.com",
        "http://app.example.com",
        "https://app.example.com/en",
        "https://a@b",
        "https://b?x",
        "ftp://b",
        "*",
        "https://*.b/x",
    ] {
        assert_eq!(Origins::parse([text]).map(|_| ()), Err(NotAnOrigin), "{text}");
    }
    assert!(Origins::parse([]).is_err());
    assert!(
        Origins::parse(["https://app.example.com/", "http://127.0.0.1:8080", "http://[::1]:1"])
            .is_ok()
    );
}

#[test]
fn a_redirect_stays_within_them() {
    for good in [
        "https://app.example.com/en/callback",
        "https://app.example.com:443/en/callback?next=%2Fhome",
        "HTTPS://APP.example.com/",
        "http://localhost:3000/cb",
    ] {
        assert!(origins().redirect(good).is_some(), "{good}");
    }
    for bad in [
        "",
        "/en/callback",
        "//app.example.com/cb",
        "https://evil.example/cb",
        "https://app.example.com.evil.example/cb",
        "https://app.example.com@evil.example/cb",
        "https://user@app.example.com/cb",
        "https://evil.example\\@app.example.com/cb",
        "https:\\\\app.example.com/cb",
        "https://app.example.com/cb#https://evil.example",
        "http://app.example.com/cb",
        "https://app.example.com:8443/cb",
        "http://localhost:3001/cb",
        "javascript:alert(1)//app.example.com",
        "https://app.example.com/cb\n",
        " https://app.example.com/cb",
        "https://аpp.example.com/cb",
    ] {
        assert!(origins().redirect(bad).is_none(), "{bad}");
    }
    assert!(
        origins()
            .redirect(&format!("https://app.example.com/{}", "a".repeat(MAX_REDIRECT)))
            .is_none()
    );
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let headers = |origins: &[&'static str]| {
        let pair = |origin: &&'static str| (ORIGIN, HeaderValue::from_static(origin));
        origins.iter().map(pair).collect::<HeaderMap>()
    };
    assert!(origins().allow(&headers(&[])));
    assert!(origins().allow(&headers(&["https://app.example.com"])));
    for other in ["null", "https://evil.example", "http://app.example.com", ""] {
        assert!(!origins().allow(&headers(&[other])), "{other}");
    }
    let mut two = headers(&["https://app.example.com"]);
    two.append(ORIGIN, HeaderValue::from_static("https://evil.example"));
    assert!(!origins().allow(&two));
}
