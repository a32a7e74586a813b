//! Claims in Redis, shared by every worker replica.
//!
//! One hash an event, changed by scripts that run atomically on the server and read the server's clock, so replicas
//! need not agree on the time. One multiplexed connection serves all tasks; after any failure that leaves its state in
//! question (an error of the connection, a reply that did not come, a server that turned read-only) it is thrown away
//! and made anew, because the library's own manager keeps a connection that only times out.

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, Client, RedisError, Script, ServerErrorKind, aio::MultiplexedConnection};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::{Claim, Completion, DedupeStore, Lease, Owner, Past, Sending, Terms, UNFINISHED_KEPT};
use crate::{
    fault::{Fault, Reason},
    ids::EventId,
};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(1000);
/// Longest wait for a reply.
const REPLY: Duration = Duration::from_millis(1500);
/// After a failed connect, others fail at once for this long instead of queueing up behind the next try.
const REST: Duration = Duration::from_millis(100);

/// The detail of an answer that none of our scripts gives.
const STRANGE: &str = "an answer of another shape";

/// Claims kept in Redis.
pub struct RedisDedupe {
    client: Client,
    prefix: String,
    terms: Terms,
    link: Mutex<Link>,
    claim: Script,
    sending: Script,
    complete: Script,
    give_back: Script,
}

#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that many tasks that saw one connection fail throw only that one away.
    generation: u64,
    rests_until: Option<tokio::time::Instant>,
}

impl RedisDedupe {
    /// Reads `url` (`redis://` or `rediss://`) and connects at first use. Keys begin with `prefix`. `extra_ca` is PEM.
    pub fn new(url: &SecretString, prefix: &str, terms: Terms, extra_ca: Option<&[u8]>) -> Result<Self, RedisError> {
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
        Ok(Self {
            client,
            prefix: prefix.to_owned(),
            terms,
            link: Mutex::default(),
            claim: Script::new(include_str!("scripts/claim.lua")),
            sending: Script::new(include_str!("scripts/sending.lua")),
            complete: Script::new(include_str!("scripts/complete.lua")),
            give_back: Script::new(include_str!("scripts/give_back.lua")),
        })
    }

    fn key(&self, event_id: &EventId) -> String {
        format!("{}:event:{event_id}", self.prefix)
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

    async fn call<T: redis::FromRedisValue>(&self, invocation: &redis::ScriptInvocation<'_>) -> Result<T, Fault> {
        let (mut connection, generation) = self.connection().await?;
        match tokio::time::timeout(REPLY, invocation.invoke_async(&mut connection)).await {
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

    async fn give_back(&self, lease: &Lease, how: &str) -> Result<(), Fault> {
        let mut call = self.give_back.key(self.key(&lease.event_id));
        call.arg(lease.owner.to_string()).arg(lease.fence).arg(how);
        // Not ours any more is no failure: somebody else looks after the event.
        self.call::<i64>(&call).await.map(drop)
    }
}

#[async_trait]
impl DedupeStore for RedisDedupe {
    async fn claim(&self, event_id: &EventId, owner: Owner) -> Result<Claim, Fault> {
        let mut call = self.claim.key(self.key(event_id));
        call.arg(owner.to_string()).arg(millis(self.terms.lease)).arg(millis(UNFINISHED_KEPT));
        let answer: Vec<redis::Value> = self.call(&call).await?;
        let (word, numbers) = answer.split_first().ok_or_else(|| unavailable(STRANGE))?;
        let numbers = numbers.iter().map(number).collect::<Result<Vec<i64>, Fault>>()?;
        match (text(word)?.as_str(), numbers.as_slice()) {
            ("DONE", []) => Ok(Claim::Done),
            ("BUSY", [left]) => Ok(Claim::Busy(Duration::from_millis(u64::try_from(*left).unwrap_or(0)))),
            ("FRESH", [fence, silences, died]) => {
                let past = Past { silences: u32::try_from(*silences).unwrap_or(u32::MAX), died_sending: *died != 0 };
                Ok(Claim::Fresh(Lease::new(event_id.clone(), owner, *fence, past)))
            }
            _ => Err(unavailable(STRANGE)),
        }
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        let mut call = self.sending.key(self.key(&lease.event_id));
        call.arg(lease.owner.to_string()).arg(lease.fence).arg(millis(self.terms.sending)).arg(millis(UNFINISHED_KEPT));
        match self.call::<i64>(&call).await {
            Ok(ours) => Ok((ours == 1).then_some(Sending(lease))),
            Err(fault) => Err((lease, fault)),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        let lease = &sending.0;
        let mut call = self.complete.key(self.key(&lease.event_id));
        call.arg(lease.owner.to_string()).arg(lease.fence).arg(millis(self.terms.done)).arg(receipt);
        match self.call::<String>(&call).await?.as_str() {
            "RECORDED" => Ok(Completion::Recorded),
            "LATE" => Ok(Completion::Late),
            "ALREADY" => Ok(Completion::Already),
            _ => Err(unavailable(STRANGE)),
        }
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        self.give_back(&lease, "free").await
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        self.give_back(&sending.0, "doubt").await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(value: &redis::Value) -> Result<String, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| unavailable(STRANGE))
}

fn number(value: &redis::Value) -> Result<i64, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| unavailable(STRANGE))
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
        _ => STRANGE,
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
