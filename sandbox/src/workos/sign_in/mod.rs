//! The stand-in's AuthKit: pages that ask for an address and a code, the exchange, memberships,
//! keys, logout.
//!
//! It refuses in the shapes WorkOS documents
//! (<https://workos.com/docs/reference/authkit/authentication-errors>), and lists memberships as
//! production does: only active ones, unless `statuses` asks for others.

mod authenticate;
mod keys;
mod pages;

use std::collections::{HashMap, VecDeque};

use hyper::{Method, StatusCode};
use jiff::Timestamp;
use parking_lot::Mutex;
use runtime::{
    http::{self, Answer},
    random::ulid,
};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use self::keys::Keys;
use super::{Asked, Override, Shared, refuse, time};

/// Where people are read, by id.
const USERS: &str = "/user_management/users/";

/// A call that can be answered in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Authenticate,
    Memberships,
    KeySet,
    User,
}

/// The receiver that webhooks are posted to.
#[derive(Clone)]
pub(super) struct Webhooks {
    pub(super) url: String,
    pub(super) secret: SecretString,
}

/// What the stand-in for AuthKit remembers.
#[derive(Default)]
pub(super) struct AuthKit {
    people: Mutex<People>,
    keys: Mutex<Keys>,
    pub(super) webhooks: Mutex<Option<Webhooks>>,
    instead: Mutex<HashMap<Call, VecDeque<Override>>>,
    calls: Mutex<Vec<(Call, String)>>,
    /// Set in every session token that is made.
    claims: Mutex<Map<String, Value>>,
    /// Who acts as the people who sign in.
    impersonator: Mutex<Option<String>>,
}

#[derive(Default)]
struct People {
    ids: HashMap<String, String>,
    locales: HashMap<String, String>,
    memberships: Vec<Membership>,
    grants: HashMap<String, Grant>,
    sessions: HashMap<String, Session>,
}

struct Membership {
    id: String,
    email: String,
    organization: String,
    status: String,
    changed_at: Timestamp,
}

/// An authorization code, until it is redeemed.
struct Grant {
    email: String,
    organization: Option<String>,
    challenge: Option<String>,
    made_at: Timestamp,
}

/// What a refresh token can be exchanged for.
#[derive(Clone)]
struct Session {
    id: String,
    email: String,
    organization: Option<String>,
    began_at: Timestamp,
}

impl AuthKit {
    /// The user with this address, made at first mention.
    pub(super) fn user_id(&self, email: &str, now: Timestamp) -> String {
        self.people
            .lock()
            .ids
            .entry(email.to_owned())
            .or_insert_with(|| format!("user_{}", ulid(now)))
            .clone()
    }

    pub(super) fn set_membership(
        &self,
        email: &str,
        organization: &str,
        status: &str,
        now: Timestamp,
    ) {
        let mut people = self.people.lock();
        people.memberships.retain(|membership| {
            (membership.email.as_str(), membership.organization.as_str()) != (email, organization)
        });
        let id = format!("om_{}", ulid(now));
        people.memberships.push(Membership {
            id,
            email: email.to_owned(),
            organization: organization.to_owned(),
            status: status.to_owned(),
            changed_at: now,
        });
    }

    pub(super) fn set_locale(&self, email: &str, locale: &str) {
        self.people.lock().locales.insert(email.to_owned(), locale.to_owned());
    }

    pub(super) fn set_claims(&self, claims: &Value) {
        *self.claims.lock() = claims.as_object().cloned().unwrap_or_default();
    }

    pub(super) fn set_impersonator(&self, email: &str) {
        *self.impersonator.lock() = Some(email.to_owned());
    }

    pub(super) fn token(&self, claims: &Value, critical: &[&str]) -> String {
        self.keys.lock().sign_with(claims, critical)
    }

    pub(super) fn rotate_keys(&self) {
        self.keys.lock().rotate();
    }

    pub(super) fn answer_instead(&self, call: Call, answers: impl IntoIterator<Item = Override>) {
        self.instead.lock().entry(call).or_default().extend(answers);
    }

    /// The bodies, or the queries, of every call of this kind.
    pub(super) fn calls(&self, call: Call) -> Vec<String> {
        self.calls
            .lock()
            .iter()
            .filter(|(kind, _)| *kind == call)
            .map(|(_, with)| with.clone())
            .collect()
    }

    /// Signs `email` in for the browser that was sent to `authorize`, and says where it goes next.
    /// `None` if that is no address of ours to send browsers to.
    pub(super) fn approve(&self, authorize: &Url, email: &str, now: Timestamp) -> Option<Url> {
        let query: HashMap<_, _> = authorize.query_pairs().collect();
        let code = ulid(now).to_string();
        let text = |name: &str| query.get(name).map(ToString::to_string);
        let mut back: Url = query.get("redirect_uri")?.parse().ok()?;
        let grant = Grant {
            email: email.to_owned(),
            organization: text("organization_id"),
            challenge: text("code_challenge"),
            made_at: now,
        };
        self.people.lock().grants.insert(code.clone(), grant);
        back.query_pairs_mut().append_pair("code", &code);
        if let Some(state) = text("state") {
            back.query_pairs_mut().append_pair("state", &state);
        }
        Some(back)
    }
}

/// Answers what belongs to signing in; `None` for everything else.
pub(super) async fn answer(shared: &Shared, asked: &Asked) -> Option<Answer> {
    let path = asked.path.as_str();
    let (call, with) = match (&asked.method, path) {
        (&Method::POST, "/user_management/authenticate") => {
            (Call::Authenticate, asked.body.clone())
        }
        (&Method::GET, "/user_management/organization_memberships") => {
            (Call::Memberships, asked.query.clone())
        }
        (&Method::GET, path) if path.starts_with("/sso/jwks/") => (Call::KeySet, path.to_owned()),
        (&Method::GET, path) if path.starts_with(USERS) => (Call::User, path.to_owned()),
        _ => return pages::answer(shared, asked).await,
    };
    shared.authkit.calls.lock().push((call, with));
    let instead = shared.authkit.instead.lock().get_mut(&call).and_then(VecDeque::pop_front);
    if let Some(answer) = super::overrides::carry_out(instead).await {
        return Some(answer);
    }
    Some(match call {
        Call::Authenticate => authenticate::answer(shared, &asked.body),
        Call::Memberships | Call::User if !asked.authorized => {
            refuse(StatusCode::UNAUTHORIZED, "Unauthorized")
        }
        Call::User => user(shared, path.strip_prefix(USERS).unwrap_or_default()),
        Call::Memberships => memberships(shared, &asked.query),
        Call::KeySet if !is_known_client(shared, path) => {
            refuse(StatusCode::NOT_FOUND, "Not Found")
        }
        Call::KeySet => http::json(StatusCode::OK, &shared.authkit.keys.lock().set()),
    })
}

/// A person by id (<https://workos.com/docs/reference/authkit/user/get>).
fn user(shared: &Shared, id: &str) -> Answer {
    let people = shared.authkit.people.lock();
    let found = people.ids.iter().find(|(_, theirs)| theirs.as_str() == id);
    let Some((email, _)) = found else {
        return refuse(StatusCode::NOT_FOUND, "User not found");
    };
    let mut user = authenticate::user(id, email, shared.clock.now());
    user["locale"] = json!(people.locales.get(email));
    http::json(StatusCode::OK, &user)
}

fn is_known_client(shared: &Shared, path: &str) -> bool {
    let known = shared.client_id.lock();
    known.as_ref().is_none_or(|client| path.rsplit('/').next() == Some(client.as_str()))
}

fn memberships(shared: &Shared, query: &str) -> Answer {
    let query: HashMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let Some(user_id) = query.get("user_id") else {
        let body = json!({
            "code": "missing_user_id_or_organization_id",
            "message": "Either user_id or organization_id is required.",
        });
        return http::json(StatusCode::BAD_REQUEST, &body);
    };
    let statuses: Vec<&str> =
        query.get("statuses").map_or(vec!["active"], |statuses| statuses.split(',').collect());
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(10);
    let people = shared.authkit.people.lock();
    let theirs = people
        .memberships
        .iter()
        .filter(|membership| people.ids.get(&membership.email) == Some(user_id));
    let wanted = theirs.filter(|membership| statuses.contains(&membership.status.as_str()));
    let mut rest = wanted
        .skip_while(|membership| query.get("after").is_some_and(|after| *after != membership.id))
        .peekable();
    if query.contains_key("after") {
        rest.next();
    }
    let page: Vec<&Membership> = rest.by_ref().take(limit).collect();
    let after = rest.peek().and_then(|_| page.last()).map(|last| last.id.clone());
    let data: Vec<Value> = page.iter().map(|membership| describe(membership, user_id)).collect();
    http::json(
        StatusCode::OK,
        &json!({ "object": "list", "data": data, "list_metadata": { "before": null, "after": after } }),
    )
}

fn describe(membership: &Membership, user_id: &str) -> Value {
    let (at, role) = (time(membership.changed_at), json!({ "slug": "member" }));
    json!({
        "object": "organization_membership", "id": membership.id, "user_id": user_id,
        "organization_id": membership.organization, "organization_name": membership.organization,
        "status": membership.status, "directory_managed": false, "custom_attributes": {},
        "role": role, "roles": [role], "created_at": at, "updated_at": at,
        "user": authenticate::user(user_id, &membership.email, membership.changed_at),
    })
}
