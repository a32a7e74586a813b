//! Unit tests of the parent module.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fault::Severity;

fn reads(status: u16, body: &Value) -> Refusal {
    parse_refusal(status, body.to_string().as_bytes(), None)
}

fn fault(refusal: Refusal) -> (Severity, Reason) {
    match refusal {
        Refusal::Fault(fault) => (fault.severity, fault.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_code_means_the_same_in_both_shapes() {
    for code in ["invalid_grant", "one_time_code_expired", "access_denied"] {
        assert_eq!(
            reads(
                400,
                &json!({ "error": code, "error_description": "The code 'ac_1' has expired" })
            ),
            Refusal::Grant,
            "{code}"
        );
        assert_eq!(reads(400, &json!({ "code": code, "message": "no" })), Refusal::Grant, "{code}");
    }
    for shape in ["error", "code"] {
        assert_eq!(
            reads(400, &json!({ shape: "organization_membership_not_found" })),
            Refusal::NotAMember
        );
    }
    for (status, shape) in [(403, "code"), (400, "code"), (400, "error")] {
        let Refusal::Step(step) = reads(status, &json!({ shape: "mfa_enrollment" })) else {
            panic!("{shape}")
        };
        assert_eq!(step.reason, "mfa_enrollment");
    }
}

#[test]
fn what_is_wrong_with_us_is_never_the_persons_fault() {
    for (status, body) in [
        (400, json!({ "error": "invalid_client", "error_description": "…" })),
        (400, json!({ "error": "unauthorized_client" })),
        (400, json!({ "error": "invalid_request" })),
        (401, json!({ "message": "Unauthorized" })),
        (403, json!({ "message": "Forbidden" })),
        (404, json!({ "message": "Not Found" })),
        (422, json!({ "code": "invalid_request_parameters", "message": "…" })),
    ] {
        assert_eq!(
            fault(reads(status, &body)),
            (Severity::Misconfigured, Reason::WorkosUnauthorized),
            "{body}"
        );
    }
}

#[test]
fn what_will_pass_is_transient() {
    let wait = Some(Duration::from_secs(7));
    let transient = |reason| (Severity::Transient { retry_after: wait }, reason);
    for (status, body, reason) in [
        (429, json!({ "error": "too_many_requests" }), Reason::WorkosRateLimited),
        (429, json!({ "code": "daily_quota_exceeded" }), Reason::WorkosRateLimited),
        (429, json!({}), Reason::WorkosRateLimited),
        (500, json!({}), Reason::WorkosUnavailable),
        (503, json!({ "error": "invalid_grant" }), Reason::WorkosUnavailable),
    ] {
        assert_eq!(
            fault(parse_refusal(status, body.to_string().as_bytes(), wait)),
            transient(reason),
            "{status} {body}"
        );
    }
    assert_eq!(
        fault(parse_refusal(400, b"<html>", None)),
        (Severity::Doubtful, Reason::WorkosBadAnswer)
    );
    assert_eq!(
        fault(reads(400, &json!({ "error": "new_in_2027" }))),
        (Severity::Doubtful, Reason::WorkosBadAnswer)
    );
}

#[test]
fn a_step_brings_what_a_frontend_needs_and_nothing_else() {
    let body = json!({
        "code": "organization_selection_required", "message": "…", "pending_authentication_token": "secret",
        "organizations": [{ "id": "org_1", "name": "One" }], "user": { "id": "user_1" },
    });
    let Refusal::Step(step) = reads(403, &body) else { panic!("a step") };
    assert_eq!(step.reason, "organization_selection_required");
    assert_eq!(
        Value::Object(step.details),
        json!({ "organizations": [{ "id": "org_1", "name": "One" }] })
    );
    let Refusal::Step(step) =
        reads(400, &json!({ "message": "Must use SSO for selected organization" }))
    else {
        panic!("a step")
    };
    assert_eq!(step.reason, "sso_required");
}

proptest! {
    #[test]
    fn no_answer_panics_or_is_repeated(status in 201u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        parse_refusal(status, &body, None);
        let secret = json!({
            "error": "invalid_request", "error_description": "The code 's3cret' …",
            "message": "s3cret",
        });
        let shown = format!("{:?}", reads(status, &secret));
        prop_assert!(!shown.contains("s3cret"), "{}", shown);
    }
}
