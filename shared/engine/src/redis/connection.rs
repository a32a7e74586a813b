//! The one connection to Redis that all tasks of a process share.
//!
//! After any failure that leaves its state in question (a broken connection, a reply that did not
//! come, a server that turned read-only, keys that moved) it is replaced by a new one, because the
//! library's own manager keeps a connection that only times out. The replacement is looked for
//! where the master is then.

use std::{borrow::Cow, time::Duration};

use domain::fault::Fault;
use redis::{FromRedisValue, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    call::{Call, Keys},
    config::RedisConfig,
    open::{Open, open},
    refusal::{classify, is_unknown_script, is_unusable_after, unavailable},
};

/// First and longest wait for a connection. It doubles with each failure, so that a slow network is
/// slow and not cut off forever.
const CONNECT: Duration = Duration::from_secs(3);
const LONGEST_CONNECT: Duration = Duration::from_secs(12);

/// First and longest wait for a reply. It doubles as well, and halves once replies are fast again.
const REPLY: Duration = Duration::from_millis(1500);
const LONGEST_REPLY: Duration = Duration::from_secs(6);

/// Longest wait while another task connects.
const OTHERS: Duration = Duration::from_secs(3);

/// After a failed connect, other tasks fail at once for this long instead of queueing behind the
/// next attempt.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A connection that is made at first use, and made again when its state is in question.
pub struct RedisConnection {
    config: RedisConfig,
    prefix: String,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    open: Option<Open>,
    /// Counts connections, so that many tasks that saw one connection fail discard only that one.
    generation: u64,
    retry_at: Option<Instant>,
    /// Failures that no fast reply has made up for. The waits grow with them.
    failures: u32,
}

/// A connection that a task has got, and how long it may wait for a reply.
struct Got {
    open: Open,
    generation: u64,
    limit: Duration,
    /// Whether that has grown already.
    is_after_failure: bool,
}

impl RedisConnection {
    /// Makes a connection that is opened by its first use. All keys begin with `prefix`, which is
    /// their hash tag in a cluster.
    pub fn new(config: &RedisConfig, prefix: &str) -> Self {
        Self { config: config.clone(), prefix: prefix.to_owned(), current: Mutex::default() }
    }

    /// What all keys begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    async fn get(&self) -> Result<Got, Fault> {
        let waiting = timeout(OTHERS, self.current.lock()).await;
        let mut current = waiting.map_err(|_| unavailable("no connection in time"))?;
        if current.open.is_none() {
            if current.retry_at.is_some_and(|at| Instant::now() < at) {
                return Err(unavailable("no connection"));
            }
            let limit = grown(CONNECT, LONGEST_CONNECT, current.failures);
            match open(&self.config, &self.prefix, limit).await {
                Ok(open) => {
                    current.generation += 1;
                    current.retry_at = None;
                    current.open = Some(open);
                }
                Err(fault) => {
                    current.failures = current.failures.saturating_add(1);
                    current.retry_at = Some(Instant::now() + BACK_OFF);
                    return Err(fault);
                }
            }
        }
        let open = current.open.clone().ok_or_else(|| unavailable("no connection"))?;
        let limit = grown(REPLY, LONGEST_REPLY, current.failures);
        let is_after_failure = current.failures > 0;
        Ok(Got { open, generation: current.generation, limit, is_after_failure })
    }

    async fn discard(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation && current.open.is_some() {
            current.open = None;
            current.failures = current.failures.saturating_add(1);
        }
    }

    /// Calls a script, which runs atomically on the server, or a command.
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call<'_>) -> Result<T, Fault> {
        self.within_limit(async |mut connection, keys| {
            match call.request(keys).query_async(&mut connection).await {
                Err(error) if is_unknown_script(&error) => match call.with_text(keys) {
                    Some(request) => request.query_async(&mut connection).await,
                    None => Err(error),
                },
                answer => answer,
            }
        })
        .await
    }

    /// Sends several commands at once, within the time limit of one.
    pub(super) async fn calls<T: FromRedisValue>(&self, calls: &[Call<'_>]) -> Result<T, Fault> {
        self.within_limit(async |mut connection, keys| {
            let mut pipeline = redis::pipe();
            for call in calls {
                pipeline.add_command(call.request(keys));
            }
            pipeline.query_async(&mut connection).await
        })
        .await
    }

    /// Asks about the server itself.
    pub(super) async fn ask<T: FromRedisValue>(&self, question: &redis::Cmd) -> Result<T, Fault> {
        self.within_limit(async |mut connection, _| question.query_async(&mut connection).await)
            .await
    }

    async fn within_limit<T>(
        &self,
        call: impl AsyncFnOnce(MultiplexedConnection, Keys) -> Result<T, RedisError>,
    ) -> Result<T, Fault> {
        let Got { open: Open { connection, keys }, generation, limit, is_after_failure } =
            self.get().await?;
        let begun = Instant::now();
        let Ok(result) = timeout(limit, call(connection, keys)).await else {
            self.discard(generation).await;
            return Err(unavailable("no reply in time"));
        };
        match result {
            Ok(value) => {
                if is_after_failure && begun.elapsed() < limit / 4 {
                    let mut current = self.current.lock().await;
                    current.failures = current.failures.saturating_sub(1);
                }
                Ok(value)
            }
            Err(error) => {
                if is_unusable_after(&error) {
                    self.discard(generation).await;
                }
                Err(classify(&error))
            }
        }
    }

    /// `Err` with the reason while the server cannot be written to.
    pub(super) async fn ready(&self) -> Result<(), Cow<'static, str>> {
        let Got { open: Open { mut connection, .. }, generation, limit, .. } =
            self.get().await.map_err(|fault| fault.detail)?;
        let role = redis::cmd("ROLE");
        let reply = timeout(limit, role.query_async::<redis::Value>(&mut connection)).await;
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

/// A limit that has doubled with each failure.
fn grown(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}
