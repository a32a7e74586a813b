//! The settings that tests start from.

use std::{net::Ipv4Addr, num::NonZeroU32, path::Path, time::Duration};

use authpost::config::settings::{Distributed, Embedded, Engine, Ingress, Process, SignIn, Worker, Workos};
use ingress::sign_in::{Rules, origins::Origins, visitors::Proxies};
use secrecy::SecretString;
use shared::{address::EmailAddress, dedupe::outage::WhenAway, sign_in::state::StateKey, telemetry::LogFormat, webhook::WebhookKeys};
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        smtp::{RelayUrl, Timeouts},
    },
};

use super::networks::Urls;

pub const SECRET: &str = "whsec_test";
pub const API_KEY: &str = "sk_test_key";
pub const CLIENT_ID: &str = "client_test";
/// Where the tests' frontend is.
pub const ORIGIN: &str = "https://app.example.com";

pub fn engine(services: Option<Urls>, folder: &Path, prefix: String, queue_max: u64) -> Engine {
    let secret = |url: String| SecretString::from(url);
    match services {
        None => Engine::Embedded(Embedded { data_dir: folder.to_owned(), queue_max }),
        Some(Urls { amqp, redis }) => {
            Engine::Distributed(Distributed { amqp_url: secret(amqp), redis_url: secret(redis), prefix, queue_max })
        }
    }
}

pub fn ingress() -> Ingress {
    let keys = WebhookKeys::new(&[SecretString::from(SECRET.to_owned())]).expect("not empty");
    Ingress { listen: (Ipv4Addr::LOCALHOST, 0).into(), keys, max_connections: 512, sign_in: None }
}

pub fn process() -> Process {
    let admin_listen = (Ipv4Addr::LOCALHOST, 0).into();
    Process { admin_listen, log: LogFormat::Text, log_levels: String::new(), grace: Duration::from_secs(20), extra_ca: None, traces: None }
}

/// Settings with short timeouts, so that a stalled dependency costs a test a second or two, and long enough that a busy
/// machine does not look like a stalled one.
pub fn worker(api_url: &str, smtp_url: &str) -> Worker {
    Worker {
        workos: workos(api_url),
        workos_rate: 0,
        relay: RelayUrl::parse(&SecretString::from(smtp_url.to_owned())).expect("a relay"),
        smtp_timeouts: Timeouts { connect: Duration::from_secs(1), command: Duration::from_secs(1), last: Duration::from_secs(3) },
        hello: "authpost.test".to_owned(),
        sender: Sender { name: Some("Acme".to_owned()), address: EmailAddress::parse("login@acme.example").expect("valid") },
        app_name: "Acme".to_owned(),
        template_dir: None,
        concurrency: 16,
        dedupe_ttl: Duration::from_secs(3 * 24 * 3600),
        when_away: WhenAway::Hold,
        on_ambiguity: OnAmbiguity::Resend,
        reconcile: false,
    }
}

/// People sign in at the stand-in, from pages of [`ORIGIN`].
pub fn sign_in(api_url: &str, issuer: &str) -> SignIn {
    let workos = workos(api_url);
    let rules = Rules {
        client_id: CLIENT_ID.to_owned(),
        browser_base: workos.url.clone(),
        origins: Origins::parse([ORIGIN]).expect("an origin"),
        state_key: StateKey::new(&workos.key).expect("not empty"),
        enabled: true,
        rate: NonZeroU32::new(1000).expect("not zero"),
        proxies: Proxies::default(),
    };
    let issuers = vec![format!("{issuer}/user_management/{CLIENT_ID}")];
    SignIn { rules, workos, issuers, page: false }
}

/// The API, as tests use it.
pub fn workos(url: &str) -> Workos {
    Workos { key: SecretString::from(API_KEY.to_owned()), url: url.parse().expect("a URL"), timeout: Duration::from_secs(1) }
}
