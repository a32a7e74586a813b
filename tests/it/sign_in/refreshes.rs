//! Refreshing a session: once for each token, of another organization if the page asks for it, with
//! tokens of any size.

use ingress::sign_in::cookies::Cookies;
use sandbox::workos::{Call, Override};
use serde_json::{Value, json};

use super::{app, signed_in};
use crate::harness::app::{App, Setup};

const ALICE: &str = "alice@example.com";
const SESSION: &str = "/v2/user/session/";
const REFRESH: &str = "/v2/user/refresh/";
const ACCESS_COOKIE: &str = "__Host-authpost_access";
const REFRESH_COOKIE: &str = "__Host-authpost_refresh";

/// A template that puts so many permissions into every token.
fn permissions(count: u32) -> Value {
    let each = (0..count).map(|number| format!("p{number:04}:resource:action"));
    json!({ "permissions": each.collect::<Vec<_>>() })
}

fn refreshes(app: &App, result: &str) -> u64 {
    app.exposition().count(&format!("authpost_signin_refreshes_total{{result=\"{result}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_up_to_16_kb_are_kept_in_cookies_that_grow_and_shrink() {
    let app = app().await;
    let mut alice = app.visitor();
    for (count, cookies) in [(110, 2), (450, 4), (0, 1), (300, 3), (110, 2)] {
        app.workos.set_claims(&permissions(count));
        let answered = if alice.jar.is_empty() {
            alice.sign_in(&app, ALICE).await
        } else {
            alice.post(REFRESH, &json!({})).await
        };
        assert_eq!(answered.status, 200, "{count} {answered:?}");
        let kept = alice.jar.keys().filter(|name| name.starts_with(ACCESS_COOKIE)).count();
        assert_eq!(kept, cookies, "{count} permissions");
        let session = alice.get(SESSION).await;
        let told = session.body["permissions"].as_array().map(Vec::len);
        assert_eq!((session.status, told), (200, Some(count as usize)));
    }
    alice.post("/v2/user/logout/", &json!({})).await;
    assert_eq!(alice.jar.len(), 0, "every chunk is taken back");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_fits_into_no_cookies_leaves_the_session_as_it_was() {
    let app = app().await;
    let mut alice = signed_in(&app).await;
    let before = alice.jar[ACCESS_COOKIE].clone();
    app.workos.set_claims(&permissions(900));
    let grown = alice.post(REFRESH, &json!({})).await;
    assert_eq!((grown.status, grown.kind()), (502, "token_too_large"));
    assert_eq!((alice.get(SESSION).await.status, &alice.jar[ACCESS_COOKIE]), (200, &before));
    assert_eq!(app.visitor().sign_in(&app, "bob@example.com").await.kind(), "token_too_large");
    // WorkOS has a limit of its own.
    let too_big = json!({ "error": "token_too_big", "error_description": "x" }).to_string();
    app.workos.answer_call_instead(Call::Authenticate, [Override::Answer(400, vec![], too_big)]);
    assert_eq!(alice.post(REFRESH, &json!({})).await.kind(), "token_too_large");
    app.workos.set_claims(&json!({}));
    assert_eq!(alice.post(REFRESH, &json!({})).await.status, 200, "the role has shrunk");
    assert_eq!((refreshes(&app, "token_too_large"), app.sign_ins("token_too_large")), (2, 1));
    assert_eq!(app.sign_ins("misconfigured"), 0, "it is nobody else's trouble");
    app.finish().await;
}

/// WorkOS has given a new refresh token, and the old one is void.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_keys_that_cannot_be_fetched() {
    let app = app().await;
    let mut alice = signed_in(&app).await;
    app.workos.rotate_keys();
    app.advance(11);
    let broken = Override::Answer(500, vec![], String::new());
    app.workos.answer_call_instead(Call::KeySet, [broken]);
    assert_eq!(alice.post(REFRESH, &json!({})).await.status, 503);
    app.advance(11);
    assert_eq!(alice.post(REFRESH, &json!({})).await.status, 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_switched_to_another_organization() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "active");
    app.workos.set_membership(ALICE, "org_2", "active");
    app.workos.set_membership(ALICE, "org_3", "inactive");
    let mut alice = app.visitor();
    let authorize = alice.leave(Some("org_1")).await;
    alice.come_back(&app.workos.approve(&authorize, ALICE).expect("somewhere to go")).await;
    let switched = alice.post(REFRESH, &json!({ "organization_id": "org_2" })).await;
    assert_eq!((switched.status, &switched.body["organization_id"]), (200, &json!("org_2")));
    assert_eq!(alice.get(SESSION).await.header("x-auth-org"), Some("org_2"));
    let stays = alice.send("POST", REFRESH, None).await;
    assert_eq!((stays.status, &stays.body["organization_id"]), (200, &json!("org_2")));
    for organization in ["org_3", "org_4"] {
        let refused = alice.post(REFRESH, &json!({ "organization_id": organization })).await;
        assert_eq!((refused.status, refused.kind()), (403, "MEMBERSHIP_DEACTIVATED"));
        assert_eq!(refused.cookies().len(), 0);
    }
    let step = json!({ "error": "sso_required", "connection_ids": ["conn_1"] }).to_string();
    app.workos.answer_call_instead(Call::Authenticate, [Override::Answer(403, vec![], step)]);
    let refused = alice.post(REFRESH, &json!({ "organization_id": "org_1" })).await;
    assert_eq!(
        (refused.kind(), &refused.body["reason"]),
        ("ACTION_REQUIRED", &json!("sso_required"))
    );
    assert_eq!(alice.post(REFRESH, &json!({ "organization_id": null })).await.status, 200);
    for (body, named) in [
        (json!({ "organisation_id": "org_1" }), "organisation_id"),
        (json!({ "organization_id": 7 }), "organization_id"),
        (json!({ "organization_id": "a&b" }), "organization_id"),
        (json!({ "organization_id": "" }), "organization_id"),
    ] {
        let refused = alice.post(REFRESH, &body).await;
        assert_eq!(refused.status, 400);
        assert!(refused.body["detail"].as_str().is_some_and(|why| why.starts_with(named)));
    }
    assert_eq!(alice.get(SESSION).await.header("x-auth-org"), Some("org_2"));
    app.finish().await;
}

/// Two tabs wake up at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn two_refreshes_of_one_token_make_one_call() {
    let app = app().await;
    let alice = signed_in(&app).await;
    let (mut one, mut other) = (app.visitor(), app.visitor());
    one.jar = alice.jar.clone();
    other.jar = alice.jar.clone();
    let late = Override::Late(std::time::Duration::from_millis(300));
    app.workos.answer_call_instead(Call::Authenticate, [late]);
    let before = app.workos.calls(Call::Authenticate).len();
    let nothing = json!({});
    let (first, second) = tokio::join!(one.post(REFRESH, &nothing), other.post(REFRESH, &nothing));
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(one.jar[REFRESH_COOKIE], other.jar[REFRESH_COOKIE]);
    // One more was on its way when they were answered.
    let mut third = app.visitor();
    third.jar = alice.jar.clone();
    assert_eq!(third.post(REFRESH, &nothing).await.status, 200);
    assert_eq!(app.workos.calls(Call::Authenticate).len() - before, 1);
    assert_eq!(third.post(REFRESH, &nothing).await.status, 200, "the new token is good");
    app.finish().await;
}

/// React's strict mode runs an effect twice.
#[tokio::test(flavor = "multi_thread")]
async fn two_callbacks_at_the_same_time_redeem_one_code() {
    let app = app().await;
    let mut one = app.visitor();
    let authorize = one.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let mut other = app.visitor();
    other.jar = one.jar.clone();
    let late = Override::Late(std::time::Duration::from_millis(300));
    app.workos.answer_call_instead(Call::Authenticate, [late]);
    let (first, second) = tokio::join!(one.come_back(&back), other.come_back(&back));
    assert_eq!((first.kind(), second.kind()), ("LOGIN_SUCCESSFUL", "LOGIN_SUCCESSFUL"));
    let already = [&first, &second].map(|answered| answered.body["already"] == json!(true));
    assert!(already.contains(&true) && already.contains(&false), "{already:?}");
    assert_eq!(one.jar, other.jar);
    assert_eq!(app.workos.calls(Call::Authenticate).len(), 1);
    assert_eq!(other.get(SESSION).await.status, 200);
    // Whoever has the link alone gets nothing of it.
    assert_eq!(app.visitor().come_back(&back).await.kind(), "LINK_INVALID");
    app.finish().await;
}

/// One session for the application's host and the API's.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_a_domain_share_a_session() {
    let cookies = Cookies::shared("example.com").expect("a domain");
    let setup = Setup::embedded().sign_in(move |sign_in| sign_in.config.cookies = cookies);
    let app = setup.start().await;
    let mut alice = app.visitor();
    let answered = alice.sign_in(&app, ALICE).await;
    assert_eq!(answered.kind(), "LOGIN_SUCCESSFUL");
    let shared =
        |cookie: &&str| cookie.starts_with("__Secure-") && cookie.contains("; Domain=example.com");
    assert!(answered.cookies().iter().all(shared), "{answered:?}");
    assert_eq!(alice.get(SESSION).await.status, 200);
    assert_eq!(alice.post(REFRESH, &json!({})).await.status, 200);
    alice.post("/v2/user/logout/", &json!({})).await;
    assert_eq!(alice.jar.len(), 0);
    app.finish().await;
}
