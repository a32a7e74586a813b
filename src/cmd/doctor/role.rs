//! Whose environment this is: of both roles, of a front, or of a worker. Where they are scaled apart each has its own
//! secrets only, and is examined by those.

use crate::config::{
    Problems,
    args::{Engine, IngressArgs, ServeArgs, WorkerArgs},
    read_ingress, read_serve, read_worker,
    settings::{self, Ingress, Process, Worker},
};

/// What there is to examine.
pub(super) struct Settings {
    pub(super) front: Option<Ingress>,
    pub(super) back: Option<Worker>,
    pub(super) engine: settings::Engine,
    pub(super) process: Process,
}

impl Settings {
    /// Reads the settings of a front if only the webhook's secret is there, of a worker if only what mails need is, and
    /// otherwise of both. One machine without a broker has both.
    pub(super) fn read(args: ServeArgs) -> Result<Self, Problems> {
        let webhook = args.ingress.workos_webhook_secret.is_some() || args.ingress.workos_webhook_secret_file.is_some();
        let mails = args.worker.smtp_url.is_some() || args.worker.smtp_url_file.is_some() || args.worker.mail_from.is_some();
        let Engine { amqp_url, amqp_url_file, redis_url, redis_url_file, .. } = &args.engine;
        let apart = amqp_url.is_some() || amqp_url_file.is_some() || redis_url.is_some() || redis_url_file.is_some();
        let ServeArgs { ingress, worker, workos, sign_in, engine, process, traces } = args;
        match (webhook, mails) {
            (true, false) if apart => {
                let (front, engine, process) = read_ingress(IngressArgs { ingress, workos, sign_in, engine, process, traces })?;
                Ok(Self { front: Some(front), back: None, engine: settings::Engine::Distributed(engine), process })
            }
            (false, true) if apart => {
                let (back, engine, process) = read_worker(WorkerArgs { worker, workos, engine, process, traces })?;
                Ok(Self { front: None, back: Some(back), engine: settings::Engine::Distributed(engine), process })
            }
            _ => {
                let (front, back, engine, process) = read_serve(ServeArgs { ingress, worker, workos, sign_in, engine, process, traces })?;
                Ok(Self { front: Some(front), back: Some(back), engine, process })
            }
        }
    }

    /// What to say of a configuration that can be used.
    pub(super) fn whose(&self) -> &'static str {
        match (&self.front, &self.back) {
            (Some(_), None) => "complete, of a front alone",
            (None, Some(_)) => "complete, of a worker alone",
            _ => "complete",
        }
    }
}
