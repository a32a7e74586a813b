//! The connections to one relay: opened when needed, reused, limited in number, and given up when
//! the relay has closed them.

use std::{borrow::Cow, sync::Arc, time::Duration};

use deadpool::managed::{
    self, Metrics as Use, Object, Pool, RecycleError, RecycleResult, WeakPool,
};
use domain::fault::Fault;
use parking_lot::Mutex;
use runtime::metrics::{RelayMetrics, labels::Success};
use tokio::{
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    config::RelayConfig,
    connection::SmtpConnection,
    limit::{ConnectionLimit, Permit},
    oauth::AccessTokens,
    pace::Pace,
    reply::{Concerns, Refusal, unavailable},
};

/// A connection is closed at this age, before the relay closes it.
const MAX_AGE: Duration = Duration::from_secs(300);
/// A connection that was idle for longer is tested with NOOP before it is used.
const UNTESTED_IDLE: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is closed.
const MAX_IDLE: Duration = Duration::from_secs(45);
/// Idle connections are looked at this often.
pub(super) const REAP_EVERY: Duration = Duration::from_secs(5);
/// Pause after the relay turned a connection away. It may not have noticed yet that another was
/// closed.
const TURNED_AWAY: Duration = Duration::from_millis(50);

/// Opens connections for the pool, and decides whether one may be reused.
struct Manager {
    config: Arc<RelayConfig>,
    metrics: RelayMetrics,
    tokens: Option<Arc<AccessTokens>>,
    /// Counts the connections that are open or being opened: each has a clone.
    open: Arc<()>,
}

impl managed::Manager for Manager {
    type Type = (SmtpConnection, Arc<()>);
    type Error = Refusal;

    async fn create(&self) -> Result<Self::Type, Refusal> {
        let counted = Arc::clone(&self.open);
        // Boxed: it would make the future of everybody who takes a connection large.
        let opened = Box::pin(SmtpConnection::open(&self.config, self.tokens.as_ref())).await;
        self.metrics.connection(if opened.is_ok() { Success::Ok } else { Success::Failed });
        Ok((opened?, counted))
    }

    async fn recycle(
        &self,
        (connection, _): &mut Self::Type,
        usage: &Use,
    ) -> RecycleResult<Refusal> {
        let worn = !connection.is_clean()
            || !connection.is_open()
            || connection.age() > MAX_AGE
            || usage.recycle_count >= self.config.limits.mails_per_connection
            || connection.idle_for() > MAX_IDLE;
        if worn || (connection.idle_for() > UNTESTED_IDLE && !connection.is_alive().await) {
            return Err(RecycleError::message("not reusable"));
        }
        Ok(())
    }
}

/// The connections to one relay.
pub(super) struct Connections {
    pool: Pool<Manager>,
    limit: Arc<ConnectionLimit>,
    pub(super) pace: Pace,
    config: Arc<RelayConfig>,
    metrics: RelayMetrics,
    state: Mutex<Reachability>,
    /// Closes idle connections that the relay has closed, or may soon.
    reaper: AbortHandle,
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

/// The result of the last contact with the relay.
#[derive(Default)]
struct Reachability {
    failed: Option<(Instant, Cow<'static, str>)>,
    reached: bool,
}

/// A connection that a mail has for itself.
pub(super) struct InUse {
    connection: Object<Manager>,
    permit: Permit,
}

impl InUse {
    pub(super) fn smtp(&mut self) -> &mut SmtpConnection {
        &mut self.connection.0
    }

    /// Whether it was used for another mail before.
    pub(super) fn is_reused(&self) -> bool {
        Object::metrics(&self.connection).recycle_count > 0
    }
}

impl Connections {
    /// Holds at most `connections`, opened when first needed. Must be called within a runtime.
    pub(super) fn new(
        config: RelayConfig,
        connections: usize,
        metrics: RelayMetrics,
    ) -> Result<Self, managed::BuildError> {
        let limits = config.limits;
        let connections = limits.connections.unwrap_or(connections).max(1);
        let (config, open) = (Arc::new(config), Arc::new(()));
        let tokens = config.oauth().map(AccessTokens::new);
        let manager =
            Manager { config: Arc::clone(&config), metrics: metrics.clone(), tokens, open };
        let pool = Pool::builder(manager).max_size(connections).build()?;
        let reaper = tokio::spawn(reap(pool.weak())).abort_handle();
        metrics.connection_limit(connections);
        let (limit, pace) = (ConnectionLimit::new(connections), Pace::new(limits.rate));
        Ok(Self { pool, limit, pace, config, metrics, state: Mutex::default(), reaper })
    }

    /// A connection that is ready for a mail, within the time to connect.
    pub(super) async fn take(&self) -> Result<InUse, Refusal> {
        let longest = self.config.timeouts.connect;
        let got = timeout(longest, async {
            self.pace.turn().await;
            self.take_one(self.limit.permit().await).await
        });
        let got = got.await.unwrap_or_else(|_| {
            // The relay's own limit ends at the same moment if nothing was waited for before.
            let detail = format!(
                "the relay had no connection for this mail within {longest:?} \
                 (AUTHPOST_SMTP_CONNECT_TIMEOUT)"
            );
            Err(Fault { detail: detail.into(), ..unavailable("") }.into())
        });
        let mut state = self.state.lock();
        match &got {
            Ok(_) => *state = Reachability { failed: None, reached: true },
            Err(refusal) => state.failed = Some((Instant::now(), refusal.fault.detail.clone())),
        }
        got
    }

    /// A connection instead of one that turned out to be closed. The old one is given up first:
    /// there may be room for one only. Idle ones may be as stale.
    pub(super) async fn replace(&self, stale: InUse) -> Result<InUse, Refusal> {
        let InUse { connection, permit } = stale;
        drop(Object::take(connection));
        self.pool.retain(|_, _| false);
        self.take_one(permit).await
    }

    /// Takes an idle connection or opens one. If the relay takes no more than there are, waits for
    /// one of them.
    async fn take_one(&self, mut permit: Permit) -> Result<InUse, Refusal> {
        loop {
            let refusal = match self.pool.get().await {
                Ok(connection) => return Ok(InUse { connection, permit }),
                Err(managed::PoolError::Backend(refusal)) => refusal,
                Err(_) => return Err(unavailable("no connection to the relay is free").into()),
            };
            let others = Arc::strong_count(&self.pool.manager().open) - 1;
            if refusal.concerns != Concerns::OurPace || others == 0 {
                return Err(refusal);
            }
            self.limit.turned_away(others);
            self.metrics.connection_limit(self.limit.current());
            drop(permit);
            sleep(TURNED_AWAY).await;
            permit = self.limit.permit().await;
        }
    }

    /// Whether a connection is open that no mail uses.
    pub(super) fn has_idle(&self) -> bool {
        self.pool.status().available > 0
    }

    /// Whether a mail has to wait for others.
    pub(super) fn is_busy(&self) -> bool {
        self.limit.is_exhausted() || self.pace.is_busy()
    }

    /// Contacts the relay only when nothing is known yet or the last contact failed, and not more
    /// often than every ten seconds: readiness checks must not become load.
    pub(super) async fn ready(&self) -> Result<(), Cow<'static, str>> {
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
            None => self.take().await.map(drop).map_err(|refusal| refusal.fault.detail),
        }
    }

    /// How many connections there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.pool.status().size
    }
}

async fn reap(connections: WeakPool<Manager>) {
    let mut ticks = interval(REAP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pool) = connections.upgrade() else { return };
        pool.retain(|(connection, _), _| connection.is_open() && connection.idle_for() <= MAX_IDLE);
    }
}
