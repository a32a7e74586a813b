//! How a sign-in starts, in each of the ways that people and WorkOS start one, and that it is
//! brought to its end.

use serde_json::json;
use url::Url;

use super::{CALLBACK, LOGIN_URL, app, parameter, redirect_url, visitor::Visitor};
use crate::harness::{
    app::{App, Setup},
    settings::ORIGIN,
};

const ALICE: &str = "alice@example.com";
const LOGIN: &str = "/v2/user/workos_login/";

/// Follows a link that starts a sign-in: a navigation, without a script and without an origin.
async fn navigate(visitor: &mut Visitor, query: &str) -> Url {
    let answered = visitor.get(&format!("{LOGIN}?{query}")).await;
    assert_eq!(answered.status, 302, "{answered:?}");
    assert_eq!(answered.header("referrer-policy"), Some("no-referrer"));
    answered.header("location").expect("an address").parse().expect("a URL")
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_sends_a_browser_on_and_brings_it_back_to_where_it_was() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "active");
    for (return_to, comes_to) in [
        ("/orders?id=7".to_owned(), format!("{ORIGIN}/orders?id=7")),
        (format!("{ORIGIN}/a/b"), format!("{ORIGIN}/a/b")),
    ] {
        let mut alice = app.visitor().at_origin(None);
        let query = format!(
            "redirect_url={}&return_to={}&organization_id=org_1&login_hint={}&invitation_token=Zx-1",
            encoded(&redirect_url()),
            encoded(&return_to),
            encoded(ALICE)
        );
        let authorize = navigate(&mut alice, &query).await;
        for (name, value) in [
            ("redirect_uri", redirect_url().as_str()),
            ("organization_id", "org_1"),
            ("login_hint", ALICE),
            ("invitation_token", "Zx-1"),
            ("provider", "authkit"),
        ] {
            assert_eq!(parameter(&authorize, name).as_deref(), Some(value), "{name}");
        }
        let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
        let answered = alice.come_back(&back).await;
        assert_eq!(
            (answered.kind(), &answered.body["return_to"]),
            ("LOGIN_SUCCESSFUL", &json!(comes_to))
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_nowhere_else() {
    let app = app().await;
    let redirect = format!("redirect_url={}", encoded(&redirect_url()));
    for return_to in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\\/evil.example",
        "https://app.example.com@evil.example/",
        "javascript:alert(1)",
        "blob:https://app.example.com/x",
        "/a b",
        "/\u{2028}",
    ] {
        let path = format!("{LOGIN}?{redirect}&return_to={}", encoded(return_to));
        let answered = app.visitor().get(&path).await;
        assert_eq!((answered.status, answered.kind()), (400, "bad_request"), "{return_to}");
    }
    for (query, says) in [
        ("redirect_url=https%3A%2F%2Fevil.example%2F", "redirect_url is not within"),
        ("organisation_id=org_1", "organisation_id is not known"),
    ] {
        let answered = app.visitor().get(&format!("{LOGIN}?{query}")).await;
        let detail = answered.body["detail"].as_str().expect("a detail");
        assert!(answered.status == 400 && detail.contains(says), "{query}: {detail}");
    }
    let body = json!({ "redirect_url": redirect_url(), "organisation_id": "org_1" });
    let answered = app.visitor().post(LOGIN_URL, &body).await;
    assert!(answered.body["detail"].as_str().expect("a detail").contains("organisation_id"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_redirect_url_the_operators_is_taken() {
    let usual = format!("{ORIGIN}/from/workos");
    let setup = Setup::embedded().sign_in(|sign_in| {
        sign_in.config.redirect_url =
            Some("https://app.example.com/from/workos".parse().expect("a URL"));
    });
    let app = setup.start().await;
    let authorize = navigate(&mut app.visitor().at_origin(None), "").await;
    assert_eq!(parameter(&authorize, "redirect_uri"), Some(usual));
    app.finish().await;
    // Without one, and under a name that is not listed, the request has to say.
    let app = super::app().await;
    let answered = app.visitor().get(LOGIN).await;
    let detail = answered.body["detail"].as_str().expect("a detail");
    assert!(answered.status == 400 && detail.contains("AUTHPOST_SIGNIN_REDIRECT_URL"), "{detail}");
    app.finish().await;
}

/// WorkOS begins some sign-ins by itself, and knows no state.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_without_a_state_is_told_and_not_redeemed() {
    let app = app().await;
    for state in [json!(null), json!("")] {
        let body = json!({ "code": "a_code_of_workos", "state": state });
        let answered = app.visitor().post(CALLBACK, &body).await;
        assert_eq!(
            (answered.status, answered.kind(), &answered.body["reason"]),
            (400, "LINK_INVALID", &json!("no_state"))
        );
    }
    assert_eq!(app.workos.calls(sandbox::workos::Call::Authenticate).len(), 0);
    assert_eq!(app.states_refused("missing"), 2);
    app.finish().await;
}

/// A browser without cookies opens two tabs before either has its answer.
#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_at_once_both_come_in() {
    let app = app().await;
    let (mut one, mut other) = (app.visitor(), app.visitor());
    let ways = [one.leave(None).await, other.leave(None).await];
    let mut alice = app.visitor();
    alice.jar.extend(one.jar.into_iter().chain(other.jar));
    assert_eq!(alice.jar.len(), 2);
    for authorize in ways {
        let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
        assert_eq!(alice.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
    }
    app.finish().await;
}

/// A page that is loaded again, or a framework that runs an effect twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_is_posted_again_finds_its_own_session() {
    let app = app().await;
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let before = alice.jar.clone();
    assert!(alice.come_back(&back).await.body.get("already").is_none());
    let again = alice.come_back(&back).await;
    assert_eq!((again.kind(), &again.body["already"]), ("LOGIN_SUCCESSFUL", &json!(true)));
    assert_eq!(again.body["user"], json!({ "id": app.workos.user_id(ALICE) }));
    assert_eq!(app.workos.calls(sandbox::workos::Call::Authenticate).len(), 1);
    // Neither a browser without that session, nor one with another's.
    let mut copy = app.visitor();
    copy.jar.clone_from(&before);
    assert_eq!(copy.come_back(&back).await.kind(), "LINK_INVALID");
    let mut bob = app.visitor();
    bob.sign_in(&app, "bob@example.com").await;
    bob.jar.extend(before);
    assert_eq!(bob.come_back(&back).await.kind(), "LINK_INVALID");
    alice.post("/v2/user/logout/", &json!({})).await;
    assert_eq!(alice.come_back(&back).await.kind(), "LINK_INVALID");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_keeps_nobody_out_unless_an_organization_is_needed() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_of_somebody", "pending");
    assert_eq!(app.visitor().sign_in(&app, ALICE).await.kind(), "LOGIN_SUCCESSFUL");
    app.finish().await;
    let setup = Setup::embedded().sign_in(|sign_in| sign_in.config.organization_required = true);
    let app: App = setup.start().await;
    app.workos.set_membership(ALICE, "org_1", "pending");
    app.workos.set_membership("bob@example.com", "org_1", "active");
    assert_eq!(app.visitor().sign_in(&app, ALICE).await.kind(), "MEMBERSHIP_DEACTIVATED");
    assert_eq!(app.visitor().sign_in(&app, "bob@example.com").await.kind(), "LOGIN_SUCCESSFUL");
    assert_eq!(
        app.visitor().sign_in(&app, "carol@example.com").await.kind(),
        "MEMBERSHIP_DEACTIVATED"
    );
    app.finish().await;
}

/// Error trackers and tracers of a page add headers to every request of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_may_send_the_headers_it_asks_for() {
    let app = app().await;
    let asking = |origin: &str, names: &str| {
        let page = app.visitor().at_origin(Some(origin));
        page.with("Access-Control-Request-Method", "POST")
            .with("Access-Control-Request-Headers", names)
    };
    let names = "baggage,content-type,sentry-trace,traceparent,x-csrf-token";
    let answered = asking(ORIGIN, names).send("OPTIONS", LOGIN_URL, None).await;
    assert_eq!(answered.header("access-control-allow-headers"), Some(names));
    for names in ["a:b", "(x)", &"a,".repeat(600)] {
        let answered = asking(ORIGIN, names).send("OPTIONS", LOGIN_URL, None).await;
        let allowed = answered.header("access-control-allow-headers");
        assert_eq!(allowed, Some("content-type, authorization"), "{names:.20}");
    }
    let refused = asking("https://evil.example", names).send("OPTIONS", LOGIN_URL, None).await;
    assert_eq!((refused.status, refused.header("access-control-allow-headers")), (403, None));
    app.finish().await;
}

/// A proxy asks with whatever the client has sent: the origin of any page, the application's own
/// bearer.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_learns_whose_session_it_is_and_who_acts() {
    let app = app().await;
    app.workos.set_claims(&json!({ "act": { "sub": "support@example.com" }, "external_id": "42" }));
    let mut alice = app.visitor();
    alice.sign_in(&app, ALICE).await;
    let jar = alice.jar.clone();
    for (origin, bearer) in [
        (Some("https://evil.example"), None),
        (None, Some("Bearer the-applications-own")),
        (None, Some("Bearer ")),
    ] {
        let mut proxy = app.visitor().at_origin(origin);
        if let Some(bearer) = bearer {
            proxy = proxy.with("Authorization", bearer);
        }
        proxy.jar.clone_from(&jar);
        let answered = proxy.get("/v2/user/session/").await;
        assert_eq!(answered.status, 200, "{origin:?} {bearer:?} {answered:?}");
        assert_eq!(answered.header("access-control-allow-origin"), None, "no page may read it");
        assert_eq!(answered.header("x-auth-impersonator"), Some("support@example.com"));
        assert_eq!(answered.body["impersonator"]["email"], "support@example.com");
        assert_eq!(answered.body["external_id"], "42");
    }
    app.finish().await;
}
