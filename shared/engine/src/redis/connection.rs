//! The one connection to Redis that all tasks of a process share.
//!
//! After any failure that leaves its state in question (a broken connection, a reply that did not
//! come, a server that turned read-only) it is replaced by a new one, because the library's own
//! manager keeps a connection that only times out.

use std::{borrow::Cow, fmt, time::Duration};

use domain::fault::{Fault, Reason};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisError,
    ServerErrorKind, TlsCertificates, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use runtime::tls::Trust;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::script::Call;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(1000);
/// Longest wait for a reply.
const REPLY: Duration = Duration::from_millis(1500);
/// After a failed connect, other tasks fail at once for this long instead of queueing behind the
/// next attempt.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where Redis is and how to connect to it: `REDIS_URL`, parsed.
#[derive(Clone)]
pub struct RedisConfig {
    client: Client,
}

/// Why `REDIS_URL` cannot be used. Never repeats it: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a URL such as redis://user:password@host:6379/0 or rediss://…; what follows the host \
     is the number of a database"
)]
pub struct InvalidRedisUrl;

impl RedisConfig {
    /// Parses a `redis://` or `rediss://` URL.
    pub fn parse(url: &SecretString, trust: &Trust) -> Result<Self, InvalidRedisUrl> {
        let info = url.expose_secret().into_connection_info().map_err(|_| InvalidRedisUrl)?;
        if info.redis_settings().db() < 0 {
            return Err(InvalidRedisUrl);
        }
        // Commands are small and wait for a reply: Nagle's algorithm would delay them.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = match (info.addr(), trust.extra_pem()) {
            (ConnectionAddr::TcpTls { .. }, Some(pem)) => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) },
            ),
            _ => Client::open(info),
        };
        client.map(|client| Self { client }).map_err(|_| InvalidRedisUrl)
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("address", &self.client.get_connection_info().addr().to_string())
            .finish_non_exhaustive()
    }
}

/// A connection that is made at first use, and made again when its state is in question.
pub struct RedisConnection {
    client: Client,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that many tasks that saw one connection fail discard only that one.
    generation: u64,
    retry_at: Option<Instant>,
}

impl RedisConnection {
    /// Makes a connection that is opened by its first use.
    pub fn new(config: &RedisConfig) -> Self {
        Self { client: config.client.clone(), current: Mutex::default() }
    }

    async fn get(&self) -> Result<(MultiplexedConnection, u64), Fault> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.generation));
        }
        if current.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(unavailable("no connection"));
        }
        match self.connect().await {
            Ok(connection) => {
                current.generation += 1;
                current.retry_at = None;
                current.connection = Some(connection.clone());
                Ok((connection, current.generation))
            }
            Err(fault) => {
                current.retry_at = Some(Instant::now() + BACK_OFF);
                Err(fault)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(REPLY));
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connected =
            timeout(CONNECT, connecting).await.map_err(|_| unavailable("no connection in time"))?;
        let mut connection = connected.map_err(|error| classify(&error))?;
        // Only a node of a cluster answers this without an error. Its keys are on several servers.
        let question = redis::cmd("CLUSTER").arg("INFO").to_owned();
        match timeout(REPLY, question.query_async::<redis::Value>(&mut connection)).await {
            Ok(Ok(_)) => Err(unavailable(CLUSTER)),
            Ok(Err(error)) if error.is_io_error() => Err(classify(&error)),
            Ok(Err(_)) => Ok(connection),
            Err(_) => Err(unavailable("no reply in time")),
        }
    }

    async fn discard(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }

    /// Runs a script atomically on the server.
    pub(super) async fn script<T: redis::FromRedisValue>(
        &self,
        script: &Call<'_>,
    ) -> Result<T, Fault> {
        let by_digest = script.by_digest();
        self.call(async |mut connection| match by_digest.query_async(&mut connection).await {
            Err(error) if is_unknown_script(&error) => {
                script.by_text().query_async(&mut connection).await
            }
            answer => answer,
        })
        .await
    }

    /// Runs one command, within the time limit.
    pub(super) async fn command<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, Fault> {
        self.call(async |mut connection| command.query_async(&mut connection).await).await
    }

    /// Runs several commands at once, within the time limit of one.
    pub(super) async fn pipeline<T: redis::FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, Fault> {
        self.call(async |mut connection| pipeline.query_async(&mut connection).await).await
    }

    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, Fault> {
        let (connection, generation) = self.get().await?;
        match timeout(REPLY, call(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if is_unusable_after(&error) {
                    self.discard(generation).await;
                }
                Err(classify(&error))
            }
            Err(_) => {
                self.discard(generation).await;
                Err(unavailable("no reply in time"))
            }
        }
    }

    /// `Err` with the reason while the server cannot be written to.
    pub(super) async fn ready(&self) -> Result<(), Cow<'static, str>> {
        let (mut connection, generation) = self.get().await.map_err(|fault| fault.detail)?;
        let role = redis::cmd("ROLE");
        let reply = timeout(REPLY, role.query_async::<redis::Value>(&mut connection)).await;
        let problem = match &reply {
            Ok(Ok(redis::Value::Array(fields))) => match fields
                .first()
                .map(redis::from_redis_value_ref::<String>)
            {
                Some(Ok(role)) if role != "master" => Some("this server is a read-only replica"),
                _ => None,
            },
            // A server that forbids ROLE may still allow the scripts; the claims themselves will
            // show.
            Ok(Ok(_)) => None,
            Ok(Err(error)) if !is_unusable_after(error) => None,
            Ok(Err(_)) => Some("the connection broke"),
            Err(_) => Some("no reply in time"),
        };
        match problem {
            None => Ok(()),
            Some(problem) => {
                self.discard(generation).await;
                Err(Cow::Borrowed(problem))
            }
        }
    }
}

/// A reply that none of our scripts gives.
pub(super) fn unexpected_reply() -> Fault {
    unavailable("an unexpected reply")
}

fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::DedupeUnavailable, detail)
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether the connection must not be used again.
fn is_unusable_after(error: &RedisError) -> bool {
    use redis::ErrorKind::{AuthenticationFailed, Parse, Server};
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || matches!(error.kind(), Parse | AuthenticationFailed)
        || matches!(
            error.kind(),
            Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
            )
        )
}

/// Every error is transient for an event: what is refused today can be fixed by an operator while the
/// event waits in the queue.
fn classify(error: &RedisError) -> Fault {
    use redis::ErrorKind;
    unavailable(match error.kind() {
        ErrorKind::Io if error.is_timeout() => "no reply in time",
        ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
        ErrorKind::Io => "the connection broke",
        ErrorKind::AuthenticationFailed => PASSWORD,
        _ => refusal(error),
    })
}

const PASSWORD: &str = "the user name or password was refused";

/// What a server means by the code of its error, or by one within the error of a script, where
/// releases before 7 have it.
fn refusal(error: &RedisError) -> &'static str {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let is = |wanted: &str| code == wanted || detail.contains(&format!("-{wanted} "));
    let known = [
        ("READONLY", "this server is a read-only replica"),
        ("LOADING", "the server is loading its data"),
        ("MASTERDOWN", "the replica has lost its master"),
        ("OOM", "the memory of the server is full (maxmemory), and it evicts nothing"),
        ("MISCONF", "the server cannot save its data and takes no writes (MISCONF): see its disk"),
        ("NOREPLICAS", "the server has too few replicas to take writes (min-replicas-to-write)"),
        ("NOAUTH", NO_PASSWORD),
        ("WRONGPASS", PASSWORD),
        (
            "NOPERM",
            "this user lacks a permission: EVALSHA, EVAL, what the scripts call, or the keys of the prefix",
        ),
        ("MOVED", CLUSTER),
        ("ASK", CLUSTER),
        ("CROSSSLOT", CLUSTER),
        ("CLUSTERDOWN", CLUSTER),
    ];
    let found = known.into_iter().find(|(code, _)| is(code));
    match found {
        Some((_, meaning)) => meaning,
        // Without a password, a call with many arguments is refused before it is understood.
        None if detail.contains("unauthenticated") => NO_PASSWORD,
        None if matches!(
            error.kind(),
            redis::ErrorKind::Server(_) | redis::ErrorKind::Extension
        ) =>
        {
            "the server refused the command"
        }
        None => "an unexpected reply",
    }
}

const NO_PASSWORD: &str = "the server asks for a password, and REDIS_URL has none";

const CLUSTER: &str = "this server is a node of a Redis Cluster, which is not supported";

#[cfg(test)]
mod tests;
