//! The configuration once it is parsed: nothing optional that is required, nothing combined that
//! cannot be, and nothing left to parse.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use domain::{
    claims::{Limit, Terms},
    queue::Capacity,
    webhook::WebhookKeys,
};
use engine::{local_sent_cache::OnStoreOutage, rabbitmq::BrokerConfig, redis::RedisConfig};
use ingress::{proxies::Proxies, sign_in::SignInConfig};
use runtime::{
    live::Live,
    telemetry::{LogFormat, export::Collector},
    tls::Trust,
};
use worker::{
    OnAmbiguity,
    mail::{render::Templates, smtp::RelayConfig},
};
use workos::ApiConfig;

/// All that a long-running process is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    pub roles: Roles,
    /// Where events wait and claims are kept.
    pub engine: EngineSettings,
    pub process: ProcessSettings,
}

/// The roles of one process.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one of these in a process")]
pub enum Roles {
    Ingress(IngressSettings),
    Worker(WorkerSettings),
    Both(IngressSettings, WorkerSettings),
}

impl Roles {
    /// The settings of the ingress, if this process is one.
    pub fn ingress(&self) -> Option<&IngressSettings> {
        match self {
            Self::Ingress(ingress) | Self::Both(ingress, _) => Some(ingress),
            Self::Worker(_) => None,
        }
    }

    /// The settings of the worker, if this process is one.
    pub fn worker(&self) -> Option<&WorkerSettings> {
        match self {
            Self::Worker(worker) | Self::Both(_, worker) => Some(worker),
            Self::Ingress(_) => None,
        }
    }

    /// The name of the command that runs them.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ingress(_) => "ingress",
            Self::Worker(_) => "worker",
            Self::Both(..) => "serve",
        }
    }
}

/// What every long-running process needs.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Address of the private listener.
    pub admin_listen: SocketAddr,
    /// Further host names that it answers to.
    pub admin_hosts: Vec<String>,
    pub log: LogFormat,
    /// Log levels, in the form of `RUST_LOG`.
    pub log_levels: String,
    /// How long running work may take after a stop was asked for.
    pub grace: Duration,
    /// Threads that work on requests and events, at least 1.
    pub threads: usize,
    /// The certificate authorities to trust.
    pub trust: Trust,
    /// Where traces are sent, if anywhere.
    pub traces: Option<Collector>,
}

/// The embedded engine: one SQLite file, one machine.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// The directory that holds the SQLite file.
    pub data_dir: PathBuf,
    pub capacity: Capacity,
}

/// RabbitMQ and Redis, for any number of replicas.
#[derive(Debug, Clone)]
pub struct DistributedSettings {
    pub broker: BrokerConfig,
    pub redis: RedisConfig,
    /// Prefix of the keys in Redis.
    pub prefix: String,
}

/// The engine: where events wait and claims are kept.
#[derive(Debug, Clone)]
pub enum EngineSettings {
    Embedded(EmbeddedSettings),
    Distributed(DistributedSettings),
}

/// The settings of the ingress.
#[derive(Debug, Clone)]
pub struct IngressSettings {
    /// Address of the public listener.
    pub listen: SocketAddr,
    pub keys: Live<WebhookKeys>,
    /// Most connections served at once.
    pub max_connections: usize,
    /// How long a connection may stay open without a request.
    pub keep_alive: Duration,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub proxies: Proxies,
    /// Signing in, if it is configured.
    pub sign_in: Option<SignInSettings>,
}

/// The settings for signing in.
#[derive(Debug, Clone)]
pub struct SignInSettings {
    pub config: SignInConfig,
    pub api: ApiConfig,
    /// Issuers to accept in session tokens.
    pub issuers: Vec<String>,
    /// Whether to serve the login page.
    pub page: bool,
}

/// The settings of the worker.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    pub api: ApiConfig,
    /// Most reads per second; 0 for no limit.
    pub api_rate: u32,
    /// In order of preference; at least one.
    pub relays: Vec<RelayConfig>,
    /// A relay that takes longer to be ready gets the next one beside it.
    pub relay_hedge: Duration,
    pub templates: Live<Templates>,
    /// How long the language of a user at WorkOS is remembered; `None` not to read it.
    pub user_locale: Option<Duration>,
    /// Most events processed at once.
    pub concurrency: u16,
    /// How long to remember that an event was mailed.
    pub dedupe_ttl: Duration,
    /// How many events of one user are mailed.
    pub user_limit: Option<Limit>,
    /// How many events of all users are mailed.
    pub mail_limit: Option<Limit>,
    /// What to do while the claim store is unavailable.
    pub on_store_outage: OnStoreOutage,
    /// What to do when it is unknown whether a mail was sent.
    pub on_ambiguity: OnAmbiguity,
    /// Whether to check for events that the webhooks missed.
    pub reconcile: bool,
}

/// Added to a term on top of the steps it must cover.
const SLACK: Duration = Duration::from_secs(5);

impl WorkerSettings {
    /// How long claims last. Each term covers the timeouts of the steps under it, so no lease needs
    /// renewal, and another worker takes over from a crashed one as soon as it safely can.
    pub fn terms(&self) -> Terms {
        let relays = || self.relays.iter().map(RelayConfig::timeouts);
        let connect = relays().map(|relay| relay.connect).max().unwrap_or_default();
        // The next one is made ready beside a slow one.
        let beside = self.relay_hedge * u32::try_from(self.relays.len()).unwrap_or(u32::MAX);
        let transactions: Duration = relays().map(|relay| relay.transaction()).sum();
        Terms {
            lease: ::workos::LONGEST_WAIT_AT_GATE + self.api.timeout + connect + beside + SLACK,
            sending: transactions + SLACK,
            done: self.dedupe_ttl,
            user_limit: self.user_limit,
            mail_limit: self.mail_limit,
        }
    }
}
