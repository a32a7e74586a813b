//! The configuration once it is understood: nothing optional that is needed, nothing combined that cannot be.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ingress::sign_in::Rules;
use secrecy::SecretString;
use shared::{
    dedupe::{Terms, outage::WhenAway},
    telemetry::{LogFormat, export::Collector},
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
    /// Where traces go, if they go anywhere.
    pub traces: Option<Collector>,
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
    /// The sign-in half, if it is configured.
    pub sign_in: Option<SignIn>,
}

/// WorkOS's API.
#[derive(Debug, Clone)]
pub struct Workos {
    /// `sk_…`.
    pub key: SecretString,
    /// The API's base.
    pub url: Url,
    /// For one call.
    pub timeout: Duration,
}

/// The sign-in half of the front.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// How people sign in.
    pub rules: Rules,
    /// Where they do.
    pub workos: Workos,
    /// Whose session tokens are believed.
    pub issuers: Vec<String>,
    /// Whether the login page is served.
    pub page: bool,
}

/// The mailing back.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Where codes are fetched.
    pub workos: Workos,
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
    /// Whether what the webhooks missed is looked for.
    pub reconcile: bool,
}

/// Added to a lease on top of the steps it must cover.
const SLACK: Duration = Duration::from_secs(5);

impl Worker {
    /// How long claims last: each lease covers the timeouts of the steps under it, so no renewal is needed and a
    /// worker that died is succeeded as soon as it safely can be.
    pub fn terms(&self) -> Terms {
        Terms {
            lease: workos::LONGEST_WAIT_AT_GATE + self.workos.timeout + self.smtp_timeouts.connecting() + SLACK,
            sending: self.smtp_timeouts.transaction() + SLACK,
            done: self.dedupe_ttl,
        }
    }
}
