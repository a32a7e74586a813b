//! Which role the environment belongs to: both, an ingress, or a worker. Where the roles are scaled
//! separately each has its own secrets only, and is examined with those.

use crate::config::{
    Problems,
    args::{IngressArgs, ServeArgs, WorkerArgs},
    read_ingress, read_serve, read_worker,
    settings::{Roles, Settings},
};

/// Reads the settings of an ingress if only the webhook secret is set, of a worker if only what
/// mails need is set, and otherwise of both. Without a broker it is always both.
pub(super) fn read(args: ServeArgs) -> Result<Settings, Problems> {
    let webhook = args.ingress.workos_webhook_secret.is_some()
        || args.ingress.workos_webhook_secret_file.is_some();
    let mails = args.worker.smtp_url.is_some()
        || args.worker.smtp_url_file.is_some()
        || args.worker.mails.mail_from.is_some();
    match (webhook, mails) {
        (true, false) if args.engine.is_distributed() => {
            let ServeArgs { ingress, worker: _, workos, sign_in, engine, process, traces } = args;
            read_ingress(IngressArgs { ingress, workos, sign_in, engine, process, traces })
        }
        (false, true) if args.engine.is_distributed() => {
            let ServeArgs { ingress: _, worker, workos, sign_in: _, engine, process, traces } =
                args;
            read_worker(WorkerArgs { worker, workos, engine, process, traces })
        }
        _ => read_serve(args),
    }
}

/// The fact about a valid configuration.
pub(super) fn fact(settings: &Settings) -> &'static str {
    match settings.roles {
        Roles::Ingress(_) => "complete, of an ingress",
        Roles::Worker(_) => "complete, of a worker",
        Roles::Both(..) => "complete",
    }
}
