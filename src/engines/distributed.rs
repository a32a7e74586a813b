//! RabbitMQ and Redis, opened.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    language::SeenLanguages,
    nonces::NonceStore,
    queue::{Depths, Inspect as _, Publish, dead_letters::DeadLetters},
    records::Records,
};
use engine::{
    local_sent_cache::LocalSentCache,
    rabbitmq::{Broker, RabbitConsumer, RabbitInspector, RabbitOperator, RabbitPublisher},
    redis::{
        NotingPublisher, RedisClaims, RedisConnection, RedisLanguages, RedisNonces, RedisRecords,
        ServerInfo,
    },
};

use super::{OpenEngine, WorkerPorts};
use crate::{
    config::settings::{DistributedSettings, WorkerSettings},
    deps::Deps,
    finding::Finding,
};

/// Longest wait for a connection while examining.
const LIMIT: Duration = Duration::from_secs(10);

/// A publisher that connects in the background, and a connection to Redis that is made at first
/// use.
pub(super) struct DistributedEngine {
    broker: Broker,
    publisher: Arc<RabbitPublisher>,
    /// The same for an ingress, which notes what it has published.
    publish: Arc<dyn Publish>,
    redis: Arc<RedisConnection>,
    clock: Arc<dyn Clock>,
}

impl DistributedEngine {
    pub(super) fn new(settings: &DistributedSettings, deps: &Deps) -> Self {
        let DistributedSettings { broker: config, redis, prefix } = settings.clone();
        let broker =
            Broker { config, metrics: Arc::clone(&deps.metrics), chance: Arc::clone(&deps.chance) };
        let publisher = Arc::new(RabbitPublisher::new(broker.clone(), Arc::clone(&deps.clock)));
        let redis = Arc::new(RedisConnection::new(&redis, &prefix));
        let confirmed = Arc::clone(&publisher) as Arc<dyn Publish>;
        let publish = Arc::new(NotingPublisher::new(
            confirmed,
            Arc::clone(&redis),
            Arc::clone(&deps.clock),
            Arc::clone(&deps.metrics),
        ));
        let clock = Arc::clone(&deps.clock);
        Self { broker, publisher, publish, redis, clock }
    }

    fn operator(&self) -> Arc<RabbitOperator> {
        Arc::new(RabbitOperator::new(Arc::clone(&self.publisher), self.broker.config.clone()))
    }

    async fn examine_broker(&self) -> Vec<Finding> {
        const SUBJECT: &str = "RabbitMQ";
        let inspector =
            RabbitInspector::beside(Arc::clone(&self.publisher), self.broker.config.names.clone());
        if tokio::time::timeout(LIMIT, inspector.connected()).await.is_err() {
            let advice = "check AMQP_URL: host, port, user, password, virtual host, and for amqps:// the certificate";
            let why = inspector.ready().err().unwrap_or_default();
            return vec![Finding::wrong(SUBJECT, why, advice)];
        }
        match inspector.depths().await {
            Ok(Depths { work, retry, dead }) => {
                let fact = format!(
                    "connected, all queues exist; {work} events waiting, {retry} waiting for a retry"
                );
                vec![Finding::good(SUBJECT, fact), Finding::dead_letters(dead)]
            }
            Err(fault) => {
                let advice = "the user needs the permissions configure, write and read on names \
                              that begin with AUTHPOST_QUEUE_PREFIX";
                vec![Finding::wrong(SUBJECT, fault.to_string(), advice)]
            }
        }
    }

    async fn examine_redis(&self) -> Vec<Finding> {
        match self.redis.server_info().await {
            Ok(Some(server)) => judge(&server),
            Ok(None) => vec![
                Finding::good(REDIS, "connected, and claims can be made"),
                Finding::note(
                    REDIS,
                    "does not answer INFO",
                    "make sure that maxmemory-policy is noeviction and appendonly is on",
                ),
            ],
            Err(fault) => {
                let advice = "check REDIS_URL (host, port, user, password), the permissions of the \
                              user and that it is the master; in protected mode it closes \
                              connections from other machines";
                vec![Finding::wrong(REDIS, fault.detail, advice)]
            }
        }
    }
}

#[async_trait]
impl OpenEngine for DistributedEngine {
    fn publish(&self) -> Arc<dyn Publish> {
        Arc::clone(&self.publish)
    }

    fn nonces(&self) -> Arc<dyn NonceStore> {
        Arc::new(RedisNonces::new(Arc::clone(&self.redis)))
    }

    fn languages(&self) -> Arc<dyn SeenLanguages> {
        Arc::new(RedisLanguages::new(Arc::clone(&self.redis)))
    }

    fn records(&self) -> Arc<dyn Records> {
        let clock = Arc::clone(&self.clock);
        Arc::new(RedisRecords::new(Arc::clone(&self.redis), clock))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.operator()
    }

    /// Retries and dead letters are published through the publisher's connection.
    fn worker(&self, settings: &WorkerSettings) -> WorkerPorts {
        let consumer = RabbitConsumer::new(
            self.broker.clone(),
            Arc::clone(&self.publisher),
            settings.concurrency,
        );
        let inspect = Arc::new(consumer.inspector());
        let claims = RedisClaims::new(Arc::clone(&self.redis), settings.terms());
        let claims = Arc::new(LocalSentCache::new(Arc::new(claims), settings.on_store_outage));
        WorkerPorts { consume: Box::new(consumer), inspect, claims }
    }

    async fn examine(&self) -> Vec<Finding> {
        let (mut findings, redis) = tokio::join!(self.examine_broker(), self.examine_redis());
        findings.extend(redis);
        findings
    }
}

const REDIS: &str = "Redis";

/// What the settings of a server mean for claims.
fn judge(server: &ServerInfo) -> Vec<Finding> {
    let eviction = match server.eviction_policy.as_deref() {
        Some("noeviction") => Finding::good(REDIS, "evicts nothing when its memory is full"),
        Some(policy) => {
            let advice = "set it to noeviction: an evicted claim can cause a second mail";
            Finding::wrong(REDIS, format!("maxmemory-policy is {policy}"), advice)
        }
        None => Finding::note(
            REDIS,
            "does not tell its maxmemory-policy",
            "make sure that it is noeviction",
        ),
    };
    let persistence = if server.append_only {
        Finding::good(REDIS, "keeps its data across a restart (appendonly)")
    } else {
        Finding::note(
            REDIS,
            "appendonly is off",
            "switch it on: after a restart it is unknown what was mailed",
        )
    };
    vec![
        Finding::good(REDIS, format!("connected to a master, release {}", server.version)),
        eviction,
        persistence,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_may_evict_is_wrong() {
        let server = |eviction: Option<&str>, append_only| ServerInfo {
            version: "7.0.15".to_owned(),
            eviction_policy: eviction.map(str::to_owned),
            append_only,
        };
        let wrong = |server: &ServerInfo| judge(server).iter().any(Finding::is_wrong);
        assert!(!wrong(&server(Some("noeviction"), true)) && !wrong(&server(None, false)));
        assert!(
            wrong(&server(Some("allkeys-lru"), true)) && wrong(&server(Some("volatile-ttl"), true))
        );
    }
}
