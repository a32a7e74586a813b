//! Codes by id: the one call that mails need.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    clock::Clock as _,
    codes::CodeSource,
    fault::{Fault, Reason},
    ids::MagicAuthId,
    login_code::LoginCode,
};
use hyper::header::RETRY_AFTER;
use runtime::{
    metrics::{Metrics, labels::WorkosResult},
    tls::Trust,
    trace::{self, Server},
};
use tokio::time::{Duration, Instant};
use tracing::Span;

use super::{
    answer,
    api::{self, Api, ApiConfig},
    clock::WorkosClock,
    gate::Gate,
    users::WorkosUsers,
};

/// Longest wait for our own rate limit, or for the end of a 429, before the event goes back to the
/// queue.
pub const LONGEST_WAIT_AT_GATE: Duration = Duration::from_secs(5);

/// Adapter of [`CodeSource`]. One per process: its gate keeps all tasks within one rate limit.
pub struct Workos {
    api: Arc<Api>,
    gate: Arc<Gate>,
    server: Server,
    clock: Arc<WorkosClock>,
    metrics: Arc<Metrics>,
}

impl Workos {
    /// Connects at first use. `rate` is the most reads per second; 0 for no limit.
    pub fn new(
        config: &ApiConfig,
        rate: u32,
        trust: &Trust,
        clock: Arc<WorkosClock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (api, server) = (Arc::new(Api::new(config, trust)), Server::of(&config.url));
        Self { api, gate: Arc::new(Gate::new(rate)), server, clock, metrics }
    }

    /// The languages of users, read over the same connections and within the same rate limit.
    /// `remembered` is how long an answer is good for.
    pub fn users(&self, remembered: Duration) -> WorkosUsers {
        WorkosUsers::new(Arc::clone(&self.api), Arc::clone(&self.gate), remembered)
    }

    async fn fetch(&self, id: &MagicAuthId, span: &Span) -> Result<LoginCode, Fault> {
        // The alphabet of ids needs no escaping.
        let response = self.api.get(&format!("/user_management/magic_auth/{id}")).await?;
        if let Some(date) = answer::date(response.headers()) {
            self.clock.compare(date);
        }
        let status = response.status();
        trace::http_status(span, status.as_u16());
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| answer::retry_after(value, self.clock.now()));
        if let Some(fault) = answer::refusal(status, retry_after) {
            if fault.reason == Reason::WorkosRateLimited {
                self.gate.close_for(retry_after.unwrap_or(answer::DEFAULT_HOLD));
            }
            return Err(fault);
        }
        answer::login_code(&api::body(response).await?, id)
    }
}

#[async_trait]
impl CodeSource for Workos {
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault> {
        self.gate.enter(LONGEST_WAIT_AT_GATE).await?;
        let (begun, span) = (Instant::now(), trace::read_code(&self.server, id));
        let result = trace::within(&span, self.api.in_time(self.fetch(id, &span))).await;
        self.metrics.workos(label(&result), begun.elapsed());
        result
    }
}

fn label(result: &Result<LoginCode, Fault>) -> WorkosResult {
    match result {
        Ok(_) => WorkosResult::Ok,
        Err(fault) => match fault.reason {
            Reason::NotFound => WorkosResult::NotFound,
            Reason::WorkosRateLimited => WorkosResult::RateLimited,
            Reason::WorkosUnauthorized => WorkosResult::Unauthorized,
            Reason::WorkosUnavailable => WorkosResult::Unavailable,
            _ => WorkosResult::BadAnswer,
        },
    }
}
