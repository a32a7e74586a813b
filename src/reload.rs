//! SIGHUP: reads again what comes from files, while everything goes on. Webhook secrets, the API
//! key, the relay's URL with its password, and the mail templates take effect at once; other options
//! need a restart. If anything in the configuration is wrong, all of it stays as it was.

use std::sync::Arc;

use domain::webhook::WebhookKeys;
use runtime::live::Live;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use worker::{
    CircuitBreaker,
    mail::{Mailer, render::Templates},
};
use workos::ApiKey;

use crate::{
    config::{
        Problems,
        settings::{Settings, WorkerSettings},
    },
    deps::Deps,
    wiring,
};

/// Reads the configuration again: the same flags and variables, and the files that they name.
pub type Reread = Box<dyn Fn() -> Result<Settings, Problems> + Send + Sync>;

/// What a running process takes from new settings.
#[derive(Default)]
pub struct Reload {
    pub(crate) webhook_keys: Option<Live<WebhookKeys>>,
    pub(crate) api_key: Option<Live<ApiKey>>,
    pub(crate) mails: Option<Mails>,
}

/// The parts of a worker that send mails.
pub(crate) struct Mails {
    pub(crate) mailer: Live<Arc<dyn Mailer>>,
    pub(crate) templates: Live<Templates>,
    pub(crate) breaker: Arc<CircuitBreaker>,
    pub(crate) deps: Deps,
}

impl Mails {
    fn take(&self, settings: &WorkerSettings) -> anyhow::Result<()> {
        self.mailer.replace_by(&Live::new(wiring::mailer(settings, &self.deps)?));
        self.templates.replace_by(&settings.templates);
        self.breaker.try_again();
        Ok(())
    }
}

/// Replaces a value by the new one, where there are both.
fn replace<T>(current: Option<&Live<T>>, new: Option<&Live<T>>) {
    if let (Some(current), Some(new)) = (current, new) {
        current.replace_by(new);
    }
}

impl Reload {
    fn take(&self, settings: &Settings) -> anyhow::Result<()> {
        let (ingress, worker) = (settings.roles.ingress(), settings.roles.worker());
        let sign_in = ingress.and_then(|ingress| ingress.sign_in.as_ref());
        let api = worker.map(|it| &it.api).or(sign_in.map(|it| &it.api));
        replace(self.webhook_keys.as_ref(), ingress.map(|ingress| &ingress.keys));
        replace(self.api_key.as_ref(), api.map(|api| &api.key));
        self.mails.as_ref().zip(worker).map_or(Ok(()), |(mails, worker)| mails.take(worker))
    }
}

/// Signals that would otherwise end the process at once. Make it before anything else begins.
pub struct Signals {
    hang_up: Signal,
    others: [Signal; 2],
}

impl Signals {
    /// Takes the signals from now on.
    pub fn new() -> std::io::Result<Self> {
        let others = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
        Ok(Self { hang_up: signal(SignalKind::hangup())?, others })
    }

    /// Waits for the next SIGHUP.
    async fn hang_up(&mut self) {
        let [first, second] = &mut self.others;
        loop {
            tokio::select! {
                _ = self.hang_up.recv() => return,
                _ = first.recv() => tracing::info!(signal = "SIGUSR1", "ignored a signal"),
                _ = second.recv() => tracing::info!(signal = "SIGUSR2", "ignored a signal"),
            }
        }
    }
}

/// Reloads at each SIGHUP until `stop`.
pub(crate) async fn run(
    mut signals: Signals,
    reread: Reread,
    reload: Reload,
    stop: CancellationToken,
) {
    let reread = Arc::new(reread);
    loop {
        tokio::select! {
            () = signals.hang_up() => {}
            () = stop.cancelled() => return,
        }
        let reread = Arc::clone(&reread);
        // Reads files, and renders the templates to test them.
        let read = tokio::task::spawn_blocking(move || reread()).await;
        let taken = match read {
            Ok(Ok(settings)) => reload.take(&settings).map_err(|error| error.to_string()),
            Ok(Err(problems)) => Err(problems.to_string()),
            Err(_) => Err("reading it panicked".to_owned()),
        };
        match taken {
            Ok(()) => tracing::info!("reloaded secrets and templates"),
            Err(problem) => {
                tracing::error!(problem, "reloaded nothing: the configuration is invalid");
            }
        }
    }
}
