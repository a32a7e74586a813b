//! What a sign-in leaves in the log and the metrics: ids, and nothing that opens anything.

use std::collections::BTreeSet;

use sandbox::workos::{Call, Override};
use serde_json::json;

use super::{CALLBACK, parameter, visitor::Visitor};
use crate::{
    crash::World,
    harness::{app::API_KEY, program::Program, raw_http, settings::ORIGIN},
    privacy::LOUD,
};

const EMAIL: &str = "alice.secretly@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn no_code_token_state_or_address_is_in_the_log() {
    let world = World::new().await;
    world.workos.for_client("client_test");
    let mut env = world.env();
    env.extend([
        ("WORKOS_CLIENT_ID", "client_test".to_owned()),
        ("AUTHPOST_SIGNIN_ORIGINS", ORIGIN.to_owned()),
        ("AUTHPOST_STATE_SECRET", "hush-hush-hush-hush".to_owned()),
        ("RUST_LOG", LOUD.to_owned()),
    ]);
    let program = Program::start("serve", &env, &world.log()).await;
    let mut alice = Visitor::new(program.public.expect("an ingress"));
    let mut secrets: BTreeSet<String> =
        [API_KEY, "hush-hush", "secretly", "pending-s3cret"].map(str::to_owned).into();
    for body in [
        None,
        Some(invalid("s3cret-code")),
        Some(json!({ "code": "mfa_challenge", "pending_authentication_token": "pending-s3cret" })),
    ] {
        if let Some(body) = &body {
            world.workos.answer_call_instead(
                Call::Authenticate,
                [Override::Answer(400, vec![], body.to_string())],
            );
        }
        let authorize = alice.leave(None).await;
        let back = world.workos.approve(&authorize, EMAIL).expect("somewhere to go");
        secrets.extend([
            parameter(&back, "code").expect("a code"),
            parameter(&back, "state").expect("a state"),
        ]);
        alice.come_back(&back).await;
        secrets.extend(alice.jar.values().cloned());
    }
    alice.post(CALLBACK, &json!({
        "error": "access_denied", "error_description": "s3cret-code", "state": "s3cret-state",
    })).await;
    secrets.extend(["s3cret-code".to_owned(), "s3cret-state".to_owned()]);
    assert_eq!(alice.get("/v2/user/session").await.status, 200);
    assert_eq!(alice.post("/v2/user/refresh", &json!({})).await.status, 200);
    secrets.extend(alice.jar.values().cloned());
    alice.post("/v2/user/logout", &json!({})).await;
    let metrics = raw_http::get(program.admin, "/metrics").await.1;
    program.stop().await;
    assert!(secrets.len() > 12, "{secrets:?}");
    nothing_holds(&secrets, &metrics, &world);
}

fn invalid(code: &str) -> serde_json::Value {
    let description = format!("The code '{code}' has expired or is invalid.");
    json!({ "error": "invalid_grant", "error_description": description })
}

fn nothing_holds(secrets: &BTreeSet<String>, metrics: &str, world: &World) {
    let log = std::fs::read_to_string(world.log()).expect("a log");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log was not turned up");
    assert!(
        log.contains("signed in") && log.contains(&world.workos.user_id(EMAIL)),
        "the log does not say who signed in"
    );
    for secret in secrets {
        assert!(!log.contains(secret.as_str()), "the log holds {secret:?}");
        assert!(!metrics.contains(secret.as_str()), "the metrics hold {secret:?}");
    }
}
