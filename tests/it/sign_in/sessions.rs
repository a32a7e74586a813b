//! What follows a sign-in: whose session it is, the next tokens, leaving, and the keys under all of
//! it.

use sandbox::workos::{Call, Override};
use serde_json::json;

use super::{app, redirect_url, signed_in};
use crate::harness::settings::{CLIENT_ID, ORIGIN};

const ALICE: &str = "alice@example.com";
const SESSION: &str = "/v2/user/session/";
const ACCESS: &str = "__Host-authpost_access";
const REFRESH: &str = "__Host-authpost_refresh";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_told_to_a_page_and_to_a_proxy() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "active");
    let mut alice = app.visitor();
    let authorize = alice.leave(Some("org_1")).await;
    alice.come_back(&app.workos.approve(&authorize, ALICE).expect("somewhere to go")).await;
    let user = app.workos.user_id(ALICE);
    let session = alice.get(SESSION).await;
    assert_eq!(
        (session.status, &session.body["user_id"], &session.body["role"]),
        (200, &json!(user), &json!("member"))
    );
    assert_eq!(
        (session.header("x-auth-user"), session.header("x-auth-org")),
        (Some(user.as_str()), Some("org_1"))
    );
    let bearer = format!("Bearer {}", alice.jar[ACCESS]);
    let mut service = app.visitor().at_origin(None).with("Authorization", &bearer);
    assert_eq!(service.get(SESSION).await.body["session_id"], session.body["session_id"]);
    // Without an organization the header is there all the same: a client's own must not shine
    // through a proxy.
    let mut bob = app.visitor();
    bob.sign_in(&app, "bob@example.com").await;
    assert_eq!(bob.get(SESSION).await.header("x-auth-org"), Some(""));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_session_of_workos_opens_nothing() {
    let app = app().await;
    let alice = signed_in(&app).await;
    let token = &alice.jar[ACCESS];
    let (head, rest) = token.split_once('.').expect("three parts");
    let (claims, signature) = rest.split_once('.').expect("three parts");
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for wrong in [
        String::new(),
        "x".to_owned(),
        format!("{head}.{claims}."),
        format!("{head}.{claims}.{}", signature.chars().rev().collect::<String>()),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{head}.e30.{signature}"),
    ] {
        let mut visitor = app.visitor();
        visitor.jar.insert(ACCESS.to_owned(), wrong.clone());
        let answered = visitor.get(SESSION).await;
        assert_eq!(
            (answered.status, answered.header("www-authenticate")),
            (401, Some("Bearer")),
            "{wrong}"
        );
        assert_eq!(answered.header("x-auth-user"), None);
    }
    assert_eq!(app.visitor().get(SESSION).await.status, 401);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_and_its_old_token_is_used_up() {
    let app = app().await;
    let mut alice = signed_in(&app).await;
    let old = alice.jar.clone();
    app.advance(331);
    assert_eq!(alice.get(SESSION).await.status, 401, "five minutes and the leeway have passed");
    let renewed = alice.post("/v2/user/refresh/", &json!({})).await;
    assert_eq!((renewed.status, renewed.cookies().len()), (200, 2), "{renewed:?}");
    assert_ne!(alice.jar[REFRESH], old[REFRESH], "the token rotates");
    assert_eq!(alice.get(SESSION).await.status, 200);
    // Another tab with a token that is good for nothing: refused, and newer cookies are left alone.
    let mut tab = app.visitor();
    tab.jar = old;
    tab.jar.insert(REFRESH.to_owned(), "void".to_owned());
    let refused = tab.post("/v2/user/refresh", &json!({})).await;
    assert_eq!((refused.status, refused.cookies().len()), (401, 0));
    assert_eq!(app.visitor().post("/v2/user/refresh", &json!({})).await.status, 401);
    app.workos
        .answer_call_instead(Call::Authenticate, [Override::Answer(503, vec![], String::new())]);
    let unlucky = alice.post("/v2/user/refresh", &json!({})).await;
    assert_eq!((unlucky.status, unlucky.cookies().len()), (503, 0));
    let refreshes = |result: &str| {
        app.exposition().count(&format!("authpost_signin_refreshes_total{{result=\"{result}\"}}"))
    };
    assert_eq!((refreshes("ok"), refreshes("refused"), refreshes("failed")), (1, 2, 1));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_works_always() {
    let app = app().await;
    let mut alice = signed_in(&app).await;
    let refresh = alice.jar[REFRESH].clone();
    let left = alice.post("/v2/user/logout/", &json!({ "return_to": redirect_url() })).await;
    let url: url::Url = left.body["logout_url"].as_str().expect("a URL").parse().expect("a URL");
    assert_eq!((left.status, alice.jar.len()), (200, 0), "every cookie is taken back");
    assert_eq!(super::parameter(&url, "return_to").as_deref(), Some(redirect_url().as_str()));
    // The browser follows the address, and the session is over at WorkOS as well.
    let workos = url.socket_addrs(|| None).expect("an address")[0];
    let ended = crate::harness::raw_http::send(
        workos,
        format!(
            "GET {}?{} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n",
            url.path(),
            url.query().expect("a query")
        )
        .as_bytes(),
    )
    .await;
    assert!(
        ended.starts_with("HTTP/1.1 303")
            && ended.contains(&format!("location: {ORIGIN}/en/callback")),
        "{ended}"
    );
    alice.jar.insert(REFRESH.to_owned(), refresh);
    assert_eq!(alice.post("/v2/user/refresh", &json!({})).await.status, 401);
    // Hours later, without a body, and with nothing at all.
    let mut bob = signed_in(&app).await;
    app.advance(7200);
    let left = bob.send("POST", "/v2/user/logout", None).await;
    assert!(left.status == 200 && left.body["logout_url"].is_string(), "{left:?}");
    assert_eq!(
        app.visitor().send("POST", "/v2/user/logout", None).await.body["logout_url"],
        json!(null)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_and_looked_for_when_they_change() {
    let app = app().await;
    let mut alice = signed_in(&app).await;
    for _ in 0..5 {
        assert_eq!(alice.get(SESSION).await.status, 200);
    }
    assert_eq!(app.workos.calls(Call::KeySet).len(), 1, "one look serves all");
    // A token signed by the next key makes us look, once the cool-down is over.
    app.workos.rotate_keys();
    app.advance(11);
    let mut bob = app.visitor();
    assert_eq!(bob.sign_in(&app, "bob@example.com").await.kind(), "LOGIN_SUCCESSFUL");
    assert_eq!(app.workos.calls(Call::KeySet).len(), 2);
    assert_eq!(
        (bob.get(SESSION).await.status, alice.get(SESSION).await.status),
        (200, 401),
        "the key before is gone"
    );
    assert_eq!(
        app.workos.calls(Call::KeySet).len(),
        2,
        "who brings an unknown key does not make us ask again and again"
    );
    // WorkOS is away: known keys go on, unknown ones are nobody's fault.
    app.advance(60);
    let broken = || Override::Answer(500, vec![], String::new());
    app.workos.answer_call_instead(Call::KeySet, [broken()]);
    assert_eq!((bob.get(SESSION).await.status, alice.get(SESSION).await.status), (200, 503));
    assert_eq!(alice.get(SESSION).await.status, 503);
    assert_eq!(app.workos.calls(Call::KeySet).len(), 3);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_environment_is_our_mistake_to_mend() {
    let app = crate::harness::app::Setup::embedded()
        .sign_in(|sign_in| sign_in.issuers = vec!["https://api.workos.com".to_owned()])
        .start()
        .await;
    let answered = app.visitor().sign_in(&app, ALICE).await;
    assert_eq!((answered.status, answered.kind()), (502, "signin_misconfigured"));
    assert_eq!(app.sign_ins("misconfigured"), 1);
    let issuer = format!("{}/user_management/{CLIENT_ID}", app.workos.url());
    let series = format!("authpost_signin_issuers_refused_total{{issuer=\"{issuer}\"}}");
    assert_eq!(app.exposition().count(&series), 1, "it is named for authpost doctor");
    app.finish().await;
}
