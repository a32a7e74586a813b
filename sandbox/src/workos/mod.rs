//! A stand-in for WorkOS: makes codes, posts signed webhooks, answers `GET
//! /user_management/magic_auth/{id}`, and signs people in ([`sign_in`]).
//!
//! It keeps to what is documented of the real one
//! (<https://workos.com/docs/reference/authkit/magic-auth>): the event never holds the code, a code
//! lives for ten minutes, an unknown id is a 404, a wrong key a 401.

mod events;
mod overrides;
mod post;
mod quota;
mod sign_in;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use domain::clock::Clock;
use hyper::{
    Method, StatusCode,
    header::{AUTHORIZATION, DATE, HeaderValue},
};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use runtime::{
    http::{self, Answer, Bodies, Limits, Received},
    random::ulid,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use self::{
    overrides::carry_out,
    quota::Quota,
    sign_in::{AuthKit, Webhooks},
};

pub use self::{
    overrides::Override,
    post::{PostError, Posted, post},
    sign_in::Call,
};

/// Largest body of a request.
const MAX_BODY: usize = 64 * 1024;

/// How long its codes live.
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// A code and the event that announces it.
#[derive(Debug, Clone)]
pub struct MagicAuth {
    pub id: String,
    pub event_id: String,
    pub user_id: String,
    pub email: String,
    pub code: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl MagicAuth {
    /// The webhook's body, as WorkOS posts it: without the code.
    pub fn event(&self) -> String {
        let mut data = self.object();
        if let Some(fields) = data.as_object_mut() {
            fields.remove("code");
        }
        json!({
            "object": "event", "id": self.event_id, "event": "magic_auth.created", "data": data,
            "created_at": time(self.created_at), "context": {},
        })
        .to_string()
    }

    /// Whether this is the code this person was sent, while it lives.
    fn is_for(&self, email: &str, code: &str, now: Timestamp) -> bool {
        self.email == email && self.code == code && now < self.expires_at
    }

    /// The API's object, with the code.
    fn object(&self) -> Value {
        json!({
            "object": "magic_auth", "id": self.id, "user_id": self.user_id, "email": self.email, "code": self.code,
            "expires_at": time(self.expires_at), "created_at": time(self.created_at),
            "updated_at": time(self.created_at),
        })
    }
}

/// A time as WorkOS writes it: with milliseconds.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The running stand-in. Stops when dropped.
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
}

struct Shared {
    address: SocketAddr,
    key: SecretString,
    client_id: Mutex<Option<String>>,
    authkit: AuthKit,
    clock: Arc<dyn Clock>,
    codes: Mutex<HashMap<String, MagicAuth>>,
    /// Everything that happened, oldest first.
    history: Mutex<Vec<MagicAuth>>,
    instead: Mutex<VecDeque<Override>>,
    quota: Mutex<Option<Quota>>,
    reads: watch::Sender<Vec<(String, Timestamp)>>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StandIn {
    /// Serves on `listener`; reads must bring `key`.
    pub fn start(
        listener: TcpListener,
        key: SecretString,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            address,
            key,
            client_id: Mutex::default(),
            authkit: AuthKit::default(),
            clock,
            codes: Mutex::default(),
            history: Mutex::default(),
            instead: Mutex::default(),
            quota: Mutex::default(),
            reads: watch::Sender::new(Vec::new()),
        });
        let handler = {
            let shared = Arc::clone(&shared);
            move |request| dated(Arc::clone(&shared), request)
        };
        let limits = Limits::new(4096, Duration::ZERO);
        let serving =
            http::serve(listener, limits, CancellationToken::new(), Arc::new(|_| {}), handler);
        Ok(Self { address, shared, server: tokio::spawn(serving).abort_handle() })
    }

    /// The base URL that the API is served under.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a code for `email`, as if somebody had asked for one.
    pub fn make_code(&self, email: &str) -> MagicAuth {
        self.make_code_for(email, LIFE)
    }

    /// The same, for a code that lives this long.
    pub fn make_code_for(&self, email: &str, life: SignedDuration) -> MagicAuth {
        make_code(&self.shared, email, life)
    }

    /// The same, for a code that was created this long ago.
    pub fn make_old_code(&self, email: &str, age: SignedDuration) -> MagicAuth {
        let made_at = self.shared.clock.now().saturating_sub(age).unwrap_or(Timestamp::MIN);
        make_code_at(&self.shared, email, made_at, LIFE)
    }

    /// Signs people in for this client only, instead of for any client.
    pub fn for_client(&self, client_id: &str) {
        *self.shared.client_id.lock() = Some(client_id.to_owned());
    }

    /// Sets where webhooks for codes requested on its pages are posted.
    pub fn post_webhooks_to(&self, url: &str, secret: SecretString) {
        *self.shared.authkit.webhooks.lock() = Some(Webhooks { url: url.to_owned(), secret });
    }

    /// Makes a person a member, or changes the status of the membership: "active", "inactive",
    /// "pending".
    pub fn set_membership(&self, email: &str, organization: &str, status: &str) {
        self.shared.authkit.set_membership(email, organization, status, self.shared.clock.now());
    }

    /// The user id that belongs to this address.
    pub fn user_id(&self, email: &str) -> String {
        self.shared.authkit.user_id(email, self.shared.clock.now())
    }

    /// Sets the language of the person with this address, as WorkOS knows it.
    pub fn set_locale(&self, email: &str, locale: &str) {
        self.shared.authkit.set_locale(email, locale);
    }

    /// Answers 429 to what is over `most` requests in any `window`.
    pub fn enforce_quota(&self, most: usize, window: Duration) {
        *self.shared.quota.lock() = Some(Quota::new(most, window));
    }

    /// A session token with these claims and no others, and with these critical headers.
    pub fn token(&self, claims: &Value, critical: &[&str]) -> String {
        self.shared.authkit.token(claims, critical)
    }

    /// Has this colleague act as the people who sign in from now on.
    pub fn set_impersonator(&self, email: &str) {
        self.shared.authkit.set_impersonator(email);
    }

    /// Sets these claims in every session token that is made from now on.
    pub fn set_claims(&self, claims: &Value) {
        self.shared.authkit.set_claims(claims);
    }

    /// Signs tokens with another key from now on.
    pub fn rotate_keys(&self) {
        self.shared.authkit.rotate_keys();
    }

    /// The next calls of this kind are answered like this, in order.
    pub fn answer_call_instead(&self, call: Call, answers: impl IntoIterator<Item = Override>) {
        self.shared.authkit.answer_instead(call, answers);
    }

    /// The body, or the query, of every call of this kind so far.
    pub fn calls(&self, call: Call) -> Vec<String> {
        self.shared.authkit.calls(call)
    }

    /// Signs `email` in, as its pages do when somebody has typed the right code: where the browser
    /// that was sent to `authorize` goes next. `None` if there is nowhere to go.
    pub fn approve(&self, authorize: &url::Url, email: &str) -> Option<url::Url> {
        self.shared.authkit.approve(authorize, email, self.shared.clock.now())
    }

    /// Replaces the digits of a code.
    pub fn change_code(&self, id: &str, code: &str) {
        if let Some(made) = self.shared.codes.lock().get_mut(id) {
            code.clone_into(&mut made.code);
        }
    }

    /// Changes when a code ends, or forgets it (`None`), as a redemption would.
    pub fn change_end(&self, id: &str, expires_at: Option<Timestamp>) {
        let mut codes = self.shared.codes.lock();
        match expires_at {
            None => drop(codes.remove(id)),
            Some(end) => {
                if let Some(code) = codes.get_mut(id) {
                    code.expires_at = end;
                }
            }
        }
    }

    /// The next reads are answered like this, in order.
    pub fn answer_instead(&self, answers: impl IntoIterator<Item = Override>) {
        self.shared.instead.lock().extend(answers);
    }

    /// Every read so far: which id, and when.
    pub fn reads(&self) -> Vec<(String, Timestamp)> {
        self.shared.reads.borrow().clone()
    }

    /// Returns once there were `count` reads.
    pub async fn reached(&self, count: usize) {
        let mut reads = self.shared.reads.subscribe();
        // Fails only when the sender is gone, and we hold it.
        drop(reads.wait_for(|reads| reads.len() >= count).await);
    }
}

/// Every answer has a `Date` header, from the stand-in's clock.
async fn dated(shared: Arc<Shared>, request: Received) -> Answer {
    let mut answer = answer(Arc::clone(&shared), request).await;
    let date = httpdate::fmt_http_date(SystemTime::from(shared.clock.now()));
    if let Ok(date) = HeaderValue::try_from(date) {
        answer.headers_mut().insert(DATE, date);
    }
    answer
}

/// A request with its whole body.
struct Asked {
    method: Method,
    path: String,
    query: String,
    authorized: bool,
    body: String,
}

async fn answer(shared: Arc<Shared>, request: Received) -> Answer {
    let expected = format!("Bearer {}", shared.key.expose_secret());
    let authorized = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes)
        == Some(expected.as_bytes());
    let (head, body) = request.into_parts();
    let Ok(body) = Bodies::new(MAX_BODY, 64).read(body).await else {
        return refuse(StatusCode::BAD_REQUEST, "Bad Request");
    };
    if shared.quota.lock().as_mut().is_some_and(|quota| !quota.take()) {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
    }
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        authorized,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    match asked.path.strip_prefix("/user_management/magic_auth/") {
        Some(id) if asked.method == Method::GET => magic_auth(&shared, id, authorized).await,
        _ if asked.method == Method::GET && asked.path == "/events" => {
            events::answer(&shared, &asked)
        }
        _ => sign_in::answer(&shared, &asked)
            .await
            .unwrap_or_else(|| refuse(StatusCode::NOT_FOUND, "Not Found")),
    }
}

async fn magic_auth(shared: &Shared, id: &str, authorized: bool) -> Answer {
    shared.reads.send_modify(|reads| reads.push((id.to_owned(), shared.clock.now())));
    let instead = shared.instead.lock().pop_front();
    if let Some(answer) = carry_out(instead).await {
        return answer;
    }
    if !authorized {
        return refuse(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let found = shared.codes.lock().get(id).map(MagicAuth::object);
    match found {
        Some(object) => http::json(StatusCode::OK, &object),
        None => refuse(StatusCode::NOT_FOUND, "Magic Auth not found"),
    }
}

fn make_code(shared: &Shared, email: &str, life: SignedDuration) -> MagicAuth {
    make_code_at(shared, email, shared.clock.now(), life)
}

fn make_code_at(shared: &Shared, email: &str, now: Timestamp, life: SignedDuration) -> MagicAuth {
    let random = ulid(now);
    let made = MagicAuth {
        id: format!("magic_auth_{}", ulid(now)),
        event_id: format!("event_{}", ulid(now)),
        user_id: shared.authkit.user_id(email, now),
        email: email.to_owned(),
        code: format!("{:06}", random.random() % 1_000_000),
        created_at: now,
        expires_at: now.saturating_add(life).unwrap_or(Timestamp::MAX),
    };
    shared.codes.lock().insert(made.id.clone(), made.clone());
    shared.history.lock().push(made.clone());
    made
}

fn refuse(status: StatusCode, message: &str) -> Answer {
    http::json(status, &json!({ "message": message }))
}
