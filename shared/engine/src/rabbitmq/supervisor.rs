//! Supervises one connection to the broker and replaces it after every failure.
//!
//! A task connects, declares the topology, opens one channel, and publishes that as the current
//! [`Session`]. The session ends when the connection reports an error or when its user reports that
//! it no longer works ([`Session::fail`]): a confirm that did not come, a consumer that ended, an
//! acknowledgement that was not accepted. Then everything of it is dropped and the next one is
//! made, after growing, jittered delays.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use domain::retry::{Chance, Policy};
use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ConnectionProperties, Event, options::ConfirmSelectOptions, uri::AMQPUri,
};
use runtime::{
    metrics::{Metrics, labels::ConnectionName},
    tls::{Trust, TrustError},
};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{connect, declare, topology::Names};

/// First wait for each step of connecting: the handshake, the declarations. Enough for three round
/// trips of two seconds.
const STEP: Duration = Duration::from_secs(8);

/// Longest wait for a step. The wait doubles with each failure up to this, so that a slow network
/// is slow and not cut off forever.
const LONGEST_STEP: Duration = Duration::from_secs(30);

/// Seconds between heartbeats: a peer that vanished is noticed within twice this. RabbitMQ's makers
/// warn against less than 5 (<https://www.rabbitmq.com/docs/heartbeats>).
const HEARTBEAT: &str = "10";

/// Bytes per frame. lapin keeps 32 frames for reading and as many for writing; our messages are
/// under 1 KiB.
const FRAME_MAX: &str = "16384";

/// Where the broker is and how to connect to it: `AMQP_URL`, parsed.
#[derive(Clone)]
pub struct BrokerConfig {
    uris: Vec<AMQPUri>,
    tls: Arc<ClientConfig>,
    /// The names of exchanges and queues.
    pub names: Names,
}

/// Why `AMQP_URL` cannot be used. Never repeats it: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a URL such as amqp://user:password@host:5672/vhost?heartbeat=10 or amqps://…, with special characters \
     percent-encoded and whole numbers as parameters; several brokers have white space between them"
)]
pub struct InvalidAmqpUrl;

impl BrokerConfig {
    /// Parses `amqp://` or `amqps://` URLs with white space between them.
    pub fn parse(urls: &SecretString, names: Names, trust: &Trust) -> Result<Self, InvalidAmqpUrl> {
        let parse = |url: &str| with_defaults(url).parse().map_err(|_| InvalidAmqpUrl);
        let brokers: Vec<AMQPUri> =
            urls.expose_secret().split_ascii_whitespace().map(parse).collect::<Result<_, _>>()?;
        if brokers.is_empty() {
            return Err(InvalidAmqpUrl);
        }
        Ok(Self { uris: brokers, tls: Arc::clone(trust.client()), names })
    }

    /// Shows brokers that ask for one a certificate of ours, by a chain and a private key (PEM).
    pub fn with_identity(
        self,
        trust: &Trust,
        identity: (&[u8], &[u8]),
    ) -> Result<Self, TrustError> {
        Ok(Self { tls: trust.client_for(None, Some(identity))?, ..self })
    }

    /// Opens a connection, which the broker shows under this name, to the first broker that is ready
    /// for it within `limit`.
    pub(super) async fn connect(&self, name: &str, limit: Duration) -> lapin::Result<Connection> {
        let process = std::process::id();
        let name = format!("authpost {name} {process}");
        let mut failed = connect::failed(std::io::ErrorKind::NotFound.into());
        for uri in &self.uris {
            let properties =
                ConnectionProperties::default().with_connection_name(name.clone().into());
            let connecting = connect::connect(uri.clone(), Arc::clone(&self.tls), properties);
            match within(limit, connecting).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brokers = self.uris.iter().map(|uri| &uri.authority);
        let brokers = brokers.map(|authority| format!("{}:{}", authority.host, authority.port));
        f.debug_struct("BrokerConfig")
            .field("brokers", &brokers.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A broker, with what its supervisors use.
#[derive(Clone)]
pub struct Broker {
    pub config: BrokerConfig,
    pub metrics: Arc<Metrics>,
    pub chance: Chance,
}

/// One connection with one channel, while it lasts.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    /// Whether the broker blocks publishing. It says so at the first publish that it leaves unread.
    blocked: watch::Sender<bool>,
    over: CancellationToken,
}

impl Session {
    /// Reports that this session no longer works.
    pub(super) fn fail(&self) {
        self.over.cancel();
    }

    /// Whether the broker blocks publishing.
    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
    }

    /// Returns when the broker starts to block publishing.
    pub(super) async fn blocked(&self) {
        // Fails only when the sender is gone, and we hold it.
        drop(self.blocked.subscribe().wait_for(|blocked| *blocked).await);
    }

    /// Whether this session has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// The current session, or why there is none.
type State = Result<Arc<Session>, Cow<'static, str>>;

/// Keeps a session current. Stops when dropped.
pub(super) struct Supervisor {
    current: watch::Receiver<State>,
    task: AbortHandle,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Supervisor {
    pub(super) fn start(broker: Broker, name: ConnectionName) -> Self {
        let (sender, current) = watch::channel(Err(Cow::Borrowed(NOT_CONNECTED)));
        let task = tokio::spawn(keep_connected(broker, name, sender)).abort_handle();
        Self { current, task }
    }

    /// The current session, if there is one.
    pub(super) fn now(&self) -> Option<Arc<Session>> {
        working(&self.current)
    }

    /// A view of the connection for whoever only asks about its state.
    pub(super) fn view(&self) -> ConnectionView {
        ConnectionView(self.current.clone())
    }

    /// Waits for a working session, as long as it takes.
    pub(super) async fn session(&self) -> Arc<Session> {
        self.view().up().await
    }
}

/// The state of a connection, without the power to keep it alive.
#[derive(Clone)]
pub(super) struct ConnectionView(watch::Receiver<State>);

impl ConnectionView {
    /// Waits for a working session, as long as it takes.
    pub(super) async fn up(mut self) -> Arc<Session> {
        loop {
            if let Some(session) = working(&self.0) {
                return session;
            }
            if self.0.changed().await.is_err() {
                // The task ends only with the supervisor itself.
                std::future::pending::<()>().await;
            }
        }
    }

    /// `Err` with the reason while there is no working session.
    pub(super) fn ready(&self) -> Result<(), Cow<'static, str>> {
        match &*self.0.borrow() {
            Err(why) => Err(why.clone()),
            Ok(session) if session.is_over() => Err(Cow::Borrowed(NOT_CONNECTED)),
            Ok(session) if session.is_blocked() => {
                Err(Cow::Borrowed("the broker blocks publishing"))
            }
            Ok(_) => Ok(()),
        }
    }
}

const NOT_CONNECTED: &str = "not connected to the broker";

fn working(current: &watch::Receiver<State>) -> Option<Arc<Session>> {
    current.borrow().as_ref().ok().filter(|session| !session.is_over()).cloned()
}

async fn keep_connected(broker: Broker, name: ConnectionName, current: watch::Sender<State>) {
    let connection = name.label();
    let mut failures = 0;
    let mut generation = 0;
    loop {
        match connect(&broker.config, name, step_limit(failures)).await {
            Ok(session) => {
                (failures, generation) = (0, generation + 1);
                tracing::info!(connection, generation, "connected to the broker");
                broker.metrics.connection(name, true, generation);
                let session = Arc::new(session);
                drop(current.send_replace(Ok(Arc::clone(&session))));
                watch_session(&broker, &session).await;
                drop(current.send_replace(Err(Cow::Borrowed(NOT_CONNECTED))));
                broker.metrics.connection(name, false, generation);
                if session.is_blocked() {
                    broker.metrics.blocked(false);
                }
                tracing::warn!(connection, generation, "lost the connection to the broker");
                close(session).await;
            }
            Err(error) => {
                failures += 1;
                let error = describe(&error);
                tracing::warn!(connection, failures, %error, "cannot reach the broker");
                drop(current.send_replace(Err(format!("{NOT_CONNECTED}: {error}").into())));
            }
        }
        sleep(Policy::CONNECTIONS.delay(failures.max(1), (broker.chance)())).await;
    }
}

fn step_limit(failures: u32) -> Duration {
    STEP.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_STEP)
}

/// lapin's own text, which names states and protocol errors but no credentials.
fn describe(error: &lapin::Error) -> Cow<'static, str> {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => error.kind().to_string().into(),
        _ => super::classify(error).detail,
    }
}

/// Connects and declares, each step within `limit`.
async fn connect(
    config: &BrokerConfig,
    name: ConnectionName,
    limit: Duration,
) -> lapin::Result<Session> {
    let connection = config.connect(name.label(), limit).await?;
    // At once: with a broker that is far away, each round trip counts.
    let declaring = declare::declare(&connection, &config.names);
    let opening = open_channel(&connection, name);
    let ((), channel) =
        within(limit, async { futures_util::try_join!(declaring, opening) }).await?;
    Ok(Session {
        connection,
        channel,
        blocked: watch::Sender::new(false),
        over: CancellationToken::new(),
    })
}

async fn open_channel(connection: &Connection, name: ConnectionName) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    if name == ConnectionName::Publisher {
        // Without this lapin calls every publish a success.
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
    }
    Ok(channel)
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = lapin::Result<T>>,
) -> lapin::Result<T> {
    timeout(limit, step)
        .await
        .unwrap_or_else(|_| Err(connect::failed(std::io::ErrorKind::TimedOut.into())))
}

/// The URL with our heartbeat and frame size, unless it sets its own.
fn with_defaults(url: &str) -> String {
    let mut url = url.to_owned();
    for (key, value) in [("heartbeat", HEARTBEAT), ("frame_max", FRAME_MAX)] {
        if !url.contains(&format!("{key}=")) {
            let joint = if url.contains('?') { "&" } else { "?" };
            url.extend([joint, key, "=", value]);
        }
    }
    url
}

/// Returns when the session is over.
async fn watch_session(broker: &Broker, session: &Session) {
    let mut events = std::pin::pin!(session.connection.events_listener());
    let lost = async {
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(_) => {
                    session.blocked.send_replace(true);
                    broker.metrics.blocked(true);
                    tracing::warn!("the broker blocks publishing (memory or disk alarm)");
                }
                Event::ConnectionUnblocked => {
                    session.blocked.send_replace(false);
                    broker.metrics.blocked(false);
                    tracing::info!("the broker accepts messages again");
                }
                Event::Error(_) => return,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = lost => session.fail(),
        () = session.over.cancelled() => {}
    }
}

/// Tells the broker, if it still listens, so that it delivers our messages to others at once.
async fn close(session: Arc<Session>) {
    let closing = session.connection.close(200, "reconnecting".into());
    drop(timeout(Duration::from_secs(1), closing).await);
}

#[cfg(test)]
mod tests;
