//! Signing in: the exchange of a code or a refresh token, and memberships
//! (<https://workos.com/docs/reference/authkit>).

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    fault::{Fault, Reason},
    sign_in::{
        person::Membership,
        provider::{AuthorizationCode, SignInProvider, Tokens, Visitor},
        refusal::{self, Refusal},
    },
};
use hyper::{Response, body::Incoming, header::RETRY_AFTER};
use runtime::tls::Trust;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    answer,
    api::{self, Api, ApiConfig},
};

/// Memberships per page; the most that WorkOS returns.
const PAGE: usize = 100;

/// Most pages read: nobody is in more organizations than these hold.
const MAX_PAGES: usize = 20;

/// Attempts at each page. The code is redeemed by then: giving up costs the person a whole new
/// sign-in.
const TRIES: usize = 3;

/// The [`SignInProvider`] that is WorkOS AuthKit.
pub struct WorkosSignIn {
    api: Api,
    client_id: String,
    clock: Arc<dyn Clock>,
}

/// `POST /user_management/authenticate`. WorkOS's own libraries send `null` for a missing value;
/// here it is left out.
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
    AuthorizationCode {
        code: &'a str,
        code_verifier: &'a str,
    },
    RefreshToken {
        refresh_token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        organization_id: Option<&'a str>,
    },
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
    /// Connects at first use. `client_id` is that of the environment (`client_…`).
    pub fn new(config: &ApiConfig, client_id: &str, trust: &Trust, clock: Arc<dyn Clock>) -> Self {
        Self { api: Api::new(config, trust), client_id: client_id.to_owned(), clock }
    }

    async fn authenticate(&self, grant: Grant<'_>, visitor: &Visitor) -> Result<Tokens, Refusal> {
        let key = self.api.key();
        let request = Authenticate {
            client_id: &self.client_id,
            client_secret: key.secret().expose_secret(),
            grant,
            ip_address: visitor.address,
            user_agent: visitor.user_agent.as_deref(),
        };
        // Strings only: serialization cannot fail.
        let body = serde_json::to_vec(&request).unwrap_or_default();
        self.api
            .in_time(async {
                self.read_json(self.api.post_once("/user_management/authenticate", body).await?)
                    .await
            })
            .await
    }

    /// Retries a page at once if WorkOS was unavailable. `Retry-After` is ignored: a person is
    /// waiting.
    async fn page(&self, path: &str) -> Result<Page, Fault> {
        let mut result = self.page_once(path).await;
        for _ in 1..TRIES {
            match &result {
                Err(fault) if fault.reason == Reason::WorkosUnavailable => {
                    result = self.page_once(path).await;
                }
                _ => break,
            }
        }
        result
    }

    async fn page_once(&self, path: &str) -> Result<Page, Fault> {
        let page = self.api.in_time(async { self.read_json(self.api.get(path).await?).await });
        page.await.map_err(|refusal| match refusal {
            Refusal::Fault(fault) => fault,
            // A refusal about a person, where none was being authenticated.
            _ => Fault::doubtful(
                Reason::WorkosBadAnswer,
                "the answer is a refusal that does not belong to the request",
            ),
        })
    }

    async fn read_json<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, Refusal> {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| answer::retry_after(value, self.clock.now()));
        let body = api::body(response).await?;
        if status != 200 {
            return Err(refusal::parse_refusal(status, &body, retry_after));
        }
        // serde_json's message may repeat a part of the answer, so it is not kept.
        let bad_answer = |_| {
            Refusal::Fault(Fault::doubtful(
                Reason::WorkosBadAnswer,
                "the answer has an unexpected form",
            ))
        };
        serde_json::from_slice(&body).map_err(bad_answer)
    }
}

#[async_trait]
impl SignInProvider for WorkosSignIn {
    async fn exchange(
        &self,
        code: AuthorizationCode,
        verifier: &str,
        visitor: &Visitor,
    ) -> Result<Tokens, Refusal> {
        self.authenticate(
            Grant::AuthorizationCode { code: code.expose(), code_verifier: verifier },
            visitor,
        )
        .await
    }

    async fn refresh(
        &self,
        token: &SecretString,
        organization: Option<&str>,
        visitor: &Visitor,
    ) -> Result<Tokens, Refusal> {
        let refresh_token = token.expose_secret();
        let grant = Grant::RefreshToken { refresh_token, organization_id: organization };
        self.authenticate(grant, visitor).await
    }

    async fn memberships(&self, user_id: &str) -> Result<Vec<Membership>, Fault> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.page(&memberships_path(user_id, after.as_deref())).await?;
            all.extend(page.data);
            after = page.list_metadata.after;
            if after.is_none() {
                return Ok(all);
            }
        }
        Err(Fault::doubtful(Reason::WorkosBadAnswer, "the list of memberships does not end"))
    }
}

fn memberships_path(user_id: &str, after: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("user_id", user_id).append_pair("limit", &PAGE.to_string());
    // Without this only active memberships are listed, and nobody would ever appear as deactivated.
    query.append_pair("statuses", "active,inactive,pending");
    if let Some(after) = after {
        query.append_pair("after", after);
    }
    format!("/user_management/organization_memberships?{}", query.finish())
}
