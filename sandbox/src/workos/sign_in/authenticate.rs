//! `POST /user_management/authenticate`: codes and refresh tokens become tokens.

use std::collections::HashMap;

use domain::sign_in::state::challenge;
use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use runtime::{
    http::{self, Answer},
    random::ulid,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Session, Shared};
use crate::workos::time;

/// How long a code may take to come back.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How long an access token holds.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn answer(shared: &Shared, body: &str) -> Answer {
    let fields: HashMap<String, Value> = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let client = shared.client_id.lock().clone();
    if client.is_some_and(|client| client != text("client_id"))
        || text("client_secret") != shared.key.expose_secret()
    {
        return oauth("invalid_client", "Invalid client ID or secret.");
    }
    match text("grant_type") {
        "authorization_code" => redeem(shared, text("code"), text("code_verifier")),
        "refresh_token" => renew(shared, text("refresh_token"), fields.get("organization_id")),
        _ => oauth("invalid_request", "The grant_type is not supported."),
    }
}

/// The shape of failures of these grants. The description repeats the code, as WorkOS's does.
fn oauth(error: &str, description: &str) -> Answer {
    http::json(
        StatusCode::BAD_REQUEST,
        &json!({ "error": error, "error_description": description }),
    )
}

fn redeem(shared: &Shared, code: &str, verifier: &str) -> Answer {
    let dead = || oauth("invalid_grant", &format!("The code '{code}' has expired or is invalid."));
    // A code is consumed by the first attempt, whatever its result.
    let Some(grant) = shared.authkit.people.lock().grants.remove(code) else { return dead() };
    let in_time = shared.clock.now().duration_since(grant.made_at) <= CODE_LIFE;
    let proven = grant.challenge.as_deref().is_none_or(|expected| challenge(verifier) == expected);
    if !(in_time && proven) {
        return dead();
    }
    // Into no organization where the person is no active member.
    let organization = grant.organization.clone().filter(|it| is_member(shared, &grant.email, it));
    let session = Session {
        id: format!("session_{}", ulid(shared.clock.now())),
        email: grant.email,
        organization,
        began_at: shared.clock.now(),
    };
    tokens(shared, session)
}

fn is_member(shared: &Shared, email: &str, organization: &str) -> bool {
    let people = shared.authkit.people.lock();
    people.memberships.iter().any(|membership| {
        membership.email == email
            && membership.organization == organization
            && membership.status == "active"
    })
}

/// An `organization` switches the session to it, and refuses who is no active member: then the token
/// stays good.
fn renew(shared: &Shared, token: &str, organization: Option<&Value>) -> Answer {
    let found = shared.authkit.people.lock().sessions.get(token).cloned();
    let Some(mut session) = found else {
        return oauth("invalid_grant", "The refresh token has expired or is invalid.");
    };
    if let Some(organization) = organization.and_then(Value::as_str) {
        if !is_member(shared, &session.email, organization) {
            let what = "The user is not a member of the organization.";
            return oauth("organization_membership_not_found", what);
        }
        session.organization = Some(organization.to_owned());
    }
    shared.authkit.people.lock().sessions.remove(token);
    tokens(shared, session)
}

fn tokens(shared: &Shared, session: Session) -> Answer {
    let user_id = shared.authkit.user_id(&session.email, shared.clock.now());
    let now = shared.clock.now();
    let client = shared.client_id.lock().clone().unwrap_or_default();
    let mut claims = json!({
        "iss": format!("http://{}/user_management/{client}", shared.address), "sub": user_id, "sid": session.id,
        "jti": ulid(now).to_string(), "iat": now.as_second(), "exp": (now + TOKEN_LIFE).as_second(),
        "auth_time": session.began_at.as_second(), "client_id": client,
    });
    if let Some(organization) = &session.organization {
        claims["org_id"] = json!(organization);
        claims["role"] = json!("member");
        claims["roles"] = json!(["member"]);
        claims["permissions"] = json!([]);
    }
    let impersonator = shared.authkit.impersonator.lock().clone();
    if let Some(email) = &impersonator {
        claims["act"] = json!({ "sub": email });
    }
    for (name, value) in shared.authkit.claims.lock().iter() {
        claims[name] = value.clone();
    }
    let access_token = shared.authkit.keys.lock().sign(&claims);
    let refresh_token = ulid(now).to_string();
    let body = json!({
        "user": user(&user_id, &session.email, session.began_at),
        "organization_id": session.organization, "access_token": access_token, "refresh_token": refresh_token,
        "authentication_method": if impersonator.is_some() { "Impersonation" } else { "MagicAuth" },
        "impersonator": impersonator.map(|email| json!({ "email": email, "reason": "support" })),
    });
    shared.authkit.people.lock().sessions.insert(refresh_token, session);
    http::json(StatusCode::OK, &body)
}

/// Every member that WorkOS's own libraries need of a user.
pub(super) fn user(id: &str, email: &str, at: Timestamp) -> Value {
    let at = time(at);
    json!({
        "object": "user", "id": id, "email": email, "email_verified": true,
        "first_name": null, "last_name": null, "name": null, "profile_picture_url": null,
        "external_id": null, "locale": null, "metadata": {},
        "last_sign_in_at": at, "created_at": at, "updated_at": at,
    })
}

/// Ends a session: its refresh token becomes invalid.
pub(super) fn end(shared: &Shared, session_id: &str) {
    shared.authkit.people.lock().sessions.retain(|_, session| session.id != session_id);
}
