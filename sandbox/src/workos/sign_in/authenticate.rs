//! `POST /user_management/authenticate`: codes and refresh tokens become tokens.

use std::collections::HashMap;

use hyper::StatusCode;
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    http::{self, Answer},
    sign_in::state::challenge,
};
use ulid::Ulid;

use super::{Session, Shared, lock};

/// How long a code may take to come back.
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How long an access token holds.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn answer(shared: &Shared, body: &str) -> Answer {
    let fields: HashMap<String, Value> = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let client = lock(&shared.client_id).clone();
    if client.is_some_and(|client| client != text("client_id")) || text("client_secret") != shared.key.expose_secret() {
        return oauth("invalid_client", "Invalid client ID or secret.");
    }
    match text("grant_type") {
        "authorization_code" => redeem(shared, text("code"), text("code_verifier")),
        "refresh_token" => renew(shared, text("refresh_token")),
        _ => oauth("invalid_request", "The grant_type is not supported."),
    }
}

/// The shape of failures of these grants. The description repeats the code, as WorkOS's does.
fn oauth(error: &str, description: &str) -> Answer {
    http::json(StatusCode::BAD_REQUEST, &json!({ "error": error, "error_description": description }))
}

fn redeem(shared: &Shared, code: &str, verifier: &str) -> Answer {
    let dead = || oauth("invalid_grant", &format!("The code '{code}' has expired or is invalid."));
    // Whatever comes of it, a code is looked at one time.
    let Some(grant) = lock(&shared.authkit.people).grants.remove(code) else { return dead() };
    let in_time = shared.clock.now().duration_since(grant.made_at) <= CODE_LIFE;
    let proven = grant.challenge.as_deref().is_none_or(|expected| challenge(verifier) == expected);
    if !(in_time && proven) {
        return dead();
    }
    let member = |organization: &String| {
        let people = lock(&shared.authkit.people);
        let mut theirs = people.memberships.iter().filter(|membership| membership.email == grant.email);
        theirs.any(|membership| membership.organization == *organization && membership.status == "active")
    };
    // Into no organization where the person is no active member.
    let organization = grant.organization.clone().filter(member);
    let session = Session { id: format!("session_{}", Ulid::generate()), email: grant.email, organization };
    tokens(shared, session)
}

fn renew(shared: &Shared, token: &str) -> Answer {
    let found = lock(&shared.authkit.people).sessions.remove(token);
    found.map_or_else(|| oauth("invalid_grant", "The refresh token has expired or is invalid."), |session| tokens(shared, session))
}

fn tokens(shared: &Shared, session: Session) -> Answer {
    let user_id = shared.authkit.user_id(&session.email);
    let now = shared.clock.now();
    let client = lock(&shared.client_id).clone().unwrap_or_default();
    let mut claims = json!({
        "iss": format!("http://{}/user_management/{client}", shared.address), "sub": user_id, "sid": session.id,
        "jti": Ulid::generate().to_string(), "iat": now.as_second(), "exp": (now + TOKEN_LIFE).as_second(),
    });
    if let Some(organization) = &session.organization {
        claims["org_id"] = json!(organization);
        claims["role"] = json!("member");
    }
    let access_token = lock(&shared.authkit.keys).sign(&claims);
    let refresh_token = Ulid::generate().to_string();
    let body = json!({
        "user": {
            "object": "user", "id": user_id, "email": session.email, "email_verified": true, "first_name": null, "last_name": null,
            "profile_picture_url": null, "created_at": now, "updated_at": now,
        },
        "organization_id": session.organization, "access_token": access_token, "refresh_token": refresh_token,
        "authentication_method": "MagicAuth",
    });
    lock(&shared.authkit.people).sessions.insert(refresh_token, session);
    http::json(StatusCode::OK, &body)
}

/// Ends a session: its refresh token is good for nothing any more.
pub(super) fn end(shared: &Shared, session_id: &str) {
    lock(&shared.authkit.people).sessions.retain(|_, session| session.id != session_id);
}
