//! Which adapter stands behind which port. The one `match` on engines is [`engine`].

use std::sync::Arc;

use anyhow::Context as _;
use ingress::sign_in::{Means, SignInFront};
use shared::{
    clock::Clock,
    crypto::system_entropy,
    dedupe::{
        DedupeStore,
        embedded::EmbeddedDedupe,
        once::{EmbeddedOnce, Once, RedisOnce},
        outage::Remembering,
        records as claims,
        redis::RedisDedupe,
        redis_link::RedisLink,
    },
    health::Heartbeat,
    metrics::Metrics,
    queue::{
        Consume, Inspect, Publish,
        dead::DeadLetters,
        embedded::{EmbeddedLook, EmbeddedQueue},
        rabbitmq::{Broker, Names, RabbitConsumer, RabbitLook, RabbitPublisher},
        search::Search,
    },
    retry::Chance,
    sqlite::Store,
    tls,
    workos::{self, WorkosClock, events::WorkosEvents, session::Sessions, sign_in::WorkosSignIn},
};
use tokio_util::sync::CancellationToken;
use worker::{Back, Manner, Pause, mail::render::Templates, mail::smtp::SmtpMailer, reconcile::Reconciler};

use crate::config::settings::{Distributed, Embedded, Engine, Process, SignIn, Worker, Workos};

/// What everything shares.
#[derive(Clone)]
pub struct Surroundings {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub chance: Chance,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// Asks everything to end.
    pub stop: CancellationToken,
}

/// The back's end of an engine.
pub struct BackEnd {
    /// Deliveries.
    pub consume: Box<dyn Consume>,
    /// Depths and readiness.
    pub inspect: Arc<dyn Inspect>,
    /// Claims.
    pub dedupe: Arc<dyn DedupeStore>,
    /// What is known of each event, and where missed ones go.
    pub inner: Inner,
}

/// What looks after events beside their usual way.
#[derive(Clone)]
pub struct Inner {
    /// What is known of each event.
    pub claims: Arc<dyn claims::Records>,
    /// Where events go.
    pub publish: Arc<dyn Publish>,
    /// What is done one time only.
    pub once: Arc<dyn Once>,
}

/// The front's end of an engine.
pub struct FrontEnd {
    /// Where events go.
    pub publish: Arc<dyn Publish>,
    /// Where the states of sign-ins are spent.
    pub once: Arc<dyn Once>,
}

/// Both ends, on whichever engine was chosen.
pub fn engine(engine: &Engine, worker: &Worker, process: &Process, around: &Surroundings) -> anyhow::Result<(FrontEnd, BackEnd)> {
    match engine {
        Engine::Embedded(embedded) => open_embedded(embedded, worker, around),
        Engine::Distributed(distributed) => {
            let (publisher, redis) =
                (publisher(distributed, process.extra_ca.as_deref(), around)?, redis_link(distributed, process.extra_ca.as_deref())?);
            let once = Arc::new(RedisOnce::new(Arc::clone(&redis), &distributed.prefix));
            let back = distributed_back(distributed, Arc::clone(&publisher), redis, worker, process, around)?;
            Ok((FrontEnd { publish: publisher, once }, back))
        }
    }
}

/// The front's end of RabbitMQ and Redis. Redis is only connected to when somebody signs in.
pub fn distributed_front(distributed: &Distributed, process: &Process, around: &Surroundings) -> anyhow::Result<FrontEnd> {
    let once = Arc::new(RedisOnce::new(redis_link(distributed, process.extra_ca.as_deref())?, &distributed.prefix));
    Ok(FrontEnd { publish: publisher(distributed, process.extra_ca.as_deref(), around)?, once })
}

fn open_embedded(embedded: &Embedded, worker: &Worker, around: &Surroundings) -> anyhow::Result<(FrontEnd, BackEnd)> {
    let store = Store::open(&embedded.data_dir)?;
    let queue = EmbeddedQueue::new(Arc::clone(&store), Arc::clone(&around.clock), embedded.queue_max);
    let inner = embedded_inner(&store, queue.clone(), around);
    let dedupe = EmbeddedDedupe::new(store, Arc::clone(&around.clock), worker.terms());
    let consume = Box::new(queue.consumer(usize::from(worker.concurrency)));
    let dedupe = Arc::new(Remembering::new(Arc::new(dedupe), worker.when_away));
    let front = FrontEnd { publish: Arc::clone(&inner.publish), once: Arc::clone(&inner.once) };
    Ok((front, BackEnd { consume, inspect: Arc::new(queue), dedupe, inner }))
}

fn embedded_inner(store: &Arc<Store>, queue: EmbeddedQueue, around: &Surroundings) -> Inner {
    let clock = || Arc::clone(&around.clock);
    Inner {
        claims: Arc::new(claims::EmbeddedRecords::new(Arc::clone(store), clock())),
        publish: Arc::new(queue),
        once: Arc::new(EmbeddedOnce::new(Arc::clone(store), clock())),
    }
}

fn distributed_inner(distributed: &Distributed, redis: &Arc<RedisLink>, publisher: Arc<RabbitPublisher>) -> Inner {
    Inner {
        claims: Arc::new(claims::RedisRecords::new(Arc::clone(redis), &distributed.prefix)),
        publish: publisher,
        once: Arc::new(RedisOnce::new(Arc::clone(redis), &distributed.prefix)),
    }
}

/// The front's end of RabbitMQ.
pub fn publisher(distributed: &Distributed, extra_ca: Option<&[u8]>, around: &Surroundings) -> anyhow::Result<Arc<RabbitPublisher>> {
    Ok(Arc::new(RabbitPublisher::new(broker(distributed, extra_ca, around)?, Arc::clone(&around.clock))))
}

/// The back's end of RabbitMQ and Redis. Retries and dead letters go out through `publisher`.
pub fn distributed_back(
    distributed: &Distributed,
    publisher: Arc<RabbitPublisher>,
    redis: Arc<RedisLink>,
    worker: &Worker,
    process: &Process,
    around: &Surroundings,
) -> anyhow::Result<BackEnd> {
    let inner = distributed_inner(distributed, &redis, Arc::clone(&publisher));
    let consumer = RabbitConsumer::new(broker(distributed, process.extra_ca.as_deref(), around)?, publisher, worker.concurrency);
    let redis = RedisDedupe::new(redis, &distributed.prefix, worker.terms());
    let inspect = Arc::new(consumer.inspector());
    let dedupe = Arc::new(Remembering::new(Arc::new(redis), worker.when_away));
    Ok(BackEnd { consume: Box::new(consumer), inspect, dedupe, inner })
}

/// The connection to Redis, made at first use.
pub fn redis_link(distributed: &Distributed, extra_ca: Option<&[u8]>) -> anyhow::Result<Arc<RedisLink>> {
    // The library's message may repeat the URL; the variable's name is enough.
    let link = RedisLink::new(&distributed.redis_url, extra_ca).map_err(|_| anyhow::anyhow!("REDIS_URL cannot be used"))?;
    Ok(Arc::new(link))
}

fn broker(distributed: &Distributed, extra_ca: Option<&[u8]>, around: &Surroundings) -> anyhow::Result<Broker> {
    let extra_ca = extra_ca.map(|pem| String::from_utf8(pem.to_vec())).transpose().context("AUTHPOST_EXTRA_CA is not text")?;
    Ok(Broker {
        url: distributed.amqp_url.clone(),
        names: Names::new(&distributed.prefix, distributed.queue_max),
        extra_ca,
        metrics: Arc::clone(&around.metrics),
        chance: Arc::clone(&around.chance),
    })
}

/// An installation as an operator sees it from outside.
pub struct Records {
    /// Its dead letters.
    pub dead: Arc<dyn DeadLetters>,
    /// What waits.
    pub search: Arc<dyn Search>,
    /// The rest.
    pub inner: Inner,
}

/// Longest wait for a broker.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

impl Records {
    /// Waits until the queue takes events.
    pub async fn connected(&self) -> anyhow::Result<()> {
        let ready = async {
            let mut looks = tokio::time::interval(std::time::Duration::from_millis(50));
            while self.inner.publish.ready().is_err() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(CONNECT, ready).await.context("the queue cannot be reached")
    }
}

/// Opens the records of an installation, beside its services.
pub fn records(engine: &Engine, extra_ca: Option<&[u8]>, around: &Surroundings) -> anyhow::Result<Records> {
    match engine {
        Engine::Embedded(embedded) => {
            let store = Store::beside(&embedded.data_dir)?;
            let queue = EmbeddedQueue::new(Arc::clone(&store), Arc::clone(&around.clock), embedded.queue_max);
            let inner = embedded_inner(&store, queue, around);
            let letters = Arc::new(EmbeddedLook::new(store, Arc::clone(&around.clock)));
            Ok(Records { dead: Arc::clone(&letters) as Arc<dyn DeadLetters>, search: letters, inner })
        }
        Engine::Distributed(distributed) => {
            let (publisher, redis) = (publisher(distributed, extra_ca, around)?, redis_link(distributed, extra_ca)?);
            let inner = distributed_inner(distributed, &redis, Arc::clone(&publisher));
            let names = Names::new(&distributed.prefix, distributed.queue_max);
            let letters = Arc::new(RabbitLook::new(publisher, names));
            Ok(Records { dead: Arc::clone(&letters) as Arc<dyn DeadLetters>, search: letters, inner })
        }
    }
}

/// What looks for events that no webhook has brought. `clock` is WorkOS's, if it is known.
pub fn reconciler(
    workos: &Workos,
    inner: Inner,
    extra_ca: Option<&[u8]>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<Reconciler> {
    let tls = tls::client(extra_ca)?;
    let events = Arc::new(WorkosEvents::new(&workos.url, &workos.key, workos.timeout, &tls)?);
    Ok(Reconciler { events, records: inner.claims, once: inner.once, publish: inner.publish, clock, metrics })
}

/// The sign-in half with everything it uses.
pub fn sign_in(settings: &SignIn, once: Arc<dyn Once>, process: &Process, around: &Surroundings) -> anyhow::Result<SignInFront> {
    let SignIn { rules, workos: Workos { key, url, timeout }, issuers, page: _ } = settings.clone();
    let Surroundings { clock, metrics, .. } = around.clone();
    let tls = tls::client(process.extra_ca.as_deref())?;
    let api = workos::sign_in::Settings { base_url: url, api_key: key, client_id: rules.client_id.clone(), timeout };
    let workos: Arc<dyn workos::sign_in::SignIn> = Arc::new(WorkosSignIn::new(api, &tls, Arc::clone(&clock))?);
    let sessions = Sessions::new(Arc::clone(&workos), issuers, Arc::clone(&clock));
    Ok(SignInFront::new(rules, Means { workos, sessions, once, entropy: system_entropy(), clock, metrics }))
}

/// The back with everything it uses.
pub fn back(
    worker: &Worker,
    dedupe: Arc<dyn DedupeStore>,
    process: &Process,
    around: &Surroundings,
    heartbeat: Heartbeat,
) -> anyhow::Result<Back> {
    let Surroundings { clock, chance, metrics, stop } = around.clone();
    let tls = tls::client(process.extra_ca.as_deref())?;
    let api = workos::Settings {
        base_url: worker.workos.url.clone(),
        api_key: worker.workos.key.clone(),
        timeout: worker.workos.timeout,
        rate: worker.workos_rate,
    };
    let clock = Arc::new(WorkosClock::new(clock, Arc::clone(&metrics)));
    let codes = workos::Workos::new(api, &tls, Arc::clone(&clock), Arc::clone(&metrics))?;
    let smtp = worker.relay.clone().with(worker.hello.clone(), tls, worker.smtp_timeouts);
    let mailer = SmtpMailer::new(smtp, usize::from(worker.concurrency), Arc::clone(&metrics))?;
    let templates = Templates::load(worker.template_dir.as_deref(), &worker.app_name, worker.sender.clone())?;
    Ok(Back {
        dedupe,
        codes: Arc::new(codes),
        mailer: Arc::new(mailer),
        templates,
        pause: Arc::new(Pause::new(Arc::clone(&metrics), Arc::clone(&chance))),
        clock,
        chance,
        metrics,
        manner: Manner { concurrency: usize::from(worker.concurrency), on_ambiguity: worker.on_ambiguity, record_for: RECORD_FOR },
        heartbeat,
        stop,
    })
}

/// How long a store that does not answer is told that a mail is out. Longer than a restart of Redis takes.
const RECORD_FOR: std::time::Duration = std::time::Duration::from_secs(10);
