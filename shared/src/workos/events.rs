//! WorkOS's own list of what happened (<https://workos.com/docs/events/list>): for what a webhook should have brought and
//! did not.

use std::time::Duration;

use async_trait::async_trait;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use rustls::ClientConfig;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    SettingsError, answer,
    api::{self, Api},
    bearer,
};
use crate::{
    event::{EventKind, QueuedEvent},
    fault::{Fault, Reason},
    payload::{self, VerifiedEvent},
};

/// Events asked for at once; the most WorkOS gives.
const PAGE: usize = 100;

/// Pages read in one look: at WorkOS's own limit of codes, ten minutes are 600 of them. What is beyond is looked at by the next.
const MOST_PAGES: usize = 50;

/// Where events can be looked up.
#[async_trait]
pub trait Events: Send + Sync {
    /// The events a mail follows from that happened since `from`, oldest first.
    async fn since(&self, from: Timestamp, now: Timestamp) -> Result<Vec<QueuedEvent>, Fault>;
}

/// Adapter of [`Events`].
pub struct WorkosEvents {
    api: Api,
    authorization: HeaderValue,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    list_metadata: ListMetadata,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    after: Option<String>,
}

impl WorkosEvents {
    /// Connects at first use. `timeout` is for one page.
    pub fn new(base_url: &url::Url, api_key: &SecretString, timeout: Duration, tls: &ClientConfig) -> Result<Self, SettingsError> {
        Ok(Self { api: Api::new(base_url, tls), authorization: bearer(api_key)?, timeout })
    }

    async fn page(&self, path: &str, now: Timestamp) -> Result<(Vec<QueuedEvent>, Option<String>), Fault> {
        let response = self.api.get(path, |request| request.header(AUTHORIZATION, self.authorization.clone())).await?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| answer::retry_after(value, now));
        if let Some(fault) = answer::refusal(response.status(), retry_after) {
            return Err(fault);
        }
        let body = api::body(response).await?;
        let strange = |_| Fault::doubtful(Reason::WorkosBadAnswer, "a 200 that is not a list of events");
        let page: Page<'_> = serde_json::from_slice(&body).map_err(strange)?;
        let mailable = |event: &&RawValue| match payload::read(event.get().as_bytes(), now) {
            Ok(VerifiedEvent::Mailable(event)) => Some(event),
            _ => None,
        };
        Ok((page.data.iter().filter_map(mailable).collect(), page.list_metadata.after))
    }
}

#[async_trait]
impl Events for WorkosEvents {
    async fn since(&self, from: Timestamp, now: Timestamp) -> Result<Vec<QueuedEvent>, Fault> {
        let mut all = Vec::new();
        let mut after = None;
        for _ in 0..MOST_PAGES {
            let path = path(from, after.as_deref());
            let (events, next) =
                timeout(self.timeout, self.page(&path, now)).await.unwrap_or_else(|_| Err(answer::unreachable("no answer in time")))?;
            all.extend(events);
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(all)
    }
}

/// `range_start` and `after` exclude each other: the first page is asked for by time, the others by where the last ended.
fn path(from: Timestamp, after: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("events", EventKind::MagicAuthCreated.name()).append_pair("order", "asc").append_pair("limit", &PAGE.to_string());
    match after {
        Some(after) => query.append_pair("after", after),
        None => query.append_pair("range_start", &from.to_string()),
    };
    format!("/events?{}", query.finish())
}
