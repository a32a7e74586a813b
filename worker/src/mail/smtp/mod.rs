//! SMTP to the operator's relay: a pool of connections over lettre's protocol code.
//!
//! lettre's own pool is not used (docs/adr/0001): it never sets TCP_NODELAY, misses timeouts in
//! most phases, and reuses a half-used connection when a send is cut off, after which every reply
//! belongs to the mail before. Here a connection knows whether its last transaction ended cleanly,
//! and only then sends another mail.

mod answer;
mod config;
mod connection;
mod guarded;
mod hello;
mod limit;
mod login;
mod oauth;
mod pace;
mod plain;
mod pool;
mod refusals;
mod reply;
mod stream;
mod timeouts;
mod tls;
mod transparency;

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::managed;
use domain::fault::Fault;
use runtime::{
    metrics::RelayMetrics,
    trace::{self, Server},
};
use tokio::time::{Instant, timeout};
use tracing::Span;

use self::{
    connection::{Failure, Stage},
    pool::{Connections, InUse},
    refusals::Refusals,
    reply::{Concerns, Refusal, result_label},
};
use super::{Accepted, BegunMail, Mail, Mailer, RelayConnection, SendError};

#[cfg(feature = "fuzzing")]
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(feature = "fuzzing")]
use self::connection::SmtpConnection;

pub use self::{
    config::{InvalidRelayUrl, Limits, RelayConfig, Security},
    oauth::OauthConfig,
    timeouts::Timeouts,
};

/// Adapter of [`Mailer`]: a pool of connections to one relay.
pub struct SmtpMailer(Arc<Relay>);

/// One relay, and what is known of it.
struct Relay {
    connections: Connections,
    config: RelayConfig,
    name: Arc<str>,
    server: Arc<Server>,
    metrics: RelayMetrics,
    refusals: Refusals,
}

impl SmtpMailer {
    /// Holds at most `connections` to the relay, unless its configuration says how many. They are
    /// opened when first needed. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// If the pool cannot be built, which depends on nothing in `config`.
    pub fn new(
        config: RelayConfig,
        connections: usize,
        metrics: RelayMetrics,
    ) -> Result<Self, managed::BuildError> {
        let server = Arc::new(Server { host: config.host.clone(), port: config.port });
        let connections = Connections::new(config.clone(), connections, metrics.clone())?;
        let (name, refusals) = (config.name().into(), Refusals::default());
        Ok(Self(Arc::new(Relay { connections, config, name, server, metrics, refusals })))
    }
}

impl Relay {
    /// A connection. One that has to be opened first is opened to the end even if the caller does not
    /// wait for it, because another relay was ready sooner: the next mail can use it.
    async fn take(self: &Arc<Self>) -> Result<InUse, Fault> {
        if self.connections.has_idle() {
            return self.connections.take().await.map_err(|refusal| refusal.fault);
        }
        let relay = Arc::clone(self);
        match tokio::spawn(async move { relay.connections.take().await }).await {
            Ok(taken) => taken.map_err(|refusal| refusal.fault),
            Err(_) => Err(reply::unavailable("opening a connection to the relay panicked")),
        }
    }

    /// The error for a failed transaction, counted.
    fn failed(&self, mail: &Mail, begun: Instant, failure: Failure) -> SendError {
        if failure.concerns == Concerns::OurPace {
            self.connections.pace.throttled();
            self.metrics.throttled();
        }
        let error = self.refusals.judge(&mail.recipient, failure);
        self.metrics.transaction(result_label(Err(&error)), begun.elapsed());
        error
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn connect(&self, _: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
        let Self(relay) = self;
        let begun = Instant::now();
        let span = trace::relay("SMTP connect", &relay.server);
        match trace::within(&span, relay.take()).await {
            Ok(connection) => {
                let (relay, waited) = (Arc::clone(relay), begun.elapsed());
                Ok(Box::new(Pooled { connection, relay, begun, waited }))
            }
            Err(fault) => {
                let error = SendError::NotSent(fault.clone());
                relay.metrics.transaction(result_label(Err(&error)), begun.elapsed());
                Err(fault)
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.0.connections.is_busy()
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.0.connections.ready().await
    }
}

/// Most connections in a row that turn out to be closed.
const MOST_STALE: usize = 4;

/// A connection taken from the pool.
struct Pooled {
    connection: InUse,
    relay: Arc<Relay>,
    begun: Instant,
    /// How long it took to get the connection.
    waited: Duration,
}

#[async_trait]
impl RelayConnection for Pooled {
    async fn begin(self: Box<Self>, mail: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let span = trace::relay("SMTP mail", &self.relay.server);
        let pooled = trace::within(&span, self.announce(mail)).await?;
        Ok(Box::new(Begun { pooled, span }))
    }
}

impl Pooled {
    /// Announces the mail within the time that the claim's term has for it.
    async fn announce(self, mail: &Mail) -> Result<Self, SendError> {
        let (relay, begun) = (Arc::clone(&self.relay), self.begun);
        let longest = relay.config.timeouts.until_the_body().saturating_sub(self.waited);
        let announcing = timeout(longest, self.announce_on_a_fresh_one(mail));
        announcing.await.unwrap_or_else(|_| {
            let detail = "the relay closed one connection after the other";
            Err(relay.failed(mail, begun, Refusal::from(reply::unavailable(detail)).into()))
        })
    }

    async fn announce_on_a_fresh_one(mut self, mail: &Mail) -> Result<Self, SendError> {
        let config = &Arc::clone(&self.relay).config;
        let mut result = self.connection.smtp().envelope(mail, config).await;
        let mut silences = 0;
        for _ in 0..MOST_STALE {
            // The relay closes a connection that had been idle or carried many mails, and did
            // nothing on it: another one may do. A silence may take long, so there is one.
            match &result {
                Err(Failure { stage: Stage::Unanswered, .. }) if silences == 0 => silences += 1,
                Err(Failure { stage: Stage::Closing, .. }) => {}
                _ => break,
            }
            if !self.connection.is_reused() {
                break;
            }
            self.connection = match self.relay.connections.replace(self.connection).await {
                Ok(connection) => connection,
                Err(refusal) => return Err(self.relay.failed(mail, self.begun, refusal.into())),
            };
            result = self.connection.smtp().envelope(mail, config).await;
        }
        match result {
            Ok(()) => Ok(self),
            Err(failure) => Err(self.relay.failed(mail, self.begun, failure)),
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
    async fn finish(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let Self { pooled: Pooled { mut connection, relay, begun, waited: _ }, span } = *self;
        let sending = async {
            let receipt = connection.smtp().body(mail, &relay.config).await;
            let receipt = receipt.map_err(|failure| relay.failed(mail, begun, failure))?;
            relay.refusals.accepted();
            let accepted = Accepted { receipt, relay: Arc::clone(&relay.name) };
            relay.metrics.transaction(result_label(Ok(&accepted)), begun.elapsed());
            Ok(accepted)
        };
        let sent = trace::within(&span, sending).await;
        if let Ok(accepted) = &sent {
            span.record("authpost.relay.receipt", &accepted.receipt);
        }
        sent
    }
}

/// The greeting up to STARTTLS over an open stream, without network.
#[cfg(feature = "fuzzing")]
pub async fn starttls<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    hello: &str,
) -> Result<S, Fault> {
    hello::starttls(stream, hello).await.map_err(|refusal| refusal.fault)
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
        .map(guarded::greeted)
        .map_err(|refusal| SendError::NotSent(refusal.fault))?;
    let mut connection = SmtpConnection::log_in(greeted, config, None)
        .await
        .map_err(|refusal| SendError::NotSent(refusal.fault))?;
    connection.envelope(mail, config).await.map_err(|failure| failure.error)?;
    let receipt = connection.body(mail, config).await.map_err(|failure| failure.error)?;
    Ok(Accepted { receipt, relay: config.name().into() })
}

#[cfg(test)]
mod tests;
