//! WorkOS as the place where people sign in: the addresses a browser is sent to, the exchange of a code, memberships and
//! the keys of session tokens (<https://workos.com/docs/reference/authkit>).

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use hyper::{
    Response,
    body::Incoming,
    header::{AUTHORIZATION, HeaderValue, RETRY_AFTER},
};
use jsonwebtoken::jwk::JwkSet;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    SettingsError, answer,
    api::{self, Api},
    bearer,
};
use crate::{
    clock::Clock,
    fault::{Fault, Reason},
    sign_in::{
        person::{Membership, User},
        refusal::{self, Refusal},
    },
};

/// Memberships asked for at once; the most WorkOS gives.
const PAGE: usize = 100;

/// Pages read at most: nobody is in more organizations than this, and a listing without end is none.
const MOST_PAGES: usize = 20;

/// How often a listing is tried. The code is spent by then: giving up costs the person a whole new sign-in.
const TRIES: usize = 3;

/// An authorization code from a callback. Consumed by the one exchange it is good for.
pub struct AuthorizationCode(SecretString);

impl AuthorizationCode {
    /// `None` for what no code looks like: empty, very long, or not visible ASCII.
    pub fn parse(text: String) -> Option<Self> {
        let plain = (1..=1024).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Self(SecretString::from(text)))
    }
}

/// Whom WorkOS is told about: the person's address and browser, not ours.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// Where they are.
    pub address: Option<IpAddr>,
    /// What they use.
    pub user_agent: Option<String>,
}

/// What a code or a refresh token is good for. Prints without its tokens.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// Whose they are.
    pub user: User,
    /// The organization of the session, if it has one.
    #[serde(default)]
    pub organization_id: Option<String>,
    /// A signed token (JWT) that lives for minutes.
    pub access_token: SecretString,
    /// Gets the next ones. Good for one time.
    pub refresh_token: SecretString,
}

/// Where people sign in.
#[async_trait]
pub trait SignIn: Send + Sync {
    /// Redeems a code. Never tried twice: a second try could only find it used.
    async fn exchange(&self, code: AuthorizationCode, verifier: &str, visitor: &Visitor) -> Result<Tokens, Refusal>;

    /// Gets the next tokens. Not tried twice either: the token may be good for one time.
    async fn refresh(&self, token: &SecretString, visitor: &Visitor) -> Result<Tokens, Refusal>;

    /// All memberships of a user, whatever their status.
    async fn memberships(&self, user_id: &str) -> Result<Vec<Membership>, Fault>;

    /// The keys that session tokens are signed with.
    async fn key_set(&self) -> Result<JwkSet, Fault>;
}

/// How WorkOS is used for signing in.
pub struct Settings {
    /// `https://api.workos.com`, or a stand-in.
    pub base_url: url::Url,
    /// `sk_…`.
    pub api_key: SecretString,
    /// `client_…`.
    pub client_id: String,
    /// For one call, from connecting to the last byte.
    pub timeout: Duration,
}

/// Adapter of [`SignIn`].
pub struct WorkosSignIn {
    api: Api,
    api_key: SecretString,
    authorization: HeaderValue,
    client_id: String,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// `POST /user_management/authenticate`. WorkOS's own libraries send `null` for what is not set; it is left out here.
#[derive(Serialize)]
struct Authenticate<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    #[serde(flatten)]
    grant: Grant<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "grant_type", rename_all = "snake_case")]
enum Grant<'a> {
    AuthorizationCode { code: &'a str, code_verifier: &'a str },
    RefreshToken { refresh_token: &'a str },
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Membership>,
    #[serde(default)]
    list_metadata: ListMetadata,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    after: Option<String>,
}

impl WorkosSignIn {
    /// Connects at first use.
    pub fn new(settings: Settings, tls: &ClientConfig, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        let Settings { base_url, api_key, client_id, timeout } = settings;
        let authorization = bearer(&api_key)?;
        Ok(Self { api: Api::new(&base_url, tls), api_key, authorization, client_id, timeout, clock })
    }

    async fn authenticate(&self, grant: Grant<'_>, visitor: &Visitor) -> Result<Tokens, Refusal> {
        let request = Authenticate {
            client_id: &self.client_id,
            client_secret: self.api_key.expose_secret(),
            grant,
            ip_address: visitor.address,
            user_agent: visitor.user_agent.as_deref(),
        };
        // Text only: nothing here can fail to become JSON.
        let body = serde_json::to_vec(&request).unwrap_or_default();
        self.in_time(async {
            let response = self.api.post_once("/user_management/authenticate", body).await.map_err(Refusal::Fault)?;
            self.read(response).await
        })
        .await
    }

    /// Asks again at once where asking again may help. A wish to wait is not granted: a person is looking at the page.
    async fn patiently<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let mut result = self.get(path, true).await;
        for _ in 1..TRIES {
            match &result {
                Err(fault) if fault.reason == Reason::WorkosUnavailable => result = self.get(path, true).await,
                _ => break,
            }
        }
        result
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, authorized: bool) -> Result<T, Fault> {
        let dress = |request: hyper::http::request::Builder| {
            if authorized { request.header(AUTHORIZATION, self.authorization.clone()) } else { request }
        };
        let got = self.in_time(async {
            let response = self.api.get(path, dress).await.map_err(Refusal::Fault)?;
            self.read(response).await
        });
        got.await.map_err(|refusal| match refusal {
            Refusal::Fault(fault) => fault,
            // A refusal that is about a person, where nobody asked for one.
            _ => Fault::doubtful(Reason::WorkosBadAnswer, "a refusal that does not belong to the request"),
        })
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        timeout(self.timeout, call).await.unwrap_or_else(|_| Err(Refusal::Fault(answer::unreachable("no answer in time"))))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, Refusal> {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| answer::retry_after(value, self.clock.now()));
        let body = api::body(response).await.map_err(Refusal::Fault)?;
        if status != 200 {
            return Err(refusal::read(status, &body, retry_after));
        }
        // serde_json's message may repeat a part of the answer: only that it was strange is kept.
        let strange = |_| Refusal::Fault(Fault::doubtful(Reason::WorkosBadAnswer, "a 200 of another shape"));
        serde_json::from_slice(&body).map_err(strange)
    }
}

#[async_trait]
impl SignIn for WorkosSignIn {
    async fn exchange(&self, code: AuthorizationCode, verifier: &str, visitor: &Visitor) -> Result<Tokens, Refusal> {
        self.authenticate(Grant::AuthorizationCode { code: code.0.expose_secret(), code_verifier: verifier }, visitor).await
    }

    async fn refresh(&self, token: &SecretString, visitor: &Visitor) -> Result<Tokens, Refusal> {
        self.authenticate(Grant::RefreshToken { refresh_token: token.expose_secret() }, visitor).await
    }

    async fn memberships(&self, user_id: &str) -> Result<Vec<Membership>, Fault> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let path = memberships_path(user_id, after.as_deref());
            let page: Page = self.patiently(&path).await?;
            all.extend(page.data);
            after = page.list_metadata.after;
            if after.is_none() {
                return Ok(all);
            }
        }
        Err(Fault::doubtful(Reason::WorkosBadAnswer, Cow::Borrowed("a list of memberships without an end")))
    }

    async fn key_set(&self) -> Result<JwkSet, Fault> {
        self.get(&format!("/sso/jwks/{}", self.client_id), false).await
    }
}

fn memberships_path(user_id: &str, after: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("user_id", user_id).append_pair("limit", &PAGE.to_string());
    // Without this only active ones come back, and nobody would ever be seen to be deactivated.
    query.append_pair("statuses", "active,inactive,pending");
    if let Some(after) = after {
        query.append_pair("after", after);
    }
    format!("/user_management/organization_memberships?{}", query.finish())
}
