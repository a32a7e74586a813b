//! How an app is set up: on which engine, with which settings, over which networks.

use std::sync::Arc;

use authpost::{
    config::settings::{
        IngressSettings, ProcessSettings, Roles, Settings, SignInSettings, WorkerSettings,
    },
    service,
};
use domain::{clock::Clock, queue::Capacity};
use runtime::{
    clock::SystemClock,
    tls::{Trust, install_provider},
};
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, InboxConfig},
    workos::StandIn,
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::{
    app::{App, Broker, free_port, fresh_prefix},
    networks::{Networks, Urls, Ways},
    services::Services,
    settings::{self, API_KEY, engine, ingress, process, worker},
};

type Change<T> = Box<dyn FnOnce(&mut T) + Send>;

/// The setup of an app, before it starts.
pub struct Setup {
    pub worker: Change<WorkerSettings>,
    pub capacity: Capacity,
    /// Authorities to trust besides this machine's.
    pub trust: Option<Trust>,
    sign_in: Option<Change<SignInSettings>>,
    services: Option<Urls>,
    faulty: bool,
}

impl Setup {
    pub fn embedded() -> Self {
        Self {
            worker: Box::new(|_| {}),
            capacity: Capacity::default(),
            trust: None,
            sign_in: None,
            services: None,
            faulty: false,
        }
    }

    /// On the RabbitMQ and Redis that all tests share.
    pub fn distributed() -> Self {
        let shared = Services::shared();
        Self::on(shared.amqp_url(), shared.redis_url())
    }

    /// An app on this RabbitMQ and this Redis.
    pub fn on(amqp: &str, redis: &str) -> Self {
        Self {
            services: Some(Urls { amqp: amqp.to_owned(), redis: redis.to_owned() }),
            ..Self::embedded()
        }
    }

    /// With networks that can fail between the app and everything it uses.
    pub fn faulty(self) -> Self {
        Self { faulty: true, ..self }
    }

    pub fn worker(mut self, change: impl FnOnce(&mut WorkerSettings) + Send + 'static) -> Self {
        self.worker = Box::new(change);
        self
    }

    /// With the sign-in endpoints, for pages of [`ORIGIN`].
    pub fn sign_in(mut self, change: impl FnOnce(&mut SignInSettings) + Send + 'static) -> Self {
        self.sign_in = Some(Box::new(change));
        self
    }

    pub async fn start(self) -> App {
        install_provider();
        let Self { worker: change, capacity, trust, sign_in, services, faulty } = self;
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let key = SecretString::from(API_KEY.to_owned());
        let workos =
            Arc::new(StandIn::start(free_port().await, key, clock.clone()).expect("starts"));
        let inbox =
            Inbox::start(free_port().await, InboxConfig::default(), clock.clone()).expect("starts");
        let folder = tempfile::tempdir().expect("a folder");
        let prefix = fresh_prefix();
        let broker =
            services.as_ref().map(|urls| Broker { url: urls.amqp.clone(), prefix: prefix.clone() });
        let direct = Ways { workos: workos.url(), relay: inbox.address(), services };
        let (networks, ways) = if faulty { Networks::over(&direct).await } else { (None, direct) };
        let mut worker = worker(&ways.workos, &format!("smtp://{}?tls=none", ways.relay));
        change(&mut worker);
        let sign_in = sign_in.map(|change| with_sign_in(&workos, &ways, change));
        let ingress = IngressSettings { sign_in, ..ingress() };
        let process = process_with(trust);
        let engine = engine(ways.services, folder.path(), prefix, capacity, &process.trust);
        let stop = CancellationToken::new();
        let settings = Settings { roles: Roles::Both(ingress, worker), engine, process };
        let service = service::start(&settings, clock.clone(), stop.clone()).await.expect("starts");
        let (public, admin) = (service.public.expect("an ingress"), service.admin);
        let metrics = Arc::clone(&service.metrics);
        let app = App {
            workos,
            inbox,
            clock,
            metrics,
            public,
            admin,
            folder,
            broker,
            networks,
            stop,
            process: tokio::spawn(service.run()),
            finished: false,
            redelivered: 0,
        };
        app.is_ready().await;
        app
    }
}

fn process_with(trust: Option<Trust>) -> ProcessSettings {
    let process = process();
    ProcessSettings { trust: trust.unwrap_or_else(|| process.trust.clone()), ..process }
}

fn with_sign_in(workos: &StandIn, ways: &Ways, change: Change<SignInSettings>) -> SignInSettings {
    workos.for_client(settings::CLIENT_ID);
    let mut sign_in = settings::sign_in(&ways.workos, &workos.url());
    change(&mut sign_in);
    sign_in
}
