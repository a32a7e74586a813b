//! The demo's stage: four servers on free loopback ports, a data folder that vanishes, and one login played on it.

use std::{net::Ipv4Addr, num::NonZeroU32, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use ingress::sign_in::{Rules, origins::Origins, visitors::Proxies};
use jiff::Timestamp;
use sandbox::{
    inbox::{Inbox, Manners, Received},
    readable::{self, Readable},
    workos::{MagicAuth, StandIn, post},
};
use secrecy::SecretString;
use shared::{
    address::EmailAddress,
    clock::{Clock as _, SystemClock},
    dedupe::outage::WhenAway,
    sign_in::state::StateKey,
    telemetry::LogFormat,
    webhook::WebhookKeys,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        smtp::{RelayUrl, Timeouts},
    },
};

use crate::{
    config::settings::{Embedded, Engine, Ingress, Process, SignIn, Worker, Workos},
    service,
};

/// Whom the stand-in takes us for.
const CLIENT_ID: &str = "client_demo";

/// Longest wait for a mail.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything running.
pub(super) struct Stage {
    pub(super) workos: StandIn,
    pub(super) inbox: Inbox,
    webhook_url: String,
    /// The login page.
    pub(super) login_url: String,
    secret: SecretString,
    stop: CancellationToken,
    process: JoinHandle<ExitCode>,
    folder: tempfile::TempDir,
}

/// One login, with what each stage's own clock said.
pub(super) struct Login {
    pub(super) made: MagicAuth,
    pub(super) mail: Readable,
    answered_at: Timestamp,
    fetched_at: Timestamp,
    mailed_at: Timestamp,
}

impl Login {
    /// What happened, and how many milliseconds after the code was made.
    pub(super) fn stages(&self) -> [(&'static str, f64); 4] {
        let after = |at: Timestamp| at.duration_since(self.made.created_at).as_secs_f64() * 1000.0;
        [
            ("WorkOS makes the code and posts the webhook", 0.0),
            ("the webhook is answered: verified, and on disk", after(self.answered_at)),
            ("the worker asks WorkOS for the code", after(self.fetched_at)),
            ("the relay has the mail", after(self.mailed_at)),
        ]
    }
}

impl Stage {
    /// Starts everything on free ports.
    pub(super) async fn set() -> anyhow::Result<Self> {
        let clock = Arc::new(SystemClock);
        // Fresh on every run: nothing here is a credential anybody could keep.
        let secret = SecretString::from(format!("whsec_{}", Ulid::generate()));
        let key = SecretString::from(format!("sk_demo_{}", Ulid::generate()));
        let workos = StandIn::start(free_port().await?, key.clone(), clock.clone())?;
        let inbox = Inbox::start(free_port().await?, Manners::default(), clock.clone())?;
        let folder = tempfile::Builder::new().prefix("authpost-demo-").tempdir().context("no temporary folder")?;
        let stop = CancellationToken::new();
        let settings = settings(&workos, &inbox, &secret, key, &folder)?;
        let service = service::serve(settings, clock, stop.clone()).await?;
        let public = service.public.context("no public listener")?;
        let process = tokio::spawn(service.run());
        let webhook_url = format!("http://{public}/v1/workos_webhook/");
        workos.for_client(CLIENT_ID);
        workos.post_webhooks_to(&webhook_url, secret.clone());
        Ok(Self { workos, inbox, webhook_url, login_url: format!("http://{public}/login"), secret, stop, process, folder })
    }

    /// Plays one login: a person asks for a code, and it ends in the inbox.
    pub(super) async fn log_in(&self, email: &str) -> anyhow::Result<Login> {
        let made = self.workos.make_code(email);
        let posted = post(&self.webhook_url, &self.secret, &made.event(), SystemClock.now()).await?;
        let answered_at = SystemClock.now();
        anyhow::ensure!(posted.status == 200, "the webhook was answered {}: {}", posted.status, posted.body);
        let (received, mail) = tokio::time::timeout(PATIENCE, self.mail_with(&made.code)).await.context("no mail came in time")?;
        let fetched = self.workos.reads().into_iter().find(|(id, _)| *id == made.id);
        let (_, fetched_at) = fetched.context("the code was never fetched")?;
        Ok(Login { made, mail, answered_at, fetched_at, mailed_at: received.at })
    }

    async fn mail_with(&self, code: &str) -> (Received, Readable) {
        let mut seen = 0;
        loop {
            let mails = self.inbox.mails();
            let decoded = mails.into_iter().rev().filter_map(|mail| readable::read(&mail.raw).map(|readable| (mail, readable)));
            if let Some(found) = decoded.into_iter().find(|(_, readable)| readable.code() == Some(code)) {
                return found;
            }
            seen = self.inbox.count().max(seen) + 1;
            self.inbox.reached(seen).await;
        }
    }

    /// Stops everything and leaves nothing behind.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = self.process.await.context("the process panicked")?;
        self.folder.close().context("the temporary folder could not be removed")?;
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
) -> anyhow::Result<(Ingress, Worker, Engine, Process)> {
    let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
    let relay = SecretString::from(format!("smtp://{}?tls=none", inbox.address()));
    let address = EmailAddress::parse("login@authpost.example")?;
    let workos = Workos { key: api_key, url: workos.url().parse()?, timeout: Duration::from_secs(5) };
    let sign_in = Some(sign_in(&workos)?);
    let ingress = Ingress { listen: anywhere, keys: WebhookKeys::new(std::slice::from_ref(secret))?, max_connections: 64, sign_in };
    let worker = Worker {
        workos,
        workos_rate: 90,
        relay: RelayUrl::parse(&relay)?,
        smtp_timeouts: Timeouts::default(),
        hello: "localhost".to_owned(),
        sender: Sender { name: Some("Authpost demo".to_owned()), address },
        app_name: "Authpost demo".to_owned(),
        template_dir: None,
        concurrency: 8,
        dedupe_ttl: Duration::from_secs(3 * 24 * 3600),
        when_away: WhenAway::Hold,
        on_ambiguity: OnAmbiguity::Resend,
        reconcile: false,
    };
    let engine = Engine::Embedded(Embedded { data_dir: folder.path().to_owned(), queue_max: 10_000 });
    let process = Process {
        admin_listen: anywhere,
        log: LogFormat::Text,
        log_levels: String::new(),
        grace: Duration::from_secs(5),
        extra_ca: None,
        traces: None,
    };
    Ok((ingress, worker, engine, process))
}

fn sign_in(workos: &Workos) -> anyhow::Result<SignIn> {
    let rules = Rules {
        client_id: CLIENT_ID.to_owned(),
        browser_base: workos.url.clone(),
        origins: Origins::default(),
        state_key: StateKey::new(&workos.key).context("an empty key")?,
        enabled: true,
        rate: NonZeroU32::MIN.saturating_add(59),
        proxies: Proxies::default(),
    };
    let issuers = vec![format!("{}user_management/{CLIENT_ID}", workos.url)];
    Ok(SignIn { rules, workos: workos.clone(), issuers, page: true })
}
