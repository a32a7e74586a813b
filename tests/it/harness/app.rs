//! The whole product in this process, as the composition root builds it, between a WorkOS stand-in and an inbox.

use std::{net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration};

use authpost::{
    config::settings::{Distributed, Embedded, Engine, Ingress, Process, Worker},
    service,
};
use jiff::{SignedDuration, Timestamp};
use lapin::{
    options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, Manners},
    readable::{self, Readable},
    workos::{MagicAuth, Posted, StandIn, post},
};
use secrecy::SecretString;
use shared::{
    address::EmailAddress,
    clock::{Clock, SystemClock},
    dedupe::outage::WhenAway,
    metrics::Metrics,
    queue::rabbitmq::Names,
    retry::STAGES,
    telemetry::LogFormat,
    tls,
    webhook::WebhookKeys,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        smtp::{RelayUrl, Timeouts},
    },
};

use super::{account::Exposition, eventually, in_time, services::Services};

pub const SECRET: &str = "whsec_test";
pub const API_KEY: &str = "sk_test_key";

/// How an app is to be.
pub struct Setup {
    pub worker: Box<dyn FnOnce(&mut Worker) + Send>,
    pub queue_max: u64,
    services: Option<Urls>,
}

#[derive(Clone)]
struct Urls {
    amqp: String,
    redis: String,
}

/// A running app. `finish` it: an app that is only dropped fails its test.
pub struct App {
    pub workos: StandIn,
    pub inbox: Inbox,
    pub clock: Arc<ManualClock>,
    pub metrics: Arc<Metrics>,
    pub public: std::net::SocketAddr,
    pub admin: std::net::SocketAddr,
    pub folder: tempfile::TempDir,
    broker: Option<Broker>,
    stop: CancellationToken,
    process: JoinHandle<ExitCode>,
    finished: bool,
}

/// What this app has at the broker.
struct Broker {
    url: String,
    prefix: String,
}

impl Setup {
    pub fn embedded() -> Self {
        Self { worker: Box::new(|_| {}), queue_max: 10_000, services: None }
    }

    /// On the RabbitMQ and Redis that all tests share.
    pub fn distributed() -> Self {
        let shared = Services::shared();
        Self::on(shared.amqp_url(), shared.redis_url())
    }

    /// On others.
    pub fn on(amqp: &str, redis: &str) -> Self {
        Self { services: Some(Urls { amqp: amqp.to_owned(), redis: redis.to_owned() }), ..Self::embedded() }
    }

    pub fn worker(mut self, change: impl FnOnce(&mut Worker) + Send + 'static) -> Self {
        self.worker = Box::new(change);
        self
    }

    pub async fn start(self) -> App {
        tls::install_provider();
        let Self { worker: change, queue_max, services } = self;
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let workos = StandIn::start(free_port().await, SecretString::from(API_KEY.to_owned()), clock.clone()).expect("starts");
        let inbox = Inbox::start(free_port().await, Manners::default(), clock.clone()).expect("starts");
        let folder = tempfile::tempdir().expect("a folder");
        let mut worker = worker(&workos.url(), &format!("smtp://{}?tls=none", inbox.address()));
        change(&mut worker);
        let prefix = fresh_prefix();
        let broker = services.as_ref().map(|urls| Broker { url: urls.amqp.clone(), prefix: prefix.clone() });
        let engine = match services {
            None => Engine::Embedded(Embedded { data_dir: folder.path().to_owned(), queue_max }),
            Some(Urls { amqp, redis }) => Engine::Distributed(Distributed {
                amqp_url: SecretString::from(amqp),
                redis_url: SecretString::from(redis),
                prefix,
                queue_max,
            }),
        };
        let stop = CancellationToken::new();
        let service = service::serve((ingress(), worker, engine, process()), clock.clone(), stop.clone()).await.expect("starts");
        let (public, admin) = (service.public.expect("a front"), service.admin);
        let metrics = Arc::clone(&service.metrics);
        let app = App {
            workos,
            inbox,
            clock,
            metrics,
            public,
            admin,
            folder,
            broker,
            stop,
            process: tokio::spawn(service.run()),
            finished: false,
        };
        app.is_ready().await;
        app
    }
}

/// Unlike every other, so that tests share a broker without meeting.
pub fn fresh_prefix() -> String {
    format!("test-{}", ulid::Ulid::generate()).to_lowercase()
}

pub async fn free_port() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
}

fn ingress() -> Ingress {
    let keys = WebhookKeys::new(&[SecretString::from(SECRET.to_owned())]).expect("not empty");
    Ingress { listen: (Ipv4Addr::LOCALHOST, 0).into(), keys, max_connections: 512 }
}

fn process() -> Process {
    let admin_listen = (Ipv4Addr::LOCALHOST, 0).into();
    Process { admin_listen, log: LogFormat::Text, log_levels: String::new(), grace: Duration::from_secs(20), extra_ca: None }
}

/// Settings with short timeouts, so that a stalled dependency costs a test a second or two, and long enough that a busy
/// machine does not look like a stalled one.
fn worker(api_url: &str, smtp_url: &str) -> Worker {
    Worker {
        api_key: SecretString::from(API_KEY.to_owned()),
        api_url: api_url.parse().expect("a URL"),
        workos_timeout: Duration::from_secs(1),
        workos_rate: 0,
        relay: RelayUrl::parse(&SecretString::from(smtp_url.to_owned())).expect("a relay"),
        smtp_timeouts: Timeouts { connect: Duration::from_secs(1), command: Duration::from_secs(1), last: Duration::from_secs(2) },
        hello: "authpost.test".to_owned(),
        sender: Sender { name: Some("Acme".to_owned()), address: EmailAddress::parse("login@acme.example").expect("valid") },
        app_name: "Acme".to_owned(),
        template_dir: None,
        concurrency: 16,
        dedupe_ttl: Duration::from_secs(3 * 24 * 3600),
        when_away: WhenAway::Hold,
        on_ambiguity: OnAmbiguity::Resend,
    }
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
        post(&self.webhook_url(), &SecretString::from(SECRET.to_owned()), body, self.clock.now()).await.expect("an answer")
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
        eventually(&what, async || (self.exposition().outcome(outcome, reason) >= count).then_some(())).await;
    }

    /// Moves the clock. The embedded engine's retries fall due by it.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
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
        // Who waits in vain wants to know for what.
        assert!(tokio::time::timeout(super::PATIENCE, becoming).await.is_ok(), "never ready: {last}");
    }

    /// Everything accepted has ended; nothing waits; the process ends cleanly; every ordered misdeed was committed.
    pub async fn finish(self) {
        let accepted = self.exposition().webhooks("accepted");
        self.finish_with(accepted).await;
    }

    /// The same, where messages came by other ways than the front.
    pub async fn finish_with(mut self, messages: u64) {
        self.finished = true;
        eventually("every event has ended", async || (self.exposition().ended() >= messages).then_some(())).await;
        let exposition = self.exposition();
        assert_eq!(exposition.ended(), messages, "sent + duplicate + expired + dead is not what came in");
        assert_eq!(exposition.count("authpost_in_flight"), 0);
        assert_eq!(self.inbox.open_orders(), 0, "the inbox was never asked to misbehave as ordered");
        eventually("nothing waits", async || {
            let exposition = self.exposition();
            let waits = |part: &str| exposition.count(&format!("authpost_queue_depth{{queue=\"{part}\"}}"));
            (waits("work") + waits("retry") == 0 && waits("dead") == exposition.outcomes("dead")).then_some(())
        })
        .await;
        self.stop().await;
    }

    /// Stops the process, which must end cleanly.
    pub async fn stop(&mut self) {
        self.finished = true;
        self.stop.cancel();
        let ended = in_time("the process ends", &mut self.process).await.expect("no panic");
        assert_eq!(ended, ExitCode::SUCCESS, "the process did not end cleanly");
        if let Some(Broker { url, prefix }) = self.broker.take() {
            delete_queues(&url, &prefix).await;
        }
    }
}

/// How many messages are ready in one queue of the shared broker.
pub async fn ready_in(queue: &str) -> u32 {
    let url = Services::shared().amqp_url();
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let ready = channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("declared").message_count();
    connection.close(200, "bye".into()).await.expect("closed");
    ready
}

/// Whether a test's queues, but for the dead letters, hold nothing that is ready: asked of the broker itself.
pub async fn queues_are_empty(url: &str, prefix: &str) -> bool {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let mut ready = 0;
    for queue in waiting_queues(prefix) {
        ready += channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("declared").message_count();
    }
    connection.close(200, "bye".into()).await.expect("closed");
    ready == 0
}

fn waiting_queues(prefix: &str) -> Vec<String> {
    let names = Names::new(prefix, 1);
    let retries = STAGES.into_iter().map(|stage| names.retry(stage));
    [names.work(), names.late(), names.unrouted()].into_iter().chain(retries).collect()
}

/// Takes a test's queues off the broker; messages left in any but the dead letters' fail the test.
pub async fn delete_queues(url: &str, prefix: &str) {
    let names = Names::new(prefix, 1);
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    for queue in waiting_queues(prefix) {
        let left = channel.queue_delete(queue.clone().into(), QueueDeleteOptions::default()).await.expect("deleted");
        assert_eq!(left, 0, "messages were left in {queue}");
    }
    channel.queue_delete(names.dead().into(), QueueDeleteOptions::default()).await.expect("deleted");
    channel.exchange_delete(names.events().into(), ExchangeDeleteOptions::default()).await.expect("deleted");
    connection.close(200, "bye".into()).await.expect("closed");
}

impl Drop for App {
    fn drop(&mut self) {
        assert!(self.finished || std::thread::panicking(), "an app was dropped without being finished");
    }
}
