//! What WorkOS's refusals of a sign-in mean: one table of its error codes, whichever of its shapes they come in
//! (<https://workos.com/docs/reference/authkit/authentication-errors>).
//!
//! A code is looked for in `error` and in `code`, and decides before the status does: the same one has been seen in
//! both shapes and under two statuses. What WorkOS says beside it is never kept: `error_description` repeats the
//! authorization code.

use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value};

use crate::fault::{Fault, Reason};

/// Why somebody is not signed in.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The code, or the token, is not one that can be used: unknown, used already, of another attempt, or past its time.
    Grant,
    /// The person is no member of the organization that was asked for.
    NotAMember,
    /// WorkOS wants something more of the person first.
    Step(Step),
    /// Nothing about the person: WorkOS is not there, or refuses us.
    Fault(Fault),
}

/// Something a person has to do before they are signed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// WorkOS's word for it, one of [`STEPS`].
    pub reason: &'static str,
    /// What a frontend needs to go on, as WorkOS gave it: see [`DETAILS`].
    pub details: Map<String, Value>,
}

/// Codes that ask something of the person.
pub const STEPS: &[&str] = &[
    "organization_selection_required",
    "email_verification_required",
    "mfa_enrollment",
    "mfa_challenge",
    "sso_required",
    "organization_authentication_methods_required",
    "authentication_method_not_allowed",
    "email_password_auth_disabled",
    "passkey_progressive_enrollment",
    "radar_challenge",
    "radar_sign_up_challenge",
    "radar_sms_sign_in_challenge",
    "application_consent_required",
    "phone_number_required",
    "extra_attributes_required",
];

/// Fields beside a step's code that are handed on. `pending_authentication_token` is not among them: it continues a
/// sign-in for whoever has it and the API key, and a browser needs neither.
const DETAILS: &[&str] = &["organizations", "email", "email_verification_id", "connection_ids", "sso_connection_ids", "auth_methods"];

/// Codes that say: this grant will never do.
const GRANTS: &[&str] = &[
    "invalid_grant",
    "expired_token",
    "invalid_credentials",
    "invalid_one_time_code",
    "one_time_code_expired",
    "one_time_code_previously_used",
    "one_time_code_too_many_attempts",
    "invalid_pending_authentication_token",
    "user_mismatch",
    "access_denied",
    "sign_up_not_allowed",
    "invitation_invalid",
    "invitation_cannot_be_used_for_email",
    "invalid_link_authorization_code",
    "invalid_profile",
];

const NOT_A_MEMBER: &[&str] = &["organization_membership_not_found"];

/// Codes that say that we, or our settings in the dashboard, are wrong.
const OURS: &[&str] = &[
    "invalid_client",
    "unauthorized_client",
    "invalid_request",
    "invalid_request_parameters",
    "invalid_connection",
    "invalid_organization_id",
    "organization_not_found",
    "pkce_not_supported",
    "code_challenge_not_found",
    "token_too_big",
    "unauthorized",
];

/// WorkOS's word for "too many": from us, today or this minute.
const TOO_MANY: &[&str] = &["too_many_requests", "daily_quota_exceeded", "slow_down"];

/// What one of WorkOS's codes means; `None` for one nobody knows.
pub fn meaning(code: &str, retry_after: Option<Duration>) -> Option<Refusal> {
    let among = |codes: &'static [&'static str]| codes.iter().find(|known| **known == code).copied();
    if among(GRANTS).is_some() {
        return Some(Refusal::Grant);
    }
    if among(NOT_A_MEMBER).is_some() {
        return Some(Refusal::NotAMember);
    }
    if let Some(reason) = among(STEPS) {
        return Some(Refusal::Step(Step { reason, details: Map::new() }));
    }
    if let Some(code) = among(OURS) {
        return Some(Refusal::Fault(Fault::misconfigured(Reason::WorkosUnauthorized, Cow::Owned(format!("WorkOS answered {code}")))));
    }
    among(TOO_MANY).map(|_| Refusal::Fault(too_many(retry_after)))
}

fn too_many(retry_after: Option<Duration>) -> Fault {
    Fault::transient_after(retry_after, Reason::WorkosRateLimited, "WorkOS asked us to slow down")
}

/// What an answer other than 200 means.
pub fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let said = |field: &str| body.get(field).and_then(Value::as_str);
    let known =
        said("error").and_then(|code| meaning(code, retry_after)).or_else(|| said("code").and_then(|code| meaning(code, retry_after)));
    // The one refusal that comes as a sentence only.
    let sentence = || said("message").filter(|message| message.contains("Must use SSO")).and_then(|_| meaning("sso_required", None));
    match known.or_else(sentence) {
        Some(Refusal::Step(step)) => Refusal::Step(Step { details: details(&body), ..step }),
        Some(refusal) if status < 500 => refusal,
        _ => Refusal::Fault(by_status(status, retry_after)),
    }
}

fn by_status(status: u16, retry_after: Option<Duration>) -> Fault {
    let said = || format!("WorkOS answered {status}");
    match status {
        408 | 425 | 500..=599 => Fault::transient_after(retry_after, Reason::WorkosUnavailable, said()),
        429 => too_many(retry_after),
        401 | 403 | 404 | 422 => Fault::misconfigured(Reason::WorkosUnauthorized, said()),
        _ => Fault::doubtful(Reason::WorkosBadAnswer, said()),
    }
}

fn details(body: &Map<String, Value>) -> Map<String, Value> {
    DETAILS.iter().filter_map(|field| body.get_key_value(*field)).map(|(field, value)| (field.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fault::Severity;

    fn reads(status: u16, body: &Value) -> Refusal {
        read(status, body.to_string().as_bytes(), None)
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
            assert_eq!(reads(400, &json!({ "error": code, "error_description": "The code 'ac_1' has expired" })), Refusal::Grant, "{code}");
            assert_eq!(reads(400, &json!({ "code": code, "message": "no" })), Refusal::Grant, "{code}");
        }
        for shape in ["error", "code"] {
            assert_eq!(reads(400, &json!({ shape: "organization_membership_not_found" })), Refusal::NotAMember);
        }
        for (status, shape) in [(403, "code"), (400, "code"), (400, "error")] {
            let Refusal::Step(step) = reads(status, &json!({ shape: "mfa_enrollment" })) else { panic!("{shape}") };
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
            assert_eq!(fault(reads(status, &body)), (Severity::Misconfigured, Reason::WorkosUnauthorized), "{body}");
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
            assert_eq!(fault(read(status, body.to_string().as_bytes(), wait)), transient(reason), "{status} {body}");
        }
        assert_eq!(fault(read(400, b"<html>", None)), (Severity::Doubtful, Reason::WorkosBadAnswer));
        assert_eq!(fault(reads(400, &json!({ "error": "new_in_2027" }))), (Severity::Doubtful, Reason::WorkosBadAnswer));
    }

    #[test]
    fn a_step_brings_what_a_frontend_needs_and_nothing_else() {
        let body = json!({
            "code": "organization_selection_required", "message": "…", "pending_authentication_token": "secret",
            "organizations": [{ "id": "org_1", "name": "One" }], "user": { "id": "user_1" },
        });
        let Refusal::Step(step) = reads(403, &body) else { panic!("a step") };
        assert_eq!(step.reason, "organization_selection_required");
        assert_eq!(Value::Object(step.details), json!({ "organizations": [{ "id": "org_1", "name": "One" }] }));
        let Refusal::Step(step) = reads(400, &json!({ "message": "Must use SSO for selected organization" })) else { panic!("a step") };
        assert_eq!(step.reason, "sso_required");
    }

    proptest! {
        #[test]
        fn no_answer_panics_or_is_repeated(status in 201u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(status, &body, None);
            let secret = json!({ "error": "invalid_request", "error_description": "The code 's3cret' …", "message": "s3cret" });
            let shown = format!("{:?}", reads(status, &secret));
            prop_assert!(!shown.contains("s3cret"), "{}", shown);
        }
    }
}
