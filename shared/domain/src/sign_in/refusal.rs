//! What WorkOS's refusals of a sign-in mean: one table of its error codes, whichever of its shapes
//! they come in (<https://workos.com/docs/reference/authkit/authentication-errors>).
//!
//! A code is looked for in `error` and in `code`, and decides before the status does: the same one
//! has been seen in both shapes and under two statuses. What WorkOS says beside it is never kept:
//! `error_description` repeats the authorization code.

use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value};

use crate::fault::{Fault, Reason};

/// Why a sign-in was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The code or token cannot be used: unknown, used already, issued for another attempt, or
    /// expired.
    Grant,
    /// The person is not a member of the requested organization.
    NotAMember,
    /// WorkOS requires another step of the person first.
    Step(Step),
    /// WorkOS cannot make this person's session token: a template makes it too large.
    TokenTooLarge,
    /// Not the person's fault: WorkOS does not answer, or refuses our configuration.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Something a person has to do before they are signed in.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// WorkOS's name for the step: one of [`STEPS`], or one that this release does not know.
    pub reason: Cow<'static, str>,
    /// What a frontend needs to go on, as WorkOS gave it: see [`DETAILS`].
    pub details: Map<String, Value>,
}

/// Codes that require another step of the person.
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

/// Fields beside a step's code that are handed on. `pending_authentication_token` is not among
/// them: it continues a sign-in for whoever has it and the API key, and a browser needs neither.
const DETAILS: &[&str] = &[
    "organizations",
    "email",
    "email_verification_id",
    "connection_ids",
    "sso_connection_ids",
    "auth_methods",
];

/// Codes that mean that this grant can never be used.
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

/// Codes that mean that our configuration, or the one in the dashboard, is wrong.
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
    "unauthorized",
];

/// Codes that mean that we exceeded a rate limit.
const TOO_MANY: &[&str] = &["too_many_requests", "daily_quota_exceeded", "slow_down"];

/// What one of WorkOS's codes means; `None` for an unknown one.
pub fn meaning(code: &str, retry_after: Option<Duration>) -> Option<Refusal> {
    let among =
        |codes: &'static [&'static str]| codes.iter().find(|known| **known == code).copied();
    if among(GRANTS).is_some() {
        return Some(Refusal::Grant);
    }
    if among(NOT_A_MEMBER).is_some() {
        return Some(Refusal::NotAMember);
    }
    if code == "token_too_big" {
        return Some(Refusal::TokenTooLarge);
    }
    if let Some(reason) = among(STEPS) {
        return Some(Refusal::Step(Step { reason: reason.into(), details: Map::new() }));
    }
    if let Some(code) = among(OURS) {
        return Some(Refusal::Fault(Fault::misconfigured(
            Reason::WorkosUnauthorized,
            Cow::Owned(format!("WorkOS answered {code}")),
        )));
    }
    among(TOO_MANY).map(|_| Refusal::Fault(too_many(retry_after)))
}

fn too_many(retry_after: Option<Duration>) -> Fault {
    Fault::transient_after(retry_after, Reason::WorkosRateLimited, "WorkOS asked us to slow down")
}

/// The meaning of an answer other than 200.
pub fn parse_refusal(status: u16, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let said = |field: &str| body.get(field).and_then(Value::as_str);
    let known = said("error")
        .and_then(|code| meaning(code, retry_after))
        .or_else(|| said("code").and_then(|code| meaning(code, retry_after)));
    // The only refusal that has no code, just a sentence.
    let sentence = || {
        said("message")
            .filter(|message| message.contains("Must use SSO"))
            .and_then(|_| meaning("sso_required", None))
    };
    // A sign-in that is to be continued, by a step that this release does not know.
    let unlisted = || {
        said("pending_authentication_token")?;
        let code = said("code").or(said("error")).filter(|code| is_code(code))?;
        Some(Refusal::Step(Step { reason: code.to_owned().into(), details: Map::new() }))
    };
    match known.or_else(sentence).or_else(unlisted) {
        Some(Refusal::Step(step)) => Refusal::Step(Step { details: details(&body), ..step }),
        Some(refusal) if status < 500 => refusal,
        _ => Refusal::Fault(by_status(status, retry_after)),
    }
}

/// WorkOS's codes are words with underscores.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn by_status(status: u16, retry_after: Option<Duration>) -> Fault {
    let said = || format!("WorkOS answered {status}");
    match status {
        408 | 425 | 500..=599 => {
            Fault::transient_after(retry_after, Reason::WorkosUnavailable, said())
        }
        429 => too_many(retry_after),
        401 | 403 | 404 | 422 => Fault::misconfigured(Reason::WorkosUnauthorized, said()),
        _ => Fault::doubtful(Reason::WorkosBadAnswer, said()),
    }
}

fn details(body: &Map<String, Value>) -> Map<String, Value> {
    DETAILS
        .iter()
        .filter_map(|field| body.get_key_value(*field))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
