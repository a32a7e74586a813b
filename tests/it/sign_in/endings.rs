//! How a callback ends: each response type, and what is not the person's fault.

use sandbox::workos::{Call, Override};
use serde_json::{Value, json};

use super::{CALLBACK, app, parameter, redirect_url, visitor::Visitor, with_parameter};
use crate::harness::{
    app::{App, Setup},
    eventually,
};

const ALICE: &str = "alice@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_to_a_session() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "active");
    app.workos.set_membership(ALICE, "org_2", "inactive");
    let mut alice = app.visitor();
    let authorize = alice.leave(Some("org_1")).await;
    assert!(
        authorize.as_str().starts_with(&format!("{}/user_management/authorize?", app.workos.url())),
        "{authorize}"
    );
    for (name, value) in [
        ("client_id", "client_test"),
        ("response_type", "code"),
        ("provider", "authkit"),
        ("redirect_uri", redirect_url().as_str()),
        ("code_challenge_method", "S256"),
        ("organization_id", "org_1"),
    ] {
        assert_eq!(parameter(&authorize, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(alice.jar.len(), 1, "one cookie binds the state to this browser");
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let answered = alice.come_back(&back).await;
    assert_eq!((answered.status, answered.kind()), (200, "LOGIN_SUCCESSFUL"), "{answered:?}");
    assert_eq!(answered.body["user"]["email"], ALICE);
    assert_eq!(answered.body["user"]["id"], json!(app.workos.user_id(ALICE)));
    assert_eq!(answered.body["organization_id"], "org_1");
    let cookies = answered.cookies();
    assert_eq!(cookies.len(), 3, "the two tokens, and the mark of the flow");
    for cookie in cookies {
        assert!(
            ["; HttpOnly", "; Secure", "; SameSite=Lax"]
                .iter()
                .all(|attribute| cookie.contains(attribute)),
            "{cookie}"
        );
    }
    let session = alice.get("/v2/user/session/").await;
    assert_eq!((session.status, &session.body["organization_id"]), (200, &json!("org_1")));
    assert_eq!(app.sign_ins("login_successful"), 1);
    workos_was_told(&app);
    app.finish().await;
}

/// One time: the person's address and browser, and a proof that belongs to the challenge.
fn workos_was_told(app: &App) {
    let exchanges = app.workos.calls(Call::Authenticate);
    assert_eq!(exchanges.len(), 1);
    let exchange: Value = serde_json::from_str(&exchanges[0]).expect("JSON");
    assert_eq!(
        (&exchange["grant_type"], &exchange["ip_address"]),
        (&json!("authorization_code"), &json!("127.0.0.1"))
    );
    assert!(
        exchange.as_object().expect("an object").values().all(|value| !value.is_null()),
        "what is not set is left out"
    );
    assert!(
        app.workos.calls(Call::Memberships)[0].contains("statuses=active%2Cinactive%2Cpending")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_active_member_stays_outside() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "inactive");
    app.workos.set_membership("bob@example.com", "org_1", "inactive");
    (0..250).for_each(|n| {
        app.workos.set_membership("bob@example.com", &format!("org_b{n}"), "inactive");
    });
    app.workos.set_membership("bob@example.com", "org_last", "active");
    for (email, organization, kind) in [
        (ALICE, None, "MEMBERSHIP_DEACTIVATED"),
        (ALICE, Some("org_1"), "MEMBERSHIP_DEACTIVATED"),
        ("bob@example.com", Some("org_1"), "MEMBERSHIP_DEACTIVATED"),
        // The active one is on the third page.
        ("bob@example.com", None, "LOGIN_SUCCESSFUL"),
        ("bob@example.com", Some("org_last"), "LOGIN_SUCCESSFUL"),
        ("bob@example.com", Some("org_other"), "MEMBERSHIP_DEACTIVATED"),
        // Where nobody is in an organization, nobody can be deactivated.
        ("carol@example.com", None, "LOGIN_SUCCESSFUL"),
    ] {
        let mut visitor = app.visitor();
        let authorize = visitor.leave(organization).await;
        let answered = visitor
            .come_back(&app.workos.approve(&authorize, email).expect("somewhere to go"))
            .await;
        assert_eq!(answered.kind(), kind, "{email} into {organization:?}");
        if kind == "MEMBERSHIP_DEACTIVATED" {
            assert_eq!((answered.status, answered.cookies().len()), (403, 0));
            let logout =
                answered.body["logout_url"].as_str().expect("a way to leave AuthKit's session");
            assert!(
                logout.contains("/user_management/sessions/logout?session_id=session_"),
                "{logout}"
            );
        }
    }
    assert_eq!((app.sign_ins("membership_deactivated"), app.sign_ins("login_successful")), (4, 3));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_has_expired() {
    let app = app().await;
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    // A mail can take longer than a code at WorkOS lives; the state lives for an hour.
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let late = 3601;
    app.advance(late);
    alice.let_pass(late);
    let answered = alice.come_back(&back).await;
    assert_eq!((answered.status, answered.kind()), (400, "LINK_EXPIRED"));
    // Even the browser that has forgotten the key is told so.
    alice.let_pass(24 * 3600);
    assert!(alice.jar.is_empty(), "{:?}", alice.jar);
    assert_eq!(alice.come_back(&back).await.kind(), "LINK_EXPIRED");
    assert_eq!((app.sign_ins("link_expired"), app.states_refused("expired")), (2, 2));
    assert_eq!(app.workos.calls(Call::Authenticate).len(), 0, "its code was never shown to WorkOS");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_be_signed_in_by_is_invalid() {
    let app = app().await;
    let mut alice = app.visitor();
    for broken in [
        json!({}),
        json!({ "code": "c" }),
        json!({ "state": "s" }),
        json!({ "code": "c", "state": "s.s" }),
        json!({ "code": "", "state": "" }),
    ] {
        let answered = alice.post(CALLBACK, &broken).await;
        assert_eq!((answered.status, answered.kind()), (400, "LINK_INVALID"), "{broken}");
    }
    // A good state with a code that WorkOS does not know, none at all, or one that no header of
    // ours could carry.
    for code in ["unknown", "", "a b", &"x".repeat(2000)] {
        let authorize = alice.leave(None).await;
        let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
        let answered = alice.come_back(&with_parameter(&back, "code", code)).await;
        assert_eq!((answered.status, answered.kind()), (400, "LINK_INVALID"), "{code}");
    }
    // Used before: the second browser tab of one person.
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let state = parameter(&alice.leave(None).await, "state").expect("a state");
    assert_eq!(alice.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
    let again = alice.come_back(&with_parameter(&back, "state", &state)).await;
    assert_eq!(again.kind(), "LINK_INVALID");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authkits_own_refusals_are_told_apart() {
    let app = app().await;
    for (error, status, kind) in [
        ("access_denied", 400, "LINK_INVALID"),
        ("server_error", 400, "LINK_INVALID"),
        ("something_new", 400, "LINK_INVALID"),
        ("organization_membership_not_found", 403, "MEMBERSHIP_DEACTIVATED"),
        ("mfa_enrollment", 403, "ACTION_REQUIRED"),
        ("invalid_client", 400, "LINK_INVALID"),
    ] {
        let mut alice = app.visitor();
        let state = parameter(&alice.leave(None).await, "state").expect("a state");
        let brought =
            json!({ "error": error, "error_description": "The code 's3cret' …", "state": state });
        let answered = alice.post(CALLBACK, &brought).await;
        assert_eq!((answered.status, answered.kind()), (status, kind), "{error}");
        assert!(!answered.body.to_string().contains("s3cret"), "{answered:?}");
        assert_eq!(
            alice.post(CALLBACK, &brought).await.kind(),
            "LINK_INVALID",
            "a state is good for one callback"
        );
    }
    assert_eq!(app.workos.calls(Call::Authenticate).len(), 0);
    app.finish().await;
}

async fn with_exchange(app: &App, status: u16, body: &Value) -> super::visitor::Answered {
    app.workos.answer_call_instead(
        Call::Authenticate,
        [Override::Answer(status, vec![], body.to_string())],
    );
    app.visitor().sign_in(app, ALICE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_the_exchange_has_its_answer() {
    let app = app().await;
    for (status, body, expected, kind) in refusals() {
        let answered = with_exchange(&app, status, &body).await;
        assert_eq!((answered.status, answered.kind()), (expected, kind), "{status} {body}");
        assert_eq!(answered.header("retry-after").is_some(), expected >= 500, "{answered:?}");
        assert!(
            answered.cookies().is_empty() && !answered.body.to_string().contains("s3cret"),
            "{answered:?}"
        );
    }
    let organizations = json!([{ "id": "org_1", "name": "One" }, { "id": "org_2", "name": "Two" }]);
    let body = json!({
        "code": "organization_selection_required", "pending_authentication_token": "s3cret",
        "organizations": organizations,
    });
    let answered = with_exchange(&app, 403, &body).await;
    assert_eq!(
        (answered.kind(), &answered.body["reason"]),
        ("ACTION_REQUIRED", &json!("organization_selection_required"))
    );
    assert_eq!(answered.body["organizations"], organizations);
    assert!(!answered.body.to_string().contains("s3cret"));
    assert_eq!(
        (
            app.sign_ins("action_required"),
            app.sign_ins("misconfigured"),
            app.sign_ins("unavailable")
        ),
        (4, 3, 4)
    );
    app.finish().await;
}

/// Answers of the exchange: status and body at WorkOS, status and kind of ours.
#[rustfmt::skip]
fn refusals() -> [(u16, Value, u16, &'static str); 13] {
    let expired = "The code 's3cret' has expired or is invalid.";
    [
        (400, json!({ "error": "invalid_grant", "error_description": expired }), 400, "LINK_INVALID"),
        (400, json!({ "error": "organization_membership_not_found" }), 403, "MEMBERSHIP_DEACTIVATED"),
        (400, json!({ "code": "organization_membership_not_found", "message": "…" }), 403, "MEMBERSHIP_DEACTIVATED"),
        (403, json!({ "code": "mfa_challenge", "message": "…" }), 403, "ACTION_REQUIRED"),
        (400, json!({ "error": "sso_required", "connection_ids": ["conn_1"] }), 403, "ACTION_REQUIRED"),
        (400, json!({ "message": "Must use SSO for selected organization" }), 403, "ACTION_REQUIRED"),
        (400, json!({ "error": "invalid_client", "error_description": "s3cret" }), 502, "signin_misconfigured"),
        (401, json!({ "message": "Unauthorized" }), 502, "signin_misconfigured"),
        (422, json!({ "code": "invalid_request_parameters", "message": "s3cret" }), 502, "signin_misconfigured"),
        (400, json!({ "error": "new_in_2027", "error_description": "s3cret" }), 502, "workos_bad_answer"),
        (429, json!({ "error": "too_many_requests" }), 503, "signin_unavailable"),
        (500, json!({ "message": "s3cret" }), 503, "signin_unavailable"),
        (200, json!({ "user": { "id": "s3cret" } }), 502, "workos_bad_answer"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_shown_to_workos_one_time_whatever_happens() {
    let app = app().await;
    for instead in [
        Override::Stall,
        Override::Answer(503, vec![], String::new()),
        Override::Answer(429, vec![("retry-after", "7".to_owned())], String::new()),
    ] {
        let before = app.workos.calls(Call::Authenticate).len();
        let wait = matches!(&instead, Override::Answer(429, ..)).then_some("7");
        app.workos.answer_call_instead(Call::Authenticate, [instead]);
        let mut alice = app.visitor();
        let authorize = alice.leave(None).await;
        let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
        let answered = alice.come_back(&back).await;
        assert_eq!((answered.status, answered.kind()), (503, "signin_unavailable"));
        assert!(wait.is_none() || answered.header("retry-after") == wait, "{answered:?}");
        assert_eq!(alice.come_back(&back).await.kind(), "LINK_INVALID", "its state is spent");
        assert_eq!(app.workos.calls(Call::Authenticate).len(), before + 1);
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_fails_is_asked_for_again_and_then_given_up() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "active");
    let broken = || Override::Answer(500, vec![], String::new());
    app.workos.answer_call_instead(Call::Memberships, [broken(), broken()]);
    assert_eq!(app.visitor().sign_in(&app, ALICE).await.kind(), "LOGIN_SUCCESSFUL");
    app.workos.answer_call_instead(Call::Memberships, [broken(), broken(), broken()]);
    let answered = app.visitor().sign_in(&app, ALICE).await;
    assert_eq!((answered.status, answered.cookies().len()), (503, 0), "nobody comes in unseen");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_workos_ends_with_the_browser_that_caused_it() {
    let app = app().await;
    app.workos.answer_call_instead(
        Call::Authenticate,
        [Override::Late(std::time::Duration::from_millis(300))],
    );
    let mut alice = app.visitor();
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let coming = tokio::spawn(async move { alice.come_back(&back).await });
    eventually("WorkOS is asked", async || {
        (!app.workos.calls(Call::Authenticate).is_empty()).then_some(())
    })
    .await;
    coming.abort();
    eventually("the sign-in is counted", async || (app.sign_ins("abandoned") == 1).then_some(()))
        .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unconfigured_nothing_else_changes() {
    let app = App::embedded().await;
    let mut visitor = Visitor::new(app.public);
    for path in ["/v2/user/login_config", "/v2/user/session/"] {
        let answered = visitor.get(path).await;
        assert_eq!((answered.status, answered.kind()), (404, "workos_not_configured"), "{path}");
    }
    for path in [super::LOGIN_URL, CALLBACK, "/v2/user/refresh", "/v2/user/logout/"] {
        let answered = visitor.post(path, &json!({})).await;
        assert_eq!((answered.status, answered.kind()), (404, "workos_not_configured"), "{path}");
    }
    let config = visitor.get("/v2/user/login_config/").await;
    assert_eq!(
        (&config.body["workos_enabled"], &config.body["login_mode"]),
        (&json!(false), &json!("email_code"))
    );
    assert_eq!(visitor.get("/login").await.status, 404);
    app.ask(ALICE).await;
    app.mails(1).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_people_are_sent_to_the_other_login_and_sessions_go_on() {
    let app = app().await;
    let mut alice = app.visitor();
    let config = alice.get("/v2/user/login_config/").await;
    assert_eq!(
        (config.status, &config.body),
        (200, &json!({ "workos_enabled": true, "login_mode": "workos" }))
    );
    app.finish().await;
    let off = Setup::embedded().sign_in(|sign_in| sign_in.config.enabled = false).start().await;
    let mut alice = off.visitor();
    let config = alice.get("/v2/user/login_config/").await;
    assert_eq!(
        (config.status, &config.body),
        (200, &json!({ "workos_enabled": false, "login_mode": "email_code" }))
    );
    let answered = alice.post(super::LOGIN_URL, &json!({ "redirect_url": redirect_url() })).await;
    assert_eq!((answered.status, answered.kind()), (404, "workos_login_disabled"));
    assert_eq!(alice.get("/v2/user/session/").await.status, 401);
    off.finish().await;
}
