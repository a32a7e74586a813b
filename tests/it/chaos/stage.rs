//! The setup: ingresses and workers as processes, a faulty network on every connection, and the
//! injection of faults.

use std::{sync::Arc, time::Duration};

use domain::clock::Clock as _;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use runtime::clock::SystemClock;
use sandbox::{
    inbox::Misbehavior,
    proxy::{FaultProxy, Network},
    workos::Override,
};
use tokio::time::timeout;

use super::fault::{Death, Fault, Role, Way};
use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        eventually,
        load::{Load, Sender},
        networks::{Networks, Urls, Ways},
        program::{Program, lasting_listener},
        queues::delete_queues,
        services::Services,
    },
};

const RATE: u32 = 10;

type Env = Vec<(&'static str, String)>;

/// Every process and stand-in of the chaos test.
pub struct Stage {
    pub world: World,
    pub services: Arc<Services>,
    pub prefix: String,
    networks: Networks,
    env: Env,
    /// Two ingresses, each behind a network, so that one that starts again is found where it was.
    ingresses: [(Option<Program>, FaultProxy); 2],
    workers: [Option<Program>; 2],
    turn: usize,
}

impl Stage {
    /// Starts everything, and waits until it is ready.
    pub async fn set() -> Self {
        let (world, services) =
            (World::new().await, Arc::new(Services::private(&["rabbitmq", "redis"])));
        let prefix = fresh_prefix();
        let urls =
            Urls { amqp: services.amqp_url().to_owned(), redis: services.redis_url().to_owned() };
        let direct =
            Ways { workos: world.workos.url(), relay: world.inbox.address(), services: Some(urls) };
        let (networks, over) = Networks::over(&direct).await;
        let env = environment(&world, &over, &prefix);
        let ingresses = [ingress(&env, &world).await, ingress(&env, &world).await];
        let workers = [
            Some(Program::start("worker", &env, &world.log()).await),
            Some(Program::start("worker", &env, &world.log()).await),
        ];
        Self {
            world,
            services,
            prefix,
            networks: networks.expect("faulty"),
            env,
            ingresses,
            workers,
            turn: 0,
        }
    }

    /// People who ask, through both ingresses in turn.
    pub fn load(&self) -> Load {
        let urls = self
            .ingresses
            .iter()
            .map(|(_, network)| format!("http://{}/v1/workos_webhook/", network.address()))
            .collect();
        Load::start(
            Sender { workos: Arc::clone(&self.world.workos), urls, clock: Arc::new(SystemClock) },
            RATE,
        )
    }

    /// Injects the fault, waits, ends it; returns how long it took from then until somebody who
    /// asked afterwards had a mail.
    pub async fn suffer(&mut self, fault: &Fault, lasting: Duration) -> Duration {
        self.turn += 1;
        self.hurt(fault).await;
        // The fault's own length, not a wait for anything.
        drop(timeout(lasting, std::future::pending::<()>()).await);
        self.heal(fault).await;
        let healed = SystemClock.now();
        let mailed = eventually("somebody who asked after the fault has a mail", async || {
            self.first_mail_since(healed)
        })
        .await;
        Duration::try_from(mailed.duration_since(healed)).unwrap_or_default()
    }

    /// When the first mail arrived of somebody who asked after `since`: the address says when that
    /// was.
    fn first_mail_since(&self, since: Timestamp) -> Option<Timestamp> {
        let asked_after = |address: &str| {
            let id = address
                .split('@')
                .next()
                .and_then(|local| ulid::Ulid::from_string(&local.to_ascii_uppercase()).ok());
            id.is_some_and(|id| {
                i64::try_from(id.timestamp_ms()).is_ok_and(|ms| ms > since.as_millisecond())
            })
        };
        self.world
            .inbox
            .mails()
            .into_iter()
            .filter(|mail| asked_after(&mail.to))
            .map(|mail| mail.at)
            .min()
    }

    async fn hurt(&mut self, fault: &Fault) {
        match fault {
            Fault::Service(hurt, _) => self.services.carry_out(hurt).await,
            Fault::Replica => self.redis(&["REPLICAOF", "127.0.0.1", "1"]).await,
            Fault::Network(way, network) => self.way(*way).set(*network),
            Fault::Process(role, death) => {
                let program = self.program(*role).take().expect("running");
                match death {
                    Death::Kill => {
                        program.signal(Signal::SIGKILL);
                        program.ended().await;
                    }
                    Death::Term => program.stop().await,
                }
            }
            Fault::Relay(step, line) => {
                (0..5).for_each(|_| self.world.inbox.order(*step, Misbehavior::Say(line)));
            }
            Fault::Workos(status) => {
                let wish = vec![("retry-after", "1".to_owned())];
                self.world.workos.answer_instead(
                    (0..5).map(|_| Override::Answer(*status, wish.clone(), String::new())),
                );
            }
        }
    }

    async fn heal(&mut self, fault: &Fault) {
        match fault {
            Fault::Service(_, heal) => self.services.carry_out(heal).await,
            Fault::Replica => self.redis(&["REPLICAOF", "NO", "ONE"]).await,
            Fault::Network(way, _) => self.way(*way).set(Network::Fine),
            Fault::Process(Role::Worker, _) => {
                let program = Program::start("worker", &self.env, &self.world.log()).await;
                *self.program(Role::Worker) = Some(program);
            }
            Fault::Process(Role::Ingress, _) => {
                let program = Program::start("ingress", &self.env, &self.world.log()).await;
                self.ingresses[self.turn % 2].1.lead_to(program.public.expect("an ingress"));
                *self.program(Role::Ingress) = Some(program);
            }
            Fault::Relay(..) | Fault::Workos(_) => {}
        }
    }

    fn program(&mut self, role: Role) -> &mut Option<Program> {
        match role {
            Role::Ingress => &mut self.ingresses[self.turn % 2].0,
            Role::Worker => &mut self.workers[self.turn % 2],
        }
    }

    fn way(&self, way: Way) -> &FaultProxy {
        match way {
            Way::Broker => self.networks.broker(),
            Way::Redis => self.networks.redis(),
            Way::Relay => &self.networks.relay,
            Way::Workos => &self.networks.workos,
        }
    }

    async fn redis(&self, words: &[&str]) {
        let client = redis::Client::open(self.services.redis_url()).expect("a URL");
        let mut redis = client.get_multiplexed_async_connection().await.expect("connects");
        let (first, rest) = words.split_first().expect("a command");
        redis::cmd(first).arg(rest).query_async::<()>(&mut redis).await.expect("done");
    }

    /// How many deliveries the workers have in hand.
    pub async fn in_hand(&self) -> u64 {
        let mut in_hand = 0;
        for worker in self.workers.iter().flatten() {
            in_hand += worker.exposition().await.count("authpost_in_flight");
        }
        in_hand
    }

    /// Stops every program, and checks that each ended cleanly.
    pub async fn strike(self) {
        for program in self
            .ingresses
            .into_iter()
            .filter_map(|(program, _)| program)
            .chain(self.workers.into_iter().flatten())
        {
            program.stop().await;
        }
        delete_queues(self.services.amqp_url(), &self.prefix).await;
    }
}

fn environment(world: &World, over: &Ways, prefix: &str) -> Env {
    let Urls { amqp, redis } = over.services.clone().expect("on brokers");
    let mut env = world.env();
    env.extend([
        ("WORKOS_API_URL", over.workos.clone()),
        ("SMTP_URL", format!("smtp://{}?tls=none", over.relay)),
        ("AMQP_URL", amqp),
        ("REDIS_URL", redis),
        ("AUTHPOST_QUEUE_PREFIX", prefix.to_owned()),
        ("AUTHPOST_SMTP_COMMAND_TIMEOUT", "2 s".to_owned()),
        ("AUTHPOST_SMTP_TIMEOUT", "4 s".to_owned()),
    ]);
    env
}

async fn ingress(env: &Env, world: &World) -> (Option<Program>, FaultProxy) {
    let program = Program::start("ingress", env, &world.log()).await;
    let network = FaultProxy::start(lasting_listener().await, program.public.expect("an ingress"))
        .expect("starts");
    (Some(program), network)
}
