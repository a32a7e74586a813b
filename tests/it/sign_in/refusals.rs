//! Whom the sign-in endpoints refuse: other browsers, other sites, clients that are too fast.

use std::num::NonZeroU32;

use ingress::proxies::Proxies;
use sandbox::workos::Call;
use serde_json::json;

use super::{CALLBACK, LOGIN_URL, app, parameter, redirect_url, visitor::Visitor, with_parameter};
use crate::{
    harness::{
        app::{App, Setup},
        settings::ORIGIN,
    },
    on_both_engines,
};

const ALICE: &str = "alice@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_of_one_browser() {
    let app = app().await;
    let (mut alice, mut mallory) = (app.visitor(), app.visitor());
    // Mallory signs in as herself and has Alice's browser finish it: Alice would work in Mallory's
    // account.
    let authorize = mallory.leave(None).await;
    let back = app.workos.approve(&authorize, "mallory@example.com").expect("somewhere to go");
    assert_eq!(alice.come_back(&back).await.kind(), "LINK_INVALID");
    alice.leave(None).await;
    assert_eq!(alice.come_back(&back).await.kind(), "LINK_INVALID");
    assert_eq!(app.states_refused("other_browser"), 2);
    // One person's two tabs are one browser.
    let (first, second) = (alice.leave(None).await, alice.leave(None).await);
    for authorize in [second, first] {
        let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
        assert_eq!(alice.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_cannot_be_changed() {
    let app = app().await;
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let state = parameter(&back, "state").expect("a state");
    let (payload, signature) = state.split_once('.').expect("two parts");
    let flipped = format!("{}A.{signature}", &payload[..payload.len() - 1]);
    for changed in [
        flipped,
        payload.to_owned(),
        format!("{payload}."),
        format!(".{signature}"),
        "x".repeat(10_000),
    ] {
        assert_eq!(
            alice.come_back(&with_parameter(&back, "state", &changed)).await.kind(),
            "LINK_INVALID",
            "{changed}"
        );
    }
    assert_eq!(alice.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_anywhere_else() {
    let app = app().await;
    for evil in [
        "https://evil.example/en/callback",
        "//evil.example",
        "https://app.example.com@evil.example/",
        "https://app.example.com.evil.example/",
        "http://app.example.com/en/callback",
        "javascript:alert(1)",
        "https://app.example.com/\r\nLocation: https://evil.example",
        "",
    ] {
        let mut visitor = app.visitor();
        let answered = visitor.post(LOGIN_URL, &json!({ "redirect_url": evil })).await;
        assert_eq!((answered.status, answered.cookies().len()), (400, 0), "{evil}");
        let answered = visitor.post("/v2/user/logout/", &json!({ "return_to": evil })).await;
        assert_eq!(answered.status, 400, "{evil}");
    }
    for wrong in [
        json!({}),
        json!([]),
        json!({ "redirect_url": 7 }),
        json!({ "redirect_url": redirect_url(), "screen_hint": "other" }),
        json!({ "redirect_url": redirect_url(), "login_hint": "a\nb" }),
        json!({ "redirect_url": redirect_url(), "organization_id": "org_1&x=y" }),
    ] {
        assert_eq!(app.visitor().post(LOGIN_URL, &wrong).await.status, 400, "{wrong}");
    }
    let asked = json!({ "redirect_url": redirect_url(), "login_hint": "a b+c@example.com", "screen_hint": "sign-up" });
    let answered = app.visitor().post(LOGIN_URL, &asked).await;
    let url = answered.body["url"].as_str().expect("a URL").parse().expect("a URL");
    assert_eq!(parameter(&url, "login_hint").as_deref(), Some("a b+c@example.com"));
    assert_eq!(parameter(&url, "screen_hint").as_deref(), Some("sign-up"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_get_nothing() {
    let app = app().await;
    let mut page = app.visitor();
    let preflight = page.send("OPTIONS", LOGIN_URL, None).await;
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "POST"),
        ("vary", "origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    assert!(
        preflight.header("access-control-allow-headers").expect("there").contains("content-type")
    );
    let shared = page.get("/v2/user/login_config").await;
    assert_eq!(shared.header("access-control-allow-origin"), Some(ORIGIN));
    for origin in ["https://evil.example", "null", "http://app.example.com"] {
        let mut evil = app.visitor().at_origin(Some(origin));
        for (method, path) in
            [("OPTIONS", LOGIN_URL), ("POST", LOGIN_URL), ("POST", "/v2/user/logout/")]
        {
            let answered = evil.send(method, path, None).await;
            assert_eq!(
                (answered.status, answered.kind()),
                (403, "origin_not_allowed"),
                "{origin} {method} {path}"
            );
            assert_eq!(answered.header("access-control-allow-origin"), None);
            assert_eq!(answered.header("vary"), Some("origin"));
        }
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_another_form_get_nothing() {
    let app = app().await;
    // A form of another site has no JSON to send.
    let mut form = app.visitor().at_origin(None);
    let answered = form
        .send(
            "POST",
            CALLBACK,
            Some(("application/x-www-form-urlencoded", "code=c&state=s".to_owned())),
        )
        .await;
    assert_eq!((answered.status, answered.kind()), (415, "not_json"));
    assert_eq!(
        app.visitor()
            .send("POST", LOGIN_URL, Some(("application/json", "x".repeat(20_000))))
            .await
            .status,
        413
    );
    for method in ["DELETE", "GET", "HEAD"] {
        assert_eq!(
            app.visitor().send(method, "/v2/user/logout/", None).await.status,
            405,
            "{method}"
        );
    }
    // An OPTIONS that no browser has sent is not a way around the method.
    let left = app.visitor().at_origin(None).send("OPTIONS", "/v2/user/logout/", None).await;
    assert_eq!((left.status, left.cookies().len()), (405, 0));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_may_ask_so_often() {
    let limited = |proxies: Vec<ipnet::IpNet>| {
        Setup::embedded().sign_in(move |sign_in| {
            sign_in.config.rate = NonZeroU32::new(3).expect("not zero");
            sign_in.config.proxies = Proxies::new(proxies).expect("not everybody");
        })
    };
    let ask = async |visitor: &mut Visitor| {
        visitor.post(LOGIN_URL, &json!({ "redirect_url": redirect_url() })).await.status
    };
    // Behind a trusted proxy each client has its own count; what the client itself wrote in front
    // does not matter.
    let app = limited(vec!["127.0.0.0/8".parse().expect("a network")]).start().await;
    for (first, expected) in
        [("203.0.113.1", 200), ("203.0.113.2", 200), ("203.0.113.3", 200), ("203.0.113.4", 429)]
    {
        assert_eq!(
            ask(&mut app.visitor().with("X-Forwarded-For", &format!("{first}, 198.51.100.7")))
                .await,
            expected
        );
    }
    assert_eq!(ask(&mut app.visitor().with("X-Forwarded-For", "198.51.100.8")).await, 200);
    app.finish().await;
    // Without one, nobody's word is taken.
    let app = limited(vec![]).start().await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(
            ask(&mut app.visitor().with("X-Forwarded-For", &format!("203.0.113.{expected}"))).await,
            expected
        );
    }
    for expected in [400, 400, 400, 429] {
        let answered = app.visitor().post(CALLBACK, &json!({})).await;
        assert_eq!(answered.status, expected);
        assert_eq!(answered.header("retry-after").is_some(), expected == 429);
    }
    assert_eq!(app.sign_ins("limited"), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_scanner_uses_nothing_up() {
    let app = Setup::embedded().sign_in(|sign_in| sign_in.page = true).start().await;
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    for path in ["/login/callback", "/login/callback/"] {
        let page = app
            .visitor()
            .at_origin(None)
            .get(&format!("{path}?{}", back.query().expect("a query")))
            .await;
        assert_eq!((page.status, page.header("referrer-policy")), (200, Some("no-referrer")));
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'")
                && !policy.contains("unsafe"),
            "{policy}"
        );
    }
    assert_eq!(alice.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
    app.finish().await;
}

/// Many callbacks with one state at once are one sign-in, and there is no second.
async fn a_state_is_spent_by_its_first_callback(app: App) {
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let callbacks = (0..20).map(|_| {
        let mut copy = app.visitor();
        copy.jar = alice.jar.clone();
        let back = back.clone();
        async move { copy.come_back(&back).await.kind().to_owned() }
    });
    let kinds = futures_util::future::join_all(callbacks).await;
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count() as u64;
    let late = count("LINK_INVALID");
    assert_eq!(count("LOGIN_SUCCESSFUL") + late, 20, "{kinds:?}");
    assert_eq!(app.workos.calls(Call::Authenticate).len(), 1, "the code is sent one time");
    // A browser that has lost its session gets no other by the same state.
    assert_eq!(alice.come_back(&back).await.kind(), "LINK_INVALID");
    assert_eq!(app.states_refused("replayed"), late + 1);
    app.finish().await;
}

on_both_engines! {
    |setup| setup.sign_in(|_| {});
    a_state_is_spent_by_its_first_callback,
}
