//! The one connection to Redis that all tasks of a process share.
//!
//! After any failure that leaves its state in question (an error of the connection, a reply that did not come, a server
//! that turned read-only) it is thrown away and made anew, because the library's own manager keeps a connection that
//! only times out.

use std::{borrow::Cow, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisError, ServerErrorKind, aio::MultiplexedConnection};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use crate::fault::{Fault, Reason};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(1000);
/// Longest wait for a reply.
const REPLY: Duration = Duration::from_millis(1500);
/// After a failed connect, others fail at once for this long instead of queueing up behind the next try.
const REST: Duration = Duration::from_millis(100);

/// A connection that is made when it is needed, and again when it is in doubt.
pub struct RedisLink {
    client: Client,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that many tasks that saw one connection fail throw only that one away.
    generation: u64,
    rests_until: Option<tokio::time::Instant>,
}

impl RedisLink {
    /// Reads `url` (`redis://` or `rediss://`) and connects at first use. `extra_ca` is PEM.
    pub fn new(url: &SecretString, extra_ca: Option<&[u8]>) -> Result<Self, RedisError> {
        let url = url.expose_secret();
        let client = match extra_ca {
            Some(pem) if url.starts_with("rediss") => {
                let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
                Client::build_with_tls(url, certificates)?
            }
            _ => Client::open(url)?,
        };
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let info = client.get_connection_info().clone().set_tcp_settings(tcp);
        let client = if url.starts_with("rediss") && extra_ca.is_some() { client } else { Client::open(info)? };
        Ok(Self { client, link: Mutex::default() })
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Fault> {
        let mut link = self.link.lock().await;
        if let Some(connection) = &link.connection {
            return Ok((connection.clone(), link.generation));
        }
        if link.rests_until.is_some_and(|until| tokio::time::Instant::now() < until) {
            return Err(unavailable("no connection"));
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(REPLY));
        match tokio::time::timeout(CONNECT, self.client.get_multiplexed_async_connection_with_config(&config)).await {
            Ok(Ok(connection)) => {
                link.generation += 1;
                link.rests_until = None;
                link.connection = Some(connection.clone());
                Ok((connection, link.generation))
            }
            failed => {
                link.rests_until = Some(tokio::time::Instant::now() + REST);
                Err(failed.map_or_else(
                    |_| unavailable("no connection in time"),
                    |result| result.err().map_or_else(|| unavailable("no connection"), |e| classify(&e)),
                ))
            }
        }
    }

    async fn discard(&self, generation: u64) {
        let mut link = self.link.lock().await;
        if link.generation == generation {
            link.connection = None;
        }
    }

    /// Runs a script, whole on the server.
    pub(super) async fn run<T: redis::FromRedisValue>(&self, script: &redis::ScriptInvocation<'_>) -> Result<T, Fault> {
        self.ask(async |mut connection| script.invoke_async(&mut connection).await).await
    }

    /// Gives one command.
    pub(super) async fn tell<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Fault> {
        self.ask(async |mut connection| command.query_async(&mut connection).await).await
    }

    async fn ask<T>(&self, asking: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>) -> Result<T, Fault> {
        let (connection, generation) = self.connection().await?;
        match tokio::time::timeout(REPLY, asking(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if leaves_doubt(&error) {
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
        let (mut connection, generation) = self.connection().await.map_err(|fault| fault.detail)?;
        let role = redis::cmd("ROLE");
        let answer = tokio::time::timeout(REPLY, role.query_async::<redis::Value>(&mut connection)).await;
        let problem = match &answer {
            Ok(Ok(redis::Value::Array(fields))) => match fields.first().map(text) {
                Some(Ok(role)) if role != "master" => Some("this server is a read-only replica"),
                _ => None,
            },
            // A server that forbids ROLE may still allow the scripts; that is found out by the claims themselves.
            Ok(Ok(_)) => None,
            Ok(Err(error)) if !leaves_doubt(error) => None,
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

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its release.
    pub version: String,
    /// What it does when its memory is full; ours must be `noeviction`. `None` if we may not know.
    pub eviction: Option<String>,
    /// Whether every write goes to its log.
    pub appends: bool,
}

impl RedisLink {
    /// Asks the server what it is.
    pub async fn server(&self) -> Result<Server, Fault> {
        self.ready().await.map_err(|why| Fault::transient(Reason::DedupeUnavailable, why))?;
        let info: redis::InfoDict = self.tell(&redis::cmd("INFO")).await?;
        Ok(Server {
            version: info.get("redis_version").unwrap_or_default(),
            eviction: info.get("maxmemory_policy"),
            appends: info.get::<i64>("aof_enabled") == Some(1),
        })
    }
}

fn text(value: &redis::Value) -> Result<String, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| strange())
}

/// An answer that none of our scripts gives.
pub(super) fn strange() -> Fault {
    unavailable("an answer of another shape")
}

fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::DedupeUnavailable, detail)
}

/// Whether the connection must not be used again.
fn leaves_doubt(error: &RedisError) -> bool {
    use redis::ErrorKind::Server;
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || matches!(error.kind(), redis::ErrorKind::Parse | redis::ErrorKind::AuthenticationFailed)
        || matches!(error.kind(), Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading))
}

/// Everything is transient for an event: what is refused today (a password, a permission) an operator can mend while
/// the event waits in the queue.
fn classify(error: &RedisError) -> Fault {
    use redis::ErrorKind;
    unavailable(match error.kind() {
        ErrorKind::Io if error.is_timeout() => "no reply in time",
        ErrorKind::Io if error.is_connection_refusal() => "the connection was refused",
        ErrorKind::Io => "the connection broke",
        ErrorKind::AuthenticationFailed => "the user name or password was refused",
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "this server is a read-only replica",
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "the server is loading its data",
        ErrorKind::Server(ServerErrorKind::MasterDown) => "the replica has lost its master",
        ErrorKind::Server(ServerErrorKind::NoPerm) => "this user may not run the scripts (EVALSHA, SCRIPT LOAD)",
        ErrorKind::Server(_) => "the server refused the command",
        _ => "an answer of another shape",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_retried_and_only_doubtful_connections_are_dropped() {
        let server = |kind| RedisError::from((redis::ErrorKind::Server(kind), "text"));
        let io = |kind| RedisError::from(std::io::Error::from(kind));
        for (error, drops, says) in [
            (server(ServerErrorKind::ReadOnly), true, "read-only"),
            (server(ServerErrorKind::BusyLoading), true, "loading"),
            (server(ServerErrorKind::NoPerm), false, "may not run"),
            (server(ServerErrorKind::ResponseError), false, "refused the command"),
            (io(std::io::ErrorKind::TimedOut), true, "in time"),
            (io(std::io::ErrorKind::ConnectionRefused), true, "was refused"),
            (io(std::io::ErrorKind::BrokenPipe), true, "broke"),
            (RedisError::from((redis::ErrorKind::AuthenticationFailed, "text")), true, "password"),
        ] {
            let fault = classify(&error);
            assert_eq!(fault.severity, crate::fault::Severity::Transient { retry_after: None });
            assert!(fault.detail.contains(says), "{error}: {fault}");
            assert_eq!(leaves_doubt(&error), drops, "{error}");
        }
    }
}
