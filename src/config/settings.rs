//! The configuration once it is understood: nothing optional that is needed, nothing combined that cannot be.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;
use shared::{
    dedupe::{Terms, outage::WhenAway},
    telemetry::LogFormat,
    webhook::WebhookKeys,
    workos,
};
use url::Url;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        smtp::{RelayUrl, Timeouts},
    },
};

/// What every long-running command needs.
#[derive(Debug, Clone)]
pub struct Process {
    /// Where /metrics, /livez and /readyz are.
    pub admin_listen: SocketAddr,
    /// How log lines look.
    pub log: LogFormat,
    /// What is logged.
    pub log_levels: String,
    /// How long stopping may take.
    pub grace: Duration,
    /// PEM of one more authority.
    pub extra_ca: Option<Vec<u8>>,
}

/// One SQLite file, one machine.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// Its folder.
    pub data_dir: PathBuf,
    /// Events that may wait.
    pub queue_max: u64,
}

/// RabbitMQ and Redis, any number of replicas.
#[derive(Debug, Clone)]
pub struct Distributed {
    /// `amqp://` or `amqps://`
    pub amqp_url: SecretString,
    /// `redis://` or `rediss://`
    pub redis_url: SecretString,
    /// Of all names.
    pub prefix: String,
    /// Events that may wait.
    pub queue_max: u64,
}

/// The two engines.
#[derive(Debug, Clone)]
pub enum Engine {
    /// See [`Embedded`].
    Embedded(Embedded),
    /// See [`Distributed`].
    Distributed(Distributed),
}

/// The HTTP front.
#[derive(Debug, Clone)]
pub struct Ingress {
    /// The public listener.
    pub listen: SocketAddr,
    /// The live webhook secrets.
    pub keys: WebhookKeys,
    /// Connections at once.
    pub max_connections: usize,
}

/// The mailing back.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The key codes are fetched with.
    pub api_key: SecretString,
    /// The API's base.
    pub api_url: Url,
    /// For one read.
    pub workos_timeout: Duration,
    /// Reads a second.
    pub workos_rate: u32,
    /// The relay.
    pub relay: RelayUrl,
    /// Waits for the relay.
    pub smtp_timeouts: Timeouts,
    /// Our name in EHLO.
    pub hello: String,
    /// Who the mails are from.
    pub sender: Sender,
    /// What the mails call the application.
    pub app_name: String,
    /// Templates that replace ours.
    pub template_dir: Option<PathBuf>,
    /// Events at once.
    pub concurrency: u16,
    /// How long a mailed event is remembered.
    pub dedupe_ttl: Duration,
    /// While the dedupe store is away.
    pub when_away: WhenAway,
    /// When nobody can know.
    pub on_ambiguity: OnAmbiguity,
}

/// Added to a lease on top of the steps it must cover.
const SLACK: Duration = Duration::from_secs(5);

impl Worker {
    /// How long claims last: each lease covers the timeouts of the steps under it, so no renewal is needed and a
    /// worker that died is succeeded as soon as it safely can be.
    pub fn terms(&self) -> Terms {
        Terms {
            lease: workos::LONGEST_WAIT_AT_GATE + self.workos_timeout + self.smtp_timeouts.connecting() + SLACK,
            sending: self.smtp_timeouts.transaction() + SLACK,
            done: self.dedupe_ttl,
        }
    }
}
