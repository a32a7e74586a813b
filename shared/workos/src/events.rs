//! WorkOS's list of past events (<https://workos.com/docs/events/list>): what a webhook should have
//! delivered and did not.

use async_trait::async_trait;
use domain::{
    event::{EventKind, QueuedEvent},
    event_log::EventLog,
    fault::{Fault, Reason},
    payload::{self, VerifiedEvent},
};
use hyper::header::RETRY_AFTER;
use jiff::Timestamp;
use runtime::tls::Trust;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    answer,
    api::{self, Api, ApiConfig},
};

/// Events per page; the most that WorkOS returns.
const PAGE: usize = 100;

/// Most pages read by one call: at WorkOS's own limit of codes, ten minutes fill 600. The next call
/// reads on.
const MAX_PAGES: usize = 50;

/// The [`EventLog`] of WorkOS's events API.
pub struct WorkosEvents {
    api: Api,
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
    /// Connects at first use. The timeout of `config` is for one page.
    pub fn new(config: &ApiConfig, trust: &Trust) -> Self {
        Self { api: Api::new(config, trust) }
    }

    async fn page(
        &self,
        path: &str,
        now: Timestamp,
    ) -> Result<(Vec<QueuedEvent>, Option<String>), Fault> {
        let response = self.api.get(path).await?;
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| answer::retry_after(value, now));
        if let Some(fault) = answer::refusal(response.status(), retry_after) {
            return Err(fault);
        }
        let body = api::body(response).await?;
        let bad_answer =
            |_| Fault::doubtful(Reason::WorkosBadAnswer, "the answer is not a list of events");
        let page: Page<'_> = serde_json::from_slice(&body).map_err(bad_answer)?;
        let mailable = |event: &&RawValue| match payload::parse_event(event.get().as_bytes(), now) {
            Ok(VerifiedEvent::Mailable(event)) => Some(event),
            _ => None,
        };
        Ok((page.data.iter().filter_map(mailable).collect(), page.list_metadata.after))
    }
}

#[async_trait]
impl EventLog for WorkosEvents {
    async fn since(&self, from: Timestamp, now: Timestamp) -> Result<Vec<QueuedEvent>, Fault> {
        let mut all = Vec::new();
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let path = path(from, after.as_deref());
            let (events, next) = self.api.in_time(self.page(&path, now)).await?;
            all.extend(events);
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(all)
    }
}

/// `range_start` and `after` exclude each other: the first page is requested by time, the others by
/// where the last ended.
fn path(from: Timestamp, after: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("events", EventKind::MagicAuthCreated.name())
        .append_pair("order", "asc")
        .append_pair("limit", &PAGE.to_string());
    match after {
        Some(after) => query.append_pair("after", after),
        None => query.append_pair("range_start", &from.to_string()),
    };
    format!("/events?{}", query.finish())
}
