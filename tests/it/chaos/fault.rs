//! The faults that the chaos test draws from.

use std::{fmt, time::Duration};

use fastrand::Rng;
use sandbox::{inbox::Step, proxy::Network};

/// A fault that lasts for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A command of `scripts/services`, and the one that undoes it.
    Service(&'static str, &'static str),
    /// Redis refuses writes: a failover to the wrong server.
    Replica,
    /// The network on one of the ways.
    Network(Way, Network),
    /// A worker or ingress, killed or asked to stop, and started again.
    Process(Role, Death),
    /// The relay answers this at that step, to the next few.
    Relay(Step, &'static str),
    /// WorkOS answers with this status, to the next few.
    Workos(u16),
}

/// To what a network leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Broker,
    Redis,
    Relay,
    Workos,
}

/// The program that the fault is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ingress,
    Worker,
}

/// The way the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Kill,
    Term,
}

impl Fault {
    /// The next one, and for how long.
    pub fn draw(chance: &mut Rng) -> (Self, Duration) {
        let fault = match chance.u8(0..12) {
            0 | 1 => Self::Service("kill rabbitmq", "start rabbitmq"),
            2 => chance
                .choice([
                    ("freeze rabbitmq", "thaw rabbitmq"),
                    ("block rabbitmq", "unblock rabbitmq"),
                ])
                .map(service)
                .expect("some"),
            3 => chance
                .choice([("kill redis", "start redis"), ("freeze redis", "thaw redis")])
                .map(service)
                .expect("some"),
            4 => Self::Replica,
            5..=7 => Self::Network(way(chance), network(chance)),
            8 | 9 => Self::Process(Role::Worker, death(chance)),
            10 => Self::Process(Role::Ingress, death(chance)),
            _ => misanswer(chance),
        };
        let lasting = match &fault {
            // In practice it takes a while until somebody notices an alarm.
            Self::Service("block rabbitmq", _) => chance.u64(5_000..30_000),
            _ => chance.u64(500..6_000),
        };
        (fault, Duration::from_millis(lasting))
    }

    pub fn is_the_brokers(&self) -> bool {
        matches!(
            self,
            Self::Service("kill rabbitmq" | "freeze rabbitmq" | "block rabbitmq", _)
                | Self::Network(Way::Broker, _)
        )
    }

    pub fn is_redis_s(&self) -> bool {
        matches!(
            self,
            Self::Service("kill redis" | "freeze redis", _)
                | Self::Replica
                | Self::Network(Way::Redis, _)
        )
    }
}

fn service((hurt, heal): (&'static str, &'static str)) -> Fault {
    Fault::Service(hurt, heal)
}

fn way(chance: &mut Rng) -> Way {
    chance.choice([Way::Broker, Way::Redis, Way::Relay, Way::Workos]).expect("some")
}

fn network(chance: &mut Rng) -> Network {
    let delay = Duration::from_millis(chance.u64(20..300));
    let cut = chance.usize(1..2_000);
    chance
        .choice([
            Network::Delay(delay),
            Network::Throttle(20_000),
            Network::BlackHole,
            Network::HalfClosed,
            Network::CutAfter(cut),
            Network::Refused,
        ])
        .expect("some")
}

fn death(chance: &mut Rng) -> Death {
    chance.choice([Death::Kill, Death::Kill, Death::Term]).expect("some")
}

fn misanswer(chance: &mut Rng) -> Fault {
    let relay = [
        (Step::Mail, "421 4.7.0 try later"),
        (Step::Rcpt, "450 4.2.1 mailbox busy"),
        (Step::Rcpt, "451 4.3.0 local error"),
        (Step::Data, "452 4.3.1 no space"),
        (Step::Dot, "451 4.3.0 local error"),
    ];
    if chance.bool() {
        let (step, line) = chance.choice(relay).expect("some");
        Fault::Relay(step, line)
    } else {
        Fault::Workos(chance.choice([500, 502, 503, 429]).expect("some"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Service(hurt, _) => (*hurt).to_owned(),
            Self::Replica => "redis read-only".to_owned(),
            Self::Network(way, network) => format!("way to {way:?}: {network:?}"),
            Self::Process(role, death) => format!("{death:?} {role:?}"),
            Self::Relay(step, line) => format!("relay at {step:?}: {line}"),
            Self::Workos(status) => format!("WorkOS says {status}"),
        };
        f.pad(&text)
    }
}
