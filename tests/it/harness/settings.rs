//! The settings that tests start from.

use std::{net::Ipv4Addr, num::NonZeroU32, path::Path, time::Duration};

use authpost::config::settings::{
    DistributedSettings, EmbeddedSettings, EngineSettings, IngressSettings, ProcessSettings,
    SignInSettings, WorkerSettings,
};
use domain::{
    address::EmailAddress, queue::Capacity, sign_in::state::StateKey, webhook::WebhookKeys,
};
use engine::{
    local_sent_cache::OnStoreOutage,
    rabbitmq::{BrokerConfig, Names},
    redis::RedisConfig,
};
use ingress::{
    proxies::Proxies,
    sign_in::{SignInConfig, cookies::Cookies, origins::Origins},
};
use runtime::{http::KEEP_ALIVE, live::Live, telemetry::LogFormat, tls::Trust};
use secrecy::SecretString;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        render::{TemplateOptions, Templates},
        smtp::{RelayConfig, Timeouts},
    },
};
use workos::{ApiConfig, ApiKey};

use super::networks::Urls;

pub const SECRET: &str = "whsec_test";
pub const API_KEY: &str = "sk_test_key";
pub const CLIENT_ID: &str = "client_test";
/// Where the tests' frontend is.
pub const ORIGIN: &str = "https://app.example.com";

/// Trusts the authorities of this machine.
pub fn trust() -> Trust {
    Trust::load(None).expect("usable")
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

pub fn engine(
    services: Option<Urls>,
    folder: &Path,
    prefix: String,
    capacity: Capacity,
    trust: &Trust,
) -> EngineSettings {
    match services {
        None => {
            EngineSettings::Embedded(EmbeddedSettings { data_dir: folder.to_owned(), capacity })
        }
        Some(Urls { amqp, redis }) => {
            EngineSettings::Distributed(distributed(&amqp, &redis, prefix, capacity, trust))
        }
    }
}

pub fn distributed(
    amqp: &str,
    redis: &str,
    prefix: String,
    capacity: Capacity,
    trust: &Trust,
) -> DistributedSettings {
    let broker =
        BrokerConfig::parse(&secret(amqp), Names::new(&prefix, capacity), trust).expect("a URL");
    DistributedSettings {
        broker,
        redis: RedisConfig::parse(&secret(redis), trust).expect("a URL"),
        prefix,
    }
}

pub fn ingress() -> IngressSettings {
    let keys = WebhookKeys::new(&[secret(SECRET)]).expect("not empty");
    IngressSettings {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        keys: Live::new(keys),
        max_connections: 512,
        keep_alive: KEEP_ALIVE,
        proxies: Proxies::default(),
        sign_in: None,
    }
}

pub fn process() -> ProcessSettings {
    ProcessSettings {
        admin_listen: (Ipv4Addr::LOCALHOST, 0).into(),
        admin_hosts: Vec::new(),
        log: LogFormat::Text,
        log_levels: String::new(),
        grace: Duration::from_secs(20),
        threads: 1,
        trust: trust(),
        traces: None,
    }
}

/// The mails of a sender, as its templates make them.
pub fn templates() -> Live<Templates> {
    let sender = Sender {
        name: Some("Acme".to_owned()),
        address: EmailAddress::parse("login@acme.example").expect("valid"),
    };
    Live::new(Templates::load(TemplateOptions::plain("Acme", sender)).expect("usable"))
}

/// A relay with short timeouts, so that a stalled one costs a test a second or two, and long enough
/// that a busy machine does not look like a stalled one.
pub fn relay(url: &str, trust: &Trust) -> RelayConfig {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, command: second, last: 3 * second };
    RelayConfig::parse(&secret(url), trust.client(), None)
        .expect("a relay")
        .with("authpost.test".to_owned(), timeouts)
}

/// Settings of a worker with short timeouts.
pub fn worker(api_url: &str, smtp_url: &str) -> WorkerSettings {
    WorkerSettings {
        relay_hedge: Duration::from_secs(1),
        api: api(api_url),
        user_locale: Some(Duration::from_secs(3600)),
        api_rate: 0,
        relays: vec![relay(smtp_url, &trust())],
        templates: templates(),
        concurrency: 16,
        dedupe_ttl: Duration::from_secs(3 * 24 * 3600),
        on_store_outage: OnStoreOutage::Hold,
        user_limit: None,
        mail_limit: None,
        on_ambiguity: OnAmbiguity::Resend,
        reconcile: false,
    }
}

/// People sign in at the stand-in, from pages of [`ORIGIN`].
pub fn sign_in(api_url: &str, issuer: &str) -> SignInSettings {
    let api = api(api_url);
    let config = SignInConfig {
        client_id: CLIENT_ID.to_owned(),
        browser_base: api.url.clone(),
        origins: Origins::parse([ORIGIN]).expect("an origin"),
        state_key: StateKey::new(api.key.get().secret()).expect("not empty"),
        state_life: Duration::from_secs(3600),
        redirect_url: None,
        login_page: true,
        organization_required: false,
        enabled: true,
        rate: NonZeroU32::new(1000).expect("not zero"),
        workos_rate: NonZeroU32::new(1000).expect("not zero"),
        cookies: Cookies::default(),
        proxies: Proxies::default(),
    };
    let issuers = vec![format!("{issuer}/user_management/{CLIENT_ID}")];
    SignInSettings { config, api, issuers, page: false }
}

/// The API, as tests use it.
pub fn api(url: &str) -> ApiConfig {
    let key = ApiKey::parse(secret(API_KEY)).expect("visible ASCII");
    ApiConfig {
        key: Live::new(key),
        url: url.parse().expect("a URL"),
        timeout: Duration::from_secs(1),
    }
}
