//! One watched connection to the broker, made anew after every failure.
//!
//! A task connects, declares the topology, opens one channel, and publishes that as the current [`Session`]. The
//! session ends when the connection reports an error or when whoever uses it says that it no longer works
//! ([`Session::fail`]): a confirm that did not come, a consumer that ended, an acknowledgement that was not taken. Then
//! everything of it is dropped and the next one is made, with growing, jittered pauses.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use lapin::{Channel, Connection, ConnectionBuilder, ConnectionProperties, Event, options::ConfirmSelectOptions, tcp::OwnedTLSConfig};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::sync::CancellationToken;

use super::topology::{self, Names};
use crate::{
    metrics::{Metrics, labels::LinkName},
    retry::{Chance, Policy},
};

/// Longest wait for the broker's greeting. A broker that is starting accepts connections before it answers on them, and
/// another try finds it ready sooner than this one would.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// Longest wait for a connection with its topology.
const CONNECT: Duration = Duration::from_secs(10);

/// Seconds between heartbeats: a peer that vanished is noticed within twice this. The broker's makers warn against
/// less than 5 (<https://www.rabbitmq.com/docs/heartbeats>).
const HEARTBEAT: &str = "10";

/// Bytes a frame. lapin keeps 32 of them for reading and as many for writing; our messages are under 1 KiB.
const FRAME_MAX: &str = "16384";

/// Where the broker is, and what our things are called there.
#[derive(Clone)]
pub struct Broker {
    /// `amqp://` or `amqps://`.
    pub url: SecretString,
    /// Exchanges and queues.
    pub names: Names,
    /// PEM of an authority to trust besides the machine's.
    pub extra_ca: Option<String>,
    /// Where connections are counted.
    pub metrics: Arc<Metrics>,
    /// Jitter for reconnecting.
    pub chance: Chance,
}

/// One connection with one channel, while it lasts.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    /// Whether the broker has stopped taking messages. It says so at the first publish that it leaves unread.
    blocked: watch::Sender<bool>,
    over: CancellationToken,
}

impl Session {
    /// Says that this session no longer works.
    pub(super) fn fail(&self) {
        self.over.cancel();
    }

    /// Whether the broker has stopped taking messages.
    pub(super) fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
    }

    /// Returns when the broker says that it has stopped taking messages.
    pub(super) async fn blocked(&self) {
        // Fails only when the sender is gone, and we hold it.
        drop(self.blocked.subscribe().wait_for(|blocked| *blocked).await);
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// Keeps a session current. Stops when dropped.
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Session>>>,
    watcher: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Link {
    pub(super) fn open(broker: Broker, name: LinkName) -> Self {
        let (sender, current) = watch::channel(None);
        let watcher = tokio::spawn(keep_connected(broker, name, sender)).abort_handle();
        Self { current, watcher }
    }

    /// The session, if there is one now.
    pub(super) fn now(&self) -> Option<Arc<Session>> {
        working(&self.current)
    }

    /// For whoever only asks how it is.
    pub(super) fn state(&self) -> LinkState {
        LinkState(self.current.clone())
    }

    /// The next session that works. Waits as long as it takes.
    pub(super) async fn session(&self) -> Arc<Session> {
        self.state().up().await
    }
}

/// How a link is, without the power to keep it alive.
#[derive(Clone)]
pub(super) struct LinkState(watch::Receiver<Option<Arc<Session>>>);

impl LinkState {
    /// The next session that works. Waits as long as it takes.
    pub(super) async fn up(mut self) -> Arc<Session> {
        loop {
            if let Some(session) = working(&self.0) {
                return session;
            }
            if self.0.changed().await.is_err() {
                // The watcher ends only with the link itself.
                std::future::pending::<()>().await;
            }
        }
    }

    /// `Err` with the reason while there is no working session.
    pub(super) fn ready(&self) -> Result<(), Cow<'static, str>> {
        match working(&self.0) {
            None => Err(Cow::Borrowed("not connected to the broker")),
            Some(session) if session.is_blocked() => Err(Cow::Borrowed("the broker has stopped taking messages")),
            Some(_) => Ok(()),
        }
    }
}

fn working(current: &watch::Receiver<Option<Arc<Session>>>) -> Option<Arc<Session>> {
    current.borrow().clone().filter(|session| !session.is_over())
}

async fn keep_connected(broker: Broker, name: LinkName, current: watch::Sender<Option<Arc<Session>>>) {
    let mut failures = 0;
    let mut generation = 0;
    loop {
        match tokio::time::timeout(CONNECT, connect(&broker, name)).await {
            Ok(Ok(session)) => {
                (failures, generation) = (0, generation + 1);
                tracing::info!(link = name.label(), generation, "connected to the broker");
                broker.metrics.link(name, true, generation);
                let session = Arc::new(session);
                current.send_replace(Some(Arc::clone(&session)));
                watch_session(&broker, &session).await;
                current.send_replace(None);
                broker.metrics.link(name, false, generation);
                broker.metrics.blocked(false);
                tracing::warn!(link = name.label(), generation, "the connection to the broker is lost");
                close(session).await;
            }
            failed => {
                failures += 1;
                let error = failed
                    .map_or_else(|_| "no answer in time".to_owned(), |result| result.err().map_or_else(String::new, |e| describe(&e)));
                tracing::warn!(link = name.label(), failures, %error, "the broker cannot be reached");
            }
        }
        tokio::time::sleep(Policy::CONNECTIONS.delay(failures.max(1), (broker.chance)())).await;
    }
}

/// lapin's own text, which names states and protocol errors but no credentials.
fn describe(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => error.kind().to_string(),
        _ => super::classify(error).detail.into_owned(),
    }
}

async fn connect(broker: &Broker, name: LinkName) -> lapin::Result<Session> {
    let process = std::process::id();
    let properties = ConnectionProperties::default().with_connection_name(format!("authpost {} {process}", name.label()).into());
    let tls = OwnedTLSConfig { identity: None, cert_chain: broker.extra_ca.clone() };
    let builder =
        ConnectionBuilder::new()?.with_uri_str(with_defaults(broker.url.expose_secret())).with_properties(properties).with_tls_config(tls);
    let silent = |_| lapin::Error::from(lapin::ErrorKind::IOError(Arc::new(std::io::ErrorKind::TimedOut.into())));
    let connection = tokio::time::timeout(HANDSHAKE, builder.connect()).await.map_err(silent)??;
    topology::declare(&connection, &broker.names).await?;
    let channel = connection.create_channel().await?;
    if name == LinkName::Publisher {
        // Without this lapin calls every publish a success.
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
    }
    Ok(Session { connection, channel, blocked: watch::Sender::new(false), over: CancellationToken::new() })
}

/// The URL with our heartbeat and frame size, unless it names its own.
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
                    tracing::warn!("the broker has stopped taking messages (memory or disk alarm)");
                }
                Event::ConnectionUnblocked => {
                    session.blocked.send_replace(false);
                    broker.metrics.blocked(false);
                    tracing::info!("the broker takes messages again");
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

/// Tells the broker, if it still listens, so that it hands our messages to others at once.
async fn close(session: Arc<Session>) {
    let goodbye = session.connection.close(200, "making a new connection".into());
    drop(tokio::time::timeout(Duration::from_secs(1), goodbye).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_do_not_override_the_operator() {
        assert_eq!(with_defaults("amqp://h/%2f"), "amqp://h/%2f?heartbeat=10&frame_max=16384");
        assert_eq!(with_defaults("amqp://h?heartbeat=30"), "amqp://h?heartbeat=30&frame_max=16384");
    }
}
