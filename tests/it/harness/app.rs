//! The whole product in this process, as the composition root builds it, between a WorkOS stand-in and an inbox.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use authpost::{
    config::settings::{Ingress, Process, SignIn, Worker},
    service,
};
use jiff::{SignedDuration, Timestamp};
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, Manners},
    readable::{self, Readable},
    workos::{MagicAuth, Posted, StandIn, post},
};
use secrecy::SecretString;
use shared::{
    clock::{Clock, SystemClock},
    metrics::Metrics,
    tls,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    account::Exposition,
    eventually, in_time,
    load::{self, Asked, Load},
    networks::{Networks, Ways},
    queues::{delete_queues, ready_in, rows_left, waiting_queues},
    services::Services,
    settings,
};
pub use super::{
    networks::Urls,
    settings::{API_KEY, SECRET, engine, ingress, process, worker},
};

type Change<T> = Box<dyn FnOnce(&mut T) + Send>;

/// How an app is to be.
pub struct Setup {
    pub worker: Change<Worker>,
    pub queue_max: u64,
    /// PEM of an authority to trust.
    pub extra_ca: Option<Vec<u8>>,
    sign_in: Option<Change<SignIn>>,
    services: Option<Urls>,
    faulty: bool,
}

/// A running app. `finish` it: an app that is only dropped fails its test.
pub struct App {
    pub workos: Arc<StandIn>,
    pub inbox: Inbox,
    pub clock: Arc<ManualClock>,
    pub metrics: Arc<Metrics>,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub folder: tempfile::TempDir,
    broker: Option<Broker>,
    networks: Option<Networks>,
    stop: CancellationToken,
    process: JoinHandle<ExitCode>,
    finished: bool,
    /// How many acknowledgements a broker that was killed may not have seen.
    pub redelivered: u64,
}

/// What this app has at the broker.
struct Broker {
    url: String,
    prefix: String,
}

impl Setup {
    pub fn embedded() -> Self {
        Self { worker: Box::new(|_| {}), queue_max: 10_000, extra_ca: None, sign_in: None, services: None, faulty: false }
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

    /// With networks that can fail between the app and everything it uses.
    pub fn faulty(self) -> Self {
        Self { faulty: true, ..self }
    }

    pub fn worker(mut self, change: impl FnOnce(&mut Worker) + Send + 'static) -> Self {
        self.worker = Box::new(change);
        self
    }

    /// With the sign-in half, for pages of [`ORIGIN`].
    pub fn sign_in(mut self, change: impl FnOnce(&mut SignIn) + Send + 'static) -> Self {
        self.sign_in = Some(Box::new(change));
        self
    }

    pub async fn start(self) -> App {
        tls::install_provider();
        let Self { worker: change, queue_max, extra_ca, sign_in, services, faulty } = self;
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let key = SecretString::from(API_KEY.to_owned());
        let workos = Arc::new(StandIn::start(free_port().await, key, clock.clone()).expect("starts"));
        let inbox = Inbox::start(free_port().await, Manners::default(), clock.clone()).expect("starts");
        let folder = tempfile::tempdir().expect("a folder");
        let prefix = fresh_prefix();
        let broker = services.as_ref().map(|urls| Broker { url: urls.amqp.clone(), prefix: prefix.clone() });
        let direct = Ways { workos: workos.url(), relay: inbox.address(), services };
        let (networks, ways) = if faulty { Networks::over(&direct).await } else { (None, direct) };
        let mut worker = worker(&ways.workos, &format!("smtp://{}?tls=none", ways.relay));
        change(&mut worker);
        let sign_in = sign_in.map(|change| with_sign_in(&workos, &ways, change));
        let ingress = Ingress { sign_in, ..ingress() };
        let engine = engine(ways.services, folder.path(), prefix, queue_max);
        let stop = CancellationToken::new();
        let service = service::serve((ingress, worker, engine, Process { extra_ca, ..process() }), clock.clone(), stop.clone())
            .await
            .expect("starts");
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
            networks,
            stop,
            process: tokio::spawn(service.run()),
            finished: false,
            redelivered: 0,
        };
        app.is_ready().await;
        app
    }
}

fn with_sign_in(workos: &StandIn, ways: &Ways, change: Change<SignIn>) -> SignIn {
    workos.for_client(settings::CLIENT_ID);
    let mut sign_in = settings::sign_in(&ways.workos, &workos.url());
    change(&mut sign_in);
    sign_in
}

/// Unlike every other, so that tests share a broker without meeting.
pub fn fresh_prefix() -> String {
    format!("test-{}", ulid::Ulid::generate()).to_lowercase()
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

    /// Returns once `/readyz` is red and names this.
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
        // Who waits in vain wants to know for what.
        assert!(tokio::time::timeout(super::PATIENCE, becoming).await.is_ok(), "never ready: {last}");
    }

    /// The ways to the dependencies of a faulty app.
    pub fn networks(&self) -> &Networks {
        self.networks.as_ref().expect("a faulty app")
    }

    /// People who ask, so many a second.
    pub fn load(&self, per_second: u32) -> Load {
        let sender = load::Sender { workos: Arc::clone(&self.workos), urls: vec![self.webhook_url()], clock: self.clock.clone() };
        Load::start(sender, per_second)
    }

    /// After faults: everybody has a mail; there are no more copies than were counted as possible; nothing waits, and
    /// nothing ended as anything but sent or, where a message was stored or handed out twice, as a duplicate.
    pub async fn finish_after_faults(mut self, asked: Asked) {
        eventually("everybody has a mail", async || (asked.account(&self.inbox).without == 0).then_some(())).await;
        let people = asked.made.len() as u64;
        // The gauges are seconds old, and what was stored without being accepted may still be on its way: asked of the
        // queue itself, on both sides of a look at what is in hand.
        let idle = async || self.nothing_waits().await && self.exposition().count("authpost_in_flight") == 0 && self.nothing_waits().await;
        eventually("nothing waits", async || idle().await.then_some(())).await;
        self.stop().await;
        let exposition = self.exposition();
        let account = asked.account(&self.inbox);
        assert!(account.extra <= exposition.doubts(), "{} extra mails, and only {} doubts", account.extra, exposition.doubts());
        assert_eq!((exposition.outcomes("dead"), exposition.outcomes("expired")), (0, 0));
        let (sent, duplicates) = (exposition.outcomes("sent"), exposition.outcomes("duplicate"));
        // A message whose ending could not be settled was sent by one handling and ended as a duplicate by the next.
        let unsettled = exposition.count("authpost_settle_failures_total");
        assert!(sent <= people + account.extra && sent + unsettled >= people, "{sent} sent for {people} people");
        let again = asked.in_doubt + unsettled + self.redelivered;
        assert!(duplicates <= again, "{duplicates} duplicates, and only {again} messages that can have come twice");
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

    /// Whether the queue itself holds nothing but dead letters.
    async fn nothing_waits(&self) -> bool {
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
        assert!(self.finished || std::thread::panicking(), "an app was dropped without being finished");
    }
}
