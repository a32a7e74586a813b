//! What WorkOS hands out is believed only where its parts agree and it is meant for us.

use serde_json::{Value, json};

use super::app;
use crate::harness::{app::App, settings::CLIENT_ID};

const ALICE: &str = "alice@example.com";
const SESSION: &str = "/v2/user/session/";

/// The result of signing in with these claims in the token.
async fn signed_in_with(app: &App, claims: &Value) -> (u16, String) {
    app.workos.set_claims(claims);
    let answered = app.visitor().sign_in(app, ALICE).await;
    (answered.status, answered.kind().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_parts_contradict_each_other_lets_nobody_in() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_A", "active");
    app.workos.set_membership(ALICE, "org_B", "inactive");
    for (claims, expected) in [
        (json!({ "org_id": "org_A" }), (200, "LOGIN_SUCCESSFUL")),
        (json!({ "sub": "user_other" }), (502, "workos_bad_answer")),
        (json!({ "org_id": "org_B" }), (403, "MEMBERSHIP_DEACTIVATED")),
        (json!({ "org_id": "org_C" }), (403, "MEMBERSHIP_DEACTIVATED")),
        (json!({ "aud": "client_other" }), (502, "signin_misconfigured")),
        (json!({ "sub_type": "agent" }), (502, "signin_misconfigured")),
        // What a JWT template may do.
        (json!({ "role": { "slug": "a" }, "permissions": null }), (200, "LOGIN_SUCCESSFUL")),
    ] {
        let (status, kind) = signed_in_with(&app, &claims).await;
        assert_eq!((status, kind.as_str()), expected, "{claims}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_organization_than_the_one_asked_for_is_refused() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_A", "active");
    app.workos.set_membership(ALICE, "org_B", "active");
    app.workos.set_claims(&json!({ "org_id": "org_B" }));
    for (asked_for, kind) in [("org_A", "MEMBERSHIP_DEACTIVATED"), ("org_B", "LOGIN_SUCCESSFUL")] {
        let mut alice = app.visitor();
        let authorize = alice.leave(Some(asked_for)).await;
        let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
        assert_eq!(alice.come_back(&back).await.kind(), kind, "{asked_for}");
    }
    app.finish().await;
}

/// For forward-auth: whoever can get a token of this environment by another way.
#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_that_is_not_for_us_opens_nothing() {
    let app = app().await;
    let good = json!({
        "sub": "user_1", "sid": "session_1", "exp": app.now().as_second() + 300,
        "iss": format!("{}/user_management/{CLIENT_ID}", app.workos.url()),
    });
    let status = async |changed: Value, critical: &[&str]| {
        let mut claims = good.clone();
        for (name, value) in changed.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let bearer = format!("Bearer {}", app.workos.token(&claims, critical));
        app.visitor().with("Authorization", &bearer).get(SESSION).await.status
    };
    for changed in [json!({}), json!({ "aud": [CLIENT_ID] }), json!({ "permissions": null })] {
        assert_eq!(status(changed.clone(), &[]).await, 200, "{changed}");
    }
    for changed in [
        json!({ "aud": "client_other" }),
        json!({ "azp": "client_other" }),
        json!({ "sub": "" }),
        json!({ "sub_profile": "widget" }),
        json!({ "sid": null }),
    ] {
        assert_eq!(status(changed.clone(), &[]).await, 401, "{changed}");
    }
    assert_eq!(
        status(json!({}), &["urn:example:x"]).await,
        401,
        "a header that must be understood"
    );
    app.finish().await;
}
