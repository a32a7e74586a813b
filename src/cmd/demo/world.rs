//! The world of the demo: four servers on free loopback ports, a data directory that vanishes, and
//! one login.

use std::{net::Ipv4Addr, num::NonZeroU32, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use domain::{
    address::EmailAddress, clock::Clock as _, language::LanguageTag, queue::Capacity,
    sign_in::state::StateKey, webhook::WebhookKeys,
};
use engine::local_sent_cache::OnStoreOutage;
use ingress::{
    proxies::Proxies,
    sign_in::{SignInConfig, cookies::Cookies, origins::Origins},
};
use jiff::Timestamp;
use runtime::{
    clock::SystemClock, http, live::Live, random::ulid, telemetry::LogFormat, tls::Trust,
};
use sandbox::{
    inbox::{Inbox, InboxConfig, Received},
    readable::{self, Readable},
    workos::{MagicAuth, StandIn, post},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        render::{TemplateOptions, Templates},
        smtp::RelayConfig,
    },
};
use workos::{ApiConfig, ApiKey};

use crate::{
    config::settings::{
        EmbeddedSettings, EngineSettings, IngressSettings, ProcessSettings, Roles, Settings,
        SignInSettings, WorkerSettings,
    },
    service,
};

/// The client ID at the stand-in.
const CLIENT_ID: &str = "client_demo";

/// Longest wait for a mail.
const LIMIT: Duration = Duration::from_secs(20);

/// Everything that runs for the demo.
pub(super) struct Demo {
    pub(super) workos: StandIn,
    pub(super) inbox: Inbox,
    webhook_url: String,
    /// URL of the login page.
    pub(super) login_url: String,
    /// Tag and name of each language that there are mails in.
    pub(super) languages: Vec<Value>,
    secret: SecretString,
    stop: CancellationToken,
    process: JoinHandle<ExitCode>,
    folder: tempfile::TempDir,
}

/// One login, with the time of each step.
pub(super) struct Login {
    pub(super) made: MagicAuth,
    pub(super) mail: Readable,
    answered_at: Timestamp,
    fetched_at: Timestamp,
    mailed_at: Timestamp,
}

impl Login {
    /// The steps, and how many milliseconds after the code was created each happened.
    pub(super) fn stages(&self) -> [(&'static str, f64); 4] {
        let after = |at: Timestamp| at.duration_since(self.made.created_at).as_secs_f64() * 1000.0;
        [
            ("WorkOS creates the code and posts the webhook", 0.0),
            ("the webhook is answered: verified, and on disk", after(self.answered_at)),
            ("the worker fetches the code from WorkOS", after(self.fetched_at)),
            ("the relay accepts the mail", after(self.mailed_at)),
        ]
    }
}

impl Demo {
    /// Starts everything on free ports.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        // New on every run: nothing here is a credential that anybody could keep.
        let secret = SecretString::from(format!("whsec_{}", ulid(clock.now())));
        let key = SecretString::from(format!("sk_demo_{}", ulid(clock.now())));
        let workos = StandIn::start(free_port().await?, key.clone(), clock.clone())?;
        let inbox = Inbox::start(free_port().await?, InboxConfig::default(), clock.clone())?;
        let folder = tempfile::Builder::new()
            .prefix("authpost-demo-")
            .tempdir()
            .context("cannot create a temporary directory")?;
        let stop = CancellationToken::new();
        let settings = settings(&workos, &inbox, &secret, key, &folder)?;
        let worker = settings.roles.worker().context("no worker")?;
        let languages = worker.templates.get();
        let languages = languages
            .languages()
            .all()
            .map(|language| json!({ "tag": language.tag(), "name": language.name() }));
        let languages = languages.collect();
        let service = service::start(&settings, clock, stop.clone()).await?;
        let public = service.public.context("no public listener")?;
        let process = tokio::spawn(service.run());
        let webhook_url = format!("http://{public}/v1/workos_webhook/");
        workos.for_client(CLIENT_ID);
        workos.post_webhooks_to(&webhook_url, secret.clone());
        Ok(Self {
            workos,
            inbox,
            webhook_url,
            languages,
            login_url: format!("http://{public}/login"),
            secret,
            stop,
            process,
            folder,
        })
    }

    /// Does one login: a person requests a code, and it arrives in the inbox.
    pub(super) async fn log_in(
        &self,
        email: &str,
        language: Option<&LanguageTag>,
    ) -> anyhow::Result<Login> {
        self.workos.set_locale(email, language.map_or("", LanguageTag::as_str));
        let made = self.workos.make_code(email);
        let posted =
            post(&self.webhook_url, &self.secret, &made.event(), SystemClock.now()).await?;
        let answered_at = SystemClock.now();
        anyhow::ensure!(
            posted.status == 200,
            "the webhook was answered {}: {}",
            posted.status,
            posted.body
        );
        let (received, mail) = tokio::time::timeout(LIMIT, self.mail_with(&made.code))
            .await
            .context("no mail came in time")?;
        let fetched = self.workos.reads().into_iter().find(|(id, _)| *id == made.id);
        let (_, fetched_at) = fetched.context("the code was never fetched")?;
        Ok(Login { made, mail, answered_at, fetched_at, mailed_at: received.at })
    }

    async fn mail_with(&self, code: &str) -> (Received, Readable) {
        let mut seen = 0;
        loop {
            let mails = self.inbox.mails();
            let decoded = mails
                .into_iter()
                .rev()
                .filter_map(|mail| readable::read(&mail.raw).map(|readable| (mail, readable)));
            if let Some(found) =
                decoded.into_iter().find(|(_, readable)| readable.code() == Some(code))
            {
                return found;
            }
            seen = self.inbox.count().max(seen) + 1;
            self.inbox.reached(seen).await;
        }
    }

    /// Stops everything and leaves nothing behind.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = self.process.await.context("the process panicked")?;
        self.folder.close().context("cannot remove the temporary directory")?;
        anyhow::ensure!(ended == ExitCode::SUCCESS, "the process did not end cleanly");
        Ok(())
    }
}

async fn free_port() -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no loopback port is free")
}

fn settings(
    workos: &StandIn,
    inbox: &Inbox,
    secret: &SecretString,
    api_key: SecretString,
    folder: &tempfile::TempDir,
) -> anyhow::Result<Settings> {
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    let trust = Trust::load(None)?;
    let api = ApiConfig {
        key: Live::new(ApiKey::parse(api_key)?),
        url: workos.url().parse()?,
        timeout: Duration::from_secs(5),
    };
    let keys = WebhookKeys::new(std::slice::from_ref(secret))?;
    let ingress = IngressSettings {
        listen: any_port,
        keys: Live::new(keys),
        max_connections: 64,
        keep_alive: http::KEEP_ALIVE,
        proxies: Proxies::default(),
        sign_in: Some(sign_in(&api)?),
    };
    let worker = worker_settings(api, inbox, &trust)?;
    let engine = EngineSettings::Embedded(EmbeddedSettings {
        data_dir: folder.path().to_owned(),
        capacity: Capacity::default(),
    });
    let process = ProcessSettings {
        admin_listen: any_port,
        admin_hosts: Vec::new(),
        log: LogFormat::Text,
        log_levels: String::new(),
        grace: Duration::from_secs(5),
        threads: 1,
        trust,
        traces: None,
    };
    Ok(Settings { roles: Roles::Both(ingress, worker), engine, process })
}

fn worker_settings(api: ApiConfig, inbox: &Inbox, trust: &Trust) -> anyhow::Result<WorkerSettings> {
    let relay = SecretString::from(format!("smtp://{}?tls=none", inbox.address()));
    let sender = Sender {
        name: Some("Authpost demo".to_owned()),
        address: EmailAddress::parse("login@authpost.example")?,
    };
    Ok(WorkerSettings {
        relay_hedge: Duration::from_secs(1),
        api,
        api_rate: 90,
        relays: vec![RelayConfig::parse(&relay, trust.client(), None)?],
        // People may choose another one for each code.
        user_locale: Some(Duration::ZERO),
        templates: Live::new(Templates::load(TemplateOptions::plain("Authpost demo", sender))?),
        concurrency: 8,
        dedupe_ttl: Duration::from_secs(3 * 24 * 3600),
        on_store_outage: OnStoreOutage::Hold,
        user_limit: None,
        mail_limit: None,
        on_ambiguity: OnAmbiguity::Resend,
        reconcile: false,
    })
}

fn sign_in(api: &ApiConfig) -> anyhow::Result<SignInSettings> {
    let config = SignInConfig {
        client_id: CLIENT_ID.to_owned(),
        browser_base: api.url.clone(),
        origins: Origins::default(),
        state_key: StateKey::new(api.key.get().secret()).context("an empty key")?,
        state_life: Duration::from_secs(3600),
        redirect_url: None,
        login_page: true,
        organization_required: false,
        enabled: true,
        rate: NonZeroU32::MIN.saturating_add(59),
        workos_rate: NonZeroU32::MIN.saturating_add(29),
        cookies: Cookies::default(),
        proxies: Proxies::default(),
    };
    let issuers = vec![format!("{}user_management/{CLIENT_ID}", api.url)];
    Ok(SignInSettings { config, api: api.clone(), issuers, page: true })
}
