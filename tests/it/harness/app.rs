//! The whole product in this process, as the composition root builds it, between a WorkOS stand-in
//! and an inbox.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use domain::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use runtime::{clock::SystemClock, metrics::Metrics, random::ulid};
use sandbox::{
    clock::ManualClock,
    inbox::Inbox,
    readable::{self, Readable},
    workos::{MagicAuth, Posted, StandIn, post},
};
use secrecy::SecretString;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    account::Exposition,
    eventually, in_time,
    load::{self, Load},
    networks::Networks,
    queues::{delete_queues, ready_in, rows_left, waiting_queues},
};

pub use super::{
    networks::Urls,
    settings::{API_KEY, SECRET, engine, ingress, process, worker},
    setup::Setup,
};

/// A running app. `finish` it: an app that is only dropped fails its test.
pub struct App {
    pub workos: Arc<StandIn>,
    pub inbox: Inbox,
    pub clock: Arc<ManualClock>,
    pub metrics: Arc<Metrics>,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub folder: tempfile::TempDir,
    pub(super) broker: Option<Broker>,
    pub(super) networks: Option<Networks>,
    pub(super) stop: CancellationToken,
    pub(super) process: JoinHandle<ExitCode>,
    pub(super) finished: bool,
    /// How many acknowledgements a broker that was killed may not have seen.
    pub redelivered: u64,
}

/// The queues of an app at a broker.
pub(super) struct Broker {
    pub(super) url: String,
    pub(super) prefix: String,
}

/// A unique prefix, so that tests can share a broker.
pub fn fresh_prefix() -> String {
    format!("test-{}", ulid(SystemClock.now())).to_lowercase()
}

pub async fn free_port() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
}

impl App {
    pub async fn embedded() -> Self {
        Setup::embedded().start().await
    }

    pub async fn distributed() -> Self {
        Setup::distributed().start().await
    }

    /// The prefix of this app's queues, if they are at a broker.
    pub fn prefix(&self) -> Option<&str> {
        self.broker.as_ref().map(|broker| broker.prefix.as_str())
    }

    /// Makes the harness reach the broker by another URL than the app does.
    pub fn inspect_broker_at(&mut self, url: &str) {
        url.clone_into(&mut self.broker.as_mut().expect("an app on a broker").url);
    }

    pub fn webhook_url(&self) -> String {
        format!("http://{}/v1/workos_webhook/", self.public)
    }

    /// Somebody asks for a code; WorkOS posts the webhook.
    pub async fn ask(&self, email: &str) -> MagicAuth {
        let made = self.workos.make_code(email);
        let posted = self.post(&made).await;
        assert_eq!(posted.status, 200, "{}", posted.body);
        made
    }

    pub async fn post(&self, made: &MagicAuth) -> Posted {
        self.post_body(&made.event()).await
    }

    pub async fn post_body(&self, body: &str) -> Posted {
        post(&self.webhook_url(), &SecretString::from(SECRET.to_owned()), body, self.clock.now())
            .await
            .expect("an answer")
    }

    pub fn exposition(&self) -> Exposition {
        Exposition::parse(&self.metrics.expose())
    }

    /// Returns once the inbox has this many mails.
    pub async fn mails(&self, count: u64) -> Vec<Readable> {
        in_time("mails", self.inbox.reached(count)).await;
        self.inbox.mails().iter().map(|mail| readable::read(&mail.raw).expect("a mail")).collect()
    }

    /// Returns once this many deliveries ended so, for this reason.
    pub async fn outcome(&self, outcome: &str, reason: &str, count: u64) {
        let what = format!("{count} × {outcome} because of {reason}");
        eventually(&what, async || {
            (self.exposition().outcome(outcome, reason) >= count).then_some(())
        })
        .await;
    }

    /// Moves the clock. The embedded engine's retries fall due by it.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns once `/readyz` fails and names this dependency.
    pub async fn not_ready(&self, name: &str) {
        let what = format!("/readyz names {name}");
        eventually(&what, async || {
            let (status, body) = super::raw_http::get(self.admin, "/readyz").await;
            (status == 503 && body.contains(name)).then_some(())
        })
        .await;
    }

    pub async fn is_ready(&self) {
        let mut last = String::new();
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let becoming = async {
            loop {
                looks.tick().await;
                let (status, body) = super::raw_http::get(self.admin, "/readyz").await;
                last = body;
                if status == 200 {
                    return;
                }
            }
        };
        // On failure, the message shows what is missing.
        assert!(
            tokio::time::timeout(super::PATIENCE, becoming).await.is_ok(),
            "never ready: {last}"
        );
    }

    /// The ways to the dependencies of a faulty app.
    pub fn networks(&self) -> &Networks {
        self.networks.as_ref().expect("a faulty app")
    }

    /// People who ask, so many a second.
    pub fn load(&self, per_second: u32) -> Load {
        let sender = load::Sender {
            workos: Arc::clone(&self.workos),
            urls: vec![self.webhook_url()],
            clock: self.clock.clone(),
        };
        Load::start(sender, per_second)
    }

    /// Whether the queue itself holds nothing but dead letters.
    pub(super) async fn nothing_waits(&self) -> bool {
        match &self.broker {
            Some(Broker { url, prefix }) => ready_in(url, waiting_queues(prefix)).await == 0,
            None => rows_left(self.folder.path()) == 0,
        }
    }

    /// Stops the process, which must end cleanly.
    pub async fn stop(&mut self) {
        self.finished = true;
        self.stop.cancel();
        let ended = in_time("the process ends", &mut self.process).await.expect("no panic");
        assert_eq!(ended, ExitCode::SUCCESS, "the process did not end cleanly");
        match self.broker.take() {
            Some(Broker { url, prefix }) => delete_queues(&url, &prefix).await,
            None => assert_eq!(rows_left(self.folder.path()), 0, "messages were left in the file"),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "an app was dropped without being finished"
        );
    }
}
