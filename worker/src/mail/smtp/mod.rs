//! SMTP to the operator's relay: a pool of connections over lettre's protocol code.
//!
//! lettre's own pool is not used (docs/adr/0001): it never sets TCP_NODELAY, misses timeouts in
//! most phases, and reuses a half-used connection when a send is cut off, after which every reply
//! belongs to the mail before. Here a connection knows whether its last transaction ended cleanly,
//! and only then sends another mail.

mod config;
mod connection;
mod hello;
mod plain;
mod refusals;
mod reply;
mod stream;

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::managed::{self, Metrics as Use, Pool, RecycleError, RecycleResult};
use domain::fault::Fault;
use parking_lot::Mutex;
use runtime::{
    metrics::{Metrics, labels::Success},
    trace::{self, Server},
};
use tokio::time::Instant;
use tracing::Span;

use self::{
    connection::{SmtpConnection, Stage},
    refusals::Refusals,
    reply::result_label,
};
use super::{Accepted, BegunMail, Mail, Mailer, RelayConnection, SendError};

#[cfg(feature = "fuzzing")]
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::config::{InvalidRelayUrl, RelayConfig, Security, Timeouts};
#[cfg(feature = "fuzzing")]
pub use self::hello::starttls;

/// A connection is closed at this age, before the relay closes it.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Most mails on one connection: relays limit them.
const MAX_MAILS: usize = 100;
/// A connection that was idle for longer is tested with NOOP before it is used.
const UNTESTED_IDLE: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is closed.
const MAX_IDLE: Duration = Duration::from_secs(45);

/// Opens connections for the pool, and decides whether one may be reused.
struct Manager {
    config: Arc<RelayConfig>,
    metrics: Arc<Metrics>,
}

impl managed::Manager for Manager {
    type Type = SmtpConnection;
    type Error = Fault;

    async fn create(&self) -> Result<SmtpConnection, Fault> {
        let opened = SmtpConnection::open(&self.config).await;
        self.metrics.smtp_connection(if opened.is_ok() { Success::Ok } else { Success::Failed });
        opened
    }

    async fn recycle(&self, connection: &mut SmtpConnection, usage: &Use) -> RecycleResult<Fault> {
        let worn = !connection.is_clean()
            || connection.age() > MAX_AGE
            || usage.recycle_count >= MAX_MAILS
            || connection.idle_for() > MAX_IDLE;
        if worn || (connection.idle_for() > UNTESTED_IDLE && !connection.is_alive().await) {
            return Err(RecycleError::message("not reusable"));
        }
        Ok(())
    }
}

/// Adapter of [`Mailer`]: a pool of connections to the relay.
pub struct SmtpMailer {
    pool: Pool<Manager>,
    server: Arc<Server>,
    metrics: Arc<Metrics>,
    state: Arc<Mutex<Reachability>>,
    refusals: Arc<Refusals>,
}

/// The result of the last contact with the relay.
#[derive(Default)]
struct Reachability {
    failed: Option<(Instant, Cow<'static, str>)>,
    reached: bool,
}

impl SmtpMailer {
    /// Holds at most `connections` to the relay, opened when first needed.
    ///
    /// # Errors
    ///
    /// If the pool cannot be built, which depends on nothing in `config`.
    pub fn new(
        config: RelayConfig,
        connections: usize,
        metrics: Arc<Metrics>,
    ) -> Result<Self, managed::BuildError> {
        let server = Arc::new(Server { host: config.host.clone(), port: config.port });
        let manager = Manager { config: Arc::new(config), metrics: Arc::clone(&metrics) };
        let pool = Pool::builder(manager).max_size(connections.max(1)).build()?;
        Ok(Self { pool, server, metrics, state: Arc::default(), refusals: Arc::default() })
    }

    async fn checked_out(&self) -> Result<managed::Object<Manager>, Fault> {
        let got = check_out(&self.pool).await;
        let mut state = self.state.lock();
        match &got {
            Ok(_) => *state = Reachability { failed: None, reached: true },
            Err(fault) => state.failed = Some((Instant::now(), fault.detail.clone())),
        }
        got
    }
}

/// A connection from the pool, or a new one. Boxed: opening one would make the future of every
/// caller large.
async fn check_out(pool: &Pool<Manager>) -> Result<managed::Object<Manager>, Fault> {
    Box::pin(pool.get()).await.map_err(|error| match error {
        managed::PoolError::Backend(fault) => fault,
        _ => reply::unavailable("no connection to the relay is free"),
    })
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn connect(&self) -> Result<Box<dyn RelayConnection>, Fault> {
        let begun = Instant::now();
        match trace::within(&trace::relay("SMTP connect", &self.server), self.checked_out()).await {
            Ok(connection) => {
                let (server, metrics) = (Arc::clone(&self.server), Arc::clone(&self.metrics));
                let (pool, refusals) = (self.pool.clone(), Arc::clone(&self.refusals));
                Ok(Box::new(Pooled { connection, pool, server, metrics, refusals, begun }))
            }
            Err(fault) => {
                self.metrics
                    .smtp(result_label(Err(&SendError::NotSent(fault.clone()))), begun.elapsed());
                Err(fault)
            }
        }
    }

    /// Contacts the relay only when nothing is known yet or the last contact failed, and not more
    /// often than every ten seconds: readiness checks must not become load.
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        let known = {
            let state = self.state.lock();
            match &state.failed {
                Some((when, why)) if when.elapsed() < Duration::from_secs(10) => {
                    Some(Err(why.clone()))
                }
                None if state.reached => Some(Ok(())),
                _ => None,
            }
        };
        match known {
            Some(known) => known,
            None => self.checked_out().await.map(drop).map_err(|fault| fault.detail),
        }
    }
}

/// A connection taken from the pool.
struct Pooled {
    connection: managed::Object<Manager>,
    pool: Pool<Manager>,
    server: Arc<Server>,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    begun: Instant,
}

#[async_trait]
impl RelayConnection for Pooled {
    async fn begin(self: Box<Self>, mail: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let span = trace::relay("SMTP mail", &self.server);
        let pooled = trace::within(&span, self.announce(mail)).await?;
        Ok(Box::new(Begun { pooled, span }))
    }
}

impl Pooled {
    async fn announce(mut self, mail: &Mail) -> Result<Self, SendError> {
        let mut result = self.connection.envelope(mail).await;
        if let Err(failure) = &result
            && failure.stage == Stage::Unanswered
            && managed::Object::metrics(&self.connection).recycle_count > 0
        {
            // The relay had closed an idle connection before anything was sent on it: one more try,
            // on a new one.
            self = self.reconnected().await?;
            result = self.connection.envelope(mail).await;
        }
        match result {
            Ok(()) => Ok(self),
            Err(failure) => {
                let error = self.refusals.judge(&mail.recipient, failure);
                self.metrics.smtp(result_label(Err(&error)), self.begun.elapsed());
                Err(error)
            }
        }
    }

    /// The same over a new connection. The old one is given up first: there may be room for one
    /// only.
    async fn reconnected(self) -> Result<Self, SendError> {
        let Self { connection, pool, server, metrics, refusals, begun } = self;
        drop(managed::Object::take(connection));
        match fresh(&pool).await {
            Ok(connection) => Ok(Self { connection, pool, server, metrics, refusals, begun }),
            Err(fault) => {
                let error = SendError::NotSent(fault);
                metrics.smtp(result_label(Err(&error)), begun.elapsed());
                Err(error)
            }
        }
    }
}

/// A mail that was announced on a connection.
struct Begun {
    pooled: Pooled,
    span: Span,
}

#[async_trait]
impl BegunMail for Begun {
    async fn finish(mut self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let Self { pooled, span } = &mut *self;
        let sending = async {
            let result = match pooled.connection.body(mail).await {
                Ok(accepted) => {
                    pooled.refusals.accepted();
                    Ok(accepted)
                }
                Err(failure) => Err(pooled.refusals.judge(&mail.recipient, failure)),
            };
            pooled.metrics.smtp(result_label(result.as_ref()), pooled.begun.elapsed());
            result
        };
        let sent = trace::within(span, sending).await;
        if let Ok(accepted) = &sent {
            span.record("authpost.relay.receipt", &accepted.receipt);
        }
        sent
    }
}

/// Sends one mail over an open stream, from the relay's greeting on: the conversation without pool
/// and network.
#[cfg(feature = "fuzzing")]
pub async fn send_over<S>(
    stream: S,
    config: &RelayConfig,
    mail: &Mail,
) -> Result<Accepted, SendError>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
{
    let greeted = hello::greeting(stream, &config.hello)
        .await
        .map(stream::greeted)
        .map_err(SendError::NotSent)?;
    let mut connection =
        SmtpConnection::log_in(greeted, config).await.map_err(SendError::NotSent)?;
    connection.envelope(mail).await.map_err(|failure| failure.error)?;
    connection.body(mail).await.map_err(|failure| failure.error)
}

/// A new connection. Idle ones in the pool are as stale as the one just lost, so they are closed.
async fn fresh(pool: &Pool<Manager>) -> Result<managed::Object<Manager>, Fault> {
    pool.retain(|_, _| false);
    check_out(pool).await
}
