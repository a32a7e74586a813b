//! Joins the roles to their adapters.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{ClaimStore, Limit},
    clock::{Clock, SyncedClock},
    language::{SeenLanguages, UserLanguages},
};
use ingress::sign_in::{self, SignInService};
use runtime::{health::Heartbeat, live::Live, random::system_entropy};
use worker::{
    CircuitBreaker, LanguageSources, Worker, WorkerConfig,
    mail::{
        Mailer,
        relays::{Candidate, Relays},
        smtp::{RelayConfig, SmtpMailer},
    },
    reconcile::Reconciler,
};
use workos::{ApiConfig, Workos, WorkosClock, WorkosEvents, WorkosSessions, WorkosSignIn};

use crate::{
    config::settings::{SignInSettings, WorkerSettings},
    deps::Deps,
    engines::OpenEngine,
};

/// How long a claim store that does not answer is told that a mail was sent. Longer than a restart
/// of Redis takes.
const RECORD_FOR: Duration = Duration::from_secs(10);

/// Signing in, with its dependencies.
pub fn sign_in(settings: &SignInSettings, engine: &dyn OpenEngine, deps: &Deps) -> SignInService {
    let SignInSettings { config, api, issuers, page: _ } = settings.clone();
    let Deps { clock, metrics, trust, .. } = deps;
    let provider = Arc::new(WorkosSignIn::new(&api, &config.client_id, trust, Arc::clone(clock)));
    let sessions =
        Arc::new(WorkosSessions::new(&api, &config.client_id, issuers, trust, Arc::clone(clock)));
    let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
    SignInService::new(
        config,
        sign_in::Deps {
            provider,
            sessions,
            nonces: engine.nonces(),
            languages: engine.languages(),
            entropy: system_entropy(),
            clock,
            metrics,
        },
    )
}

/// A worker, with its dependencies.
pub fn worker(
    settings: &WorkerSettings,
    (claims, seen): (Arc<dyn ClaimStore>, Arc<dyn SeenLanguages>),
    clock: &Arc<WorkosClock>,
    heartbeat: Heartbeat,
    deps: &Deps,
) -> anyhow::Result<Worker> {
    let mailer = mailer(settings, deps)?;
    let Deps { chance, metrics, trust, stop, .. } = deps.clone();
    let concurrency = usize::from(settings.concurrency);
    let codes = Workos::new(
        &settings.api,
        settings.api_rate,
        &trust,
        Arc::clone(clock),
        Arc::clone(&metrics),
    );
    metrics.mail_limit(settings.mail_limit.map_or(0, Limit::per_hour));
    // What WorkOS knows is to be believed first.
    let mut languages: Vec<Arc<dyn UserLanguages>> = Vec::new();
    if let Some(remembered) = settings.user_locale {
        languages.push(Arc::new(codes.users(remembered)));
    }
    languages.push(seen);
    Ok(Worker {
        claims,
        owners: Deps::owners()?,
        codes: Arc::new(codes),
        languages: LanguageSources::new(languages),
        mailer: Live::new(mailer),
        templates: settings.templates.clone(),
        clock: Arc::clone(clock) as Arc<dyn SyncedClock>,
        breaker: Arc::new(CircuitBreaker::new(Arc::clone(&metrics), Arc::clone(&chance))),
        chance,
        metrics,
        config: WorkerConfig {
            concurrency,
            on_ambiguity: settings.on_ambiguity,
            record_for: RECORD_FOR,
        },
        heartbeat,
        stop,
    })
}

/// A worker's way to the relays.
pub fn mailer(settings: &WorkerSettings, deps: &Deps) -> anyhow::Result<Arc<dyn Mailer>> {
    let connections = usize::from(settings.concurrency);
    relays(&settings.relays, connections, settings.relay_hedge, deps)
}

/// The way to these relays, with so many connections to each.
pub fn relays(
    relays: &[RelayConfig],
    connections: usize,
    hedge: Duration,
    deps: &Deps,
) -> anyhow::Result<Arc<dyn Mailer>> {
    let mut candidates = Vec::new();
    deps.metrics.forget_relays();
    for relay in relays {
        let metrics = deps.metrics.relay(relay.name());
        let mailer = SmtpMailer::new(relay.clone(), connections, metrics.clone())?;
        let (name, takes) = (relay.name().into(), relay.takes().clone());
        candidates.push(Candidate { name, mailer: Arc::new(mailer), takes, metrics });
    }
    Ok(Arc::new(Relays::new(candidates, hedge, &deps.chance)))
}

/// WorkOS's time, as far as it is known.
pub fn workos_clock(deps: &Deps) -> Arc<WorkosClock> {
    Arc::new(WorkosClock::new(Arc::clone(&deps.clock), Arc::clone(&deps.metrics)))
}

/// Finds events that the webhooks missed. `clock` is WorkOS's.
pub fn reconciler(
    api: &ApiConfig,
    engine: &dyn OpenEngine,
    clock: Arc<dyn Clock>,
    deps: &Deps,
) -> Reconciler {
    Reconciler {
        events: Arc::new(WorkosEvents::new(api, &deps.trust)),
        records: engine.records(),
        nonces: engine.nonces(),
        publish: engine.publish(),
        clock,
        metrics: Arc::clone(&deps.metrics),
    }
}
