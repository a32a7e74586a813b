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
        "blob:https://app.example.com/cb",
        "filesystem:https://app.example.com/cb",
        "https://app.example.com\\.evil.example/cb",
        "https:app.example.com/cb",
        "https:/app.example.com/cb",
        "https:///app.example.com/cb",
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
    let allows = |lines: &[(&str, &str)]| {
        let request = lines
            .iter()
            .fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        origins().allow(&request.body(()).expect("a request"))
    };
    assert!(allows(&[]));
    assert!(allows(&[("origin", "https://app.example.com")]));
    assert!(allows(&[("origin", "http://localhost:3000")]));
    for other in [
        "null",
        "https://evil.example",
        "http://app.example.com",
        "",
        "blob:https://app.example.com",
        "https://app.example.com\\.evil.example",
        "https://app.example.com/",
        "https://app.example.com:443",
        "HTTPS://APP.EXAMPLE.COM",
        " https://app.example.com",
    ] {
        assert!(!allows(&[("origin", other)]), "{other}");
    }
    assert!(!allows(&[("origin", "https://app.example.com"), ("origin", "https://evil.example")]));
}

/// Browsers without `Origin` on a POST are old; where they send Fetch Metadata it is looked at.
#[test]
fn a_post_with_cookies_that_another_site_caused_is_refused() {
    let allows = |request: hyper::http::request::Builder, site: &str, cookie: bool| {
        let request = request.header(SEC_FETCH_SITE, site);
        let request = if cookie { request.header(COOKIE, "a=1") } else { request };
        origins().allow(&request.body(()).expect("a request"))
    };
    for (site, allowed) in
        [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
    {
        assert_eq!(allows(Request::post("/"), site, true), allowed, "{site}");
        assert!(allows(Request::post("/"), site, false), "{site}: there is no session to use");
        // A link from a mail to a page behind forward-auth is such a request.
        assert!(allows(Request::get("/"), site, true), "{site}");
    }
    let listed = Request::post("/").header(ORIGIN, "https://app.example.com");
    assert!(allows(listed, "cross-site", true));
}

#[test]
fn a_wildcard_is_one_label_of_an_https_origin() {
    let origins = Origins::parse(["https://*.preview.example.com", "https://*.x.example:8443"]);
    let origins = origins.expect("origins");
    for (origin, listed) in [
        ("https://pr-12.preview.example.com", true),
        ("https://a.x.example:8443", true),
        ("https://preview.example.com", false),
        ("https://.preview.example.com", false),
        ("https://a.b.preview.example.com", false),
        ("http://pr-12.preview.example.com", false),
        ("https://pr-12.preview.example.com:8443", false),
        ("https://a.x.example", false),
        ("https://-a.preview.example.com", false),
        ("https://evil.example/.preview.example.com", false),
        ("https://evil.example?.preview.example.com", false),
        ("https://evil.example#.preview.example.com", false),
        ("https://user@.preview.example.com", false),
        ("https://pr-12.preview.example.com.evil.example", false),
    ] {
        let value = HeaderValue::from_str(origin).expect("text");
        assert_eq!(origins.has(&value), listed, "{origin}");
        let redirect = origins.redirect(&format!("{origin}/callback"));
        assert_eq!(redirect.is_some(), listed, "{origin}");
    }
    for text in [
        "https://*",
        "https://*.com",
        "http://*.example.com",
        "https://a*.example.com",
        "https://*.*.example.com",
        "https://a.*.example.com",
        "https://*.example.com/path",
        "https://*example.com",
        "https://*.example.com:0x",
        "https://user@*.example.com",
    ] {
        assert!(Origins::parse([text]).is_err(), "{text}");
    }
}
