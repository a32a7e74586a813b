//! SMTP to the operator's relay: a pool of connections over lettre's protocol code.
//!
//! lettre's own pool is not used (docs/adr/0001): it never sets TCP_NODELAY, misses timeouts in most phases, and puts a
//! half-used connection back when a send is cut off, after which every reply belongs to the mail before. Here a
//! connection says itself whether its last transaction ended cleanly, and only then serves another mail.

mod connection;
mod hello;
mod reply;
mod settings;
mod stream;

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::managed::{self, Metrics as Use, Pool, RecycleError, RecycleResult};
use shared::{
    fault::Fault,
    metrics::{Metrics, labels::Success},
    trace::{self, Server},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use self::{
    connection::{Connection, Stage},
    reply::result_label,
};
pub use self::{
    hello::ask_for_tls,
    settings::{RelayUrl, Security, SettingsError, SmtpSettings, Timeouts},
};
use super::{Accepted, Mail, Mailer, Relay, SendError};

/// Relays close connections that are silent or old, and count mails on them. A connection is retired first.
const MAX_AGE: Duration = Duration::from_secs(300);
/// Mails on one connection.
const MAX_MAILS: usize = 100;
/// A connection that was idle for longer is asked whether it still lives before a mail is trusted to it.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is not even asked.
const MAX_IDLE: Duration = Duration::from_secs(45);

/// Opens and judges connections for the pool.
struct Opener {
    settings: Arc<SmtpSettings>,
    metrics: Arc<Metrics>,
}

impl managed::Manager for Opener {
    type Type = Connection;
    type Error = Fault;

    async fn create(&self) -> Result<Connection, Fault> {
        let opened = Connection::open(&self.settings).await;
        self.metrics.smtp_connection(if opened.is_ok() { Success::Ok } else { Success::Failed });
        opened
    }

    async fn recycle(&self, connection: &mut Connection, usage: &Use) -> RecycleResult<Fault> {
        let worn =
            !connection.is_clean() || connection.age() > MAX_AGE || usage.recycle_count >= MAX_MAILS || connection.idle_for() > MAX_IDLE;
        if worn || (connection.idle_for() > TRUSTED_IDLE && !connection.still_lives().await) {
            return Err(RecycleError::message("worn out"));
        }
        Ok(())
    }
}

/// The relay, through a pool.
pub struct SmtpMailer {
    pool: Pool<Opener>,
    server: Arc<Server>,
    metrics: Arc<Metrics>,
    state: Arc<std::sync::Mutex<Reachability>>,
}

/// What the last contact with the relay said.
#[derive(Default)]
struct Reachability {
    failed: Option<(Instant, Cow<'static, str>)>,
    proven: bool,
}

impl SmtpMailer {
    /// At most `connections` to the relay; they are opened when first needed.
    pub fn new(settings: SmtpSettings, connections: usize, metrics: Arc<Metrics>) -> Result<Self, SettingsError> {
        let server = Arc::new(Server { host: settings.host.clone(), port: settings.port });
        let opener = Opener { settings: Arc::new(settings), metrics: Arc::clone(&metrics) };
        let pool = Pool::builder(opener).max_size(connections.max(1)).build().map_err(|_| SettingsError::Pool)?;
        Ok(Self { pool, server, metrics, state: Arc::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Reachability> {
        // Plain values, written together: a panic elsewhere cannot have torn them.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn checked_out(&self) -> Result<managed::Object<Opener>, Fault> {
        let got = check_out(&self.pool).await;
        let mut state = self.state();
        match &got {
            Ok(_) => *state = Reachability { failed: None, proven: true },
            Err(fault) => state.failed = Some((Instant::now(), fault.detail.clone())),
        }
        got
    }
}

/// A connection from the pool or a new one. Boxed: what opening one needs would make every caller's future large.
async fn check_out(pool: &Pool<Opener>) -> Result<managed::Object<Opener>, Fault> {
    Box::pin(pool.get()).await.map_err(|error| match error {
        managed::PoolError::Backend(fault) => fault,
        _ => reply::unavailable("no connection to the relay is free"),
    })
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn connect(&self) -> Result<Box<dyn Relay>, Fault> {
        let begun = Instant::now();
        match trace::within(&trace::relay("SMTP connect", &self.server), self.checked_out()).await {
            Ok(connection) => {
                let (server, metrics) = (Arc::clone(&self.server), Arc::clone(&self.metrics));
                Ok(Box::new(Line { connection, pool: self.pool.clone(), server, metrics, begun }))
            }
            Err(fault) => {
                self.metrics.smtp(result_label(Err(&SendError::NotSent(fault.clone()))), begun.elapsed());
                Err(fault)
            }
        }
    }

    /// Asks the relay itself only when nothing is known yet or the last contact failed, and not more often than every
    /// ten seconds: readiness must not become load.
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        let known = {
            let state = self.state();
            match &state.failed {
                Some((when, why)) if when.elapsed() < Duration::from_secs(10) => Some(Err(why.clone())),
                None if state.proven => Some(Ok(())),
                _ => None,
            }
        };
        match known {
            Some(known) => known,
            None => self.checked_out().await.map(drop).map_err(|fault| fault.detail),
        }
    }
}

/// One checked-out connection.
struct Line {
    connection: managed::Object<Opener>,
    pool: Pool<Opener>,
    server: Arc<Server>,
    metrics: Arc<Metrics>,
    begun: Instant,
}

#[async_trait]
impl Relay for Line {
    async fn send(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let span = trace::relay("SMTP mail", &self.server);
        let sent = trace::within(&span, self.transact(mail)).await;
        if let Ok(accepted) = &sent {
            span.record("authpost.relay.receipt", &accepted.receipt);
        }
        sent
    }
}

impl Line {
    async fn transact(mut self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let mut result = self.connection.transact(mail).await;
        if let Err(failure) = &result
            && failure.stage == Stage::Untouched
            && managed::Object::metrics(&self.connection).recycle_count > 0
        {
            // The relay had closed an idle connection. Nothing was said on it: one more try, on a fresh one.
            drop(managed::Object::take(self.connection));
            self.connection = match fresh(&self.pool).await {
                Ok(connection) => connection,
                Err(fault) => {
                    let result = Err(SendError::NotSent(fault));
                    self.metrics.smtp(result_label(result.as_ref()), self.begun.elapsed());
                    return result;
                }
            };
            result = self.connection.transact(mail).await;
        }
        let result = result.map_err(|failure| failure.error);
        self.metrics.smtp(result_label(result.as_ref()), self.begun.elapsed());
        result
    }
}

/// One mail over a stream that is open and protected already, from the relay's greeting on: the conversation without
/// the pool and the network around it.
pub async fn send_over<S>(stream: S, settings: &SmtpSettings, mail: &Mail) -> Result<Accepted, SendError>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
{
    let greeted = hello::greeting(stream, &settings.hello).await.map(stream::greeted).map_err(SendError::NotSent)?;
    let mut connection = Connection::log_in(greeted, settings).await.map_err(SendError::NotSent)?;
    connection.transact(mail).await.map_err(|failure| failure.error)
}

/// A connection nobody has used, or the reason there is none. Used ones that the pool offers are as stale as the one
/// just lost, so they are let go.
async fn fresh(pool: &Pool<Opener>) -> Result<managed::Object<Opener>, Fault> {
    pool.retain(|_, _| false);
    check_out(pool).await
}
