//! What the handlers of requests share.

use std::sync::{Arc, OnceLock};

use domain::{clock::Clock, queue::Publish, webhook::WebhookKeys};
use runtime::{
    health::Health, http::Bodies, live::Live, log_throttle::LogThrottle, metrics::Metrics,
};

use crate::{proxies::Proxies, sign_in::SignInService};

/// Largest body of a webhook, in bytes. WorkOS's are under 1 KiB.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// Most bodies of over 16 KiB read at once: 16 MiB together.
const LARGE_BODIES: usize = 64;

/// The ingress: what it publishes to, and what it answers with.
pub struct Ingress {
    pub(crate) publish: Arc<dyn Publish>,
    pub(crate) keys: Live<WebhookKeys>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) bodies: Bodies,
    pub(crate) sign_in: Option<Arc<SignInService>>,
    pub(crate) login_page: bool,
    /// The health of the process, once everything has been started.
    pub(crate) health: Arc<OnceLock<Arc<Health>>>,
    pub(crate) proxies: Proxies,
    pub(crate) rejected_log: LogThrottle,
    pub(crate) unavailable_log: LogThrottle,
    pub(crate) forwarded_log: LogThrottle,
}

impl Ingress {
    /// Accepts webhooks signed with one of `keys`, also through `proxies`.
    pub fn new(
        publish: Arc<dyn Publish>,
        keys: Live<WebhookKeys>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        proxies: Proxies,
    ) -> Self {
        Self {
            publish,
            keys,
            clock,
            metrics,
            bodies: Bodies::new(MAX_BODY, LARGE_BODIES),
            sign_in: None,
            login_page: false,
            health: Arc::default(),
            proxies,
            rejected_log: LogThrottle::default(),
            unavailable_log: LogThrottle::default(),
            forwarded_log: LogThrottle::default(),
        }
    }

    /// Answers `/healthz` by the health of the process, too.
    #[must_use]
    pub fn with_health(self, health: Arc<OnceLock<Arc<Health>>>) -> Self {
        Self { health, ..self }
    }

    /// Adds signing in, and the login page if `page`.
    #[must_use]
    pub fn with_sign_in(self, sign_in: SignInService, page: bool) -> Self {
        Self { sign_in: Some(Arc::new(sign_in)), login_page: page, ..self }
    }
}
