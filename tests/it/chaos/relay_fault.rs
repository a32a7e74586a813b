//! The faults of a relay that are drawn.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Inbox, InboxConfig, Misbehavior, Step},
    proxy::{FaultProxy, Network},
};

use crate::harness::{app::free_port, program::lasting_listener};

/// One relay, and the network before it.
pub struct Relay {
    pub inbox: Inbox,
    pub way: FaultProxy,
}

/// A fault of one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Network(Network),
    /// Done to every mail that reaches this step meanwhile.
    Each(Step, &'static str),
    /// Done to the next few mails.
    Few(Step, Kind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HangUp,
    Stall,
    KeepAndHangUp,
    KeepAndStall,
}

impl Relay {
    /// A relay that has no fault yet.
    pub async fn start() -> Self {
        let inbox = Inbox::start(free_port().await, InboxConfig::default(), Arc::new(SystemClock))
            .expect("starts");
        let way = FaultProxy::start(lasting_listener().await, inbox.address()).expect("starts");
        Self { inbox, way }
    }

    /// The URL of the way to it.
    pub fn url(&self) -> String {
        format!("smtp://{}?tls=none", self.way.address())
    }
}

impl Fault {
    /// The next one. None throttles: that is believed for minutes, and not over with the fault.
    pub fn draw(chance: &mut Rng) -> Self {
        let steps = [Step::Greeting, Step::Ehlo, Step::Mail, Step::Rcpt, Step::Data];
        let step = chance.choice(steps).expect("some");
        match chance.u8(0..10) {
            0 => Self::Network(Network::Refused),
            1 => Self::Network(Network::BlackHole),
            2 => Self::Network(Network::CutAfter(chance.usize(1..600))),
            3 => Self::Network(Network::Delay(Duration::from_millis(chance.u64(20..400)))),
            4 => Self::Few(step, Kind::Stall),
            5 => Self::Few(step, Kind::HangUp),
            6 => {
                let kinds = [Kind::HangUp, Kind::Stall, Kind::KeepAndHangUp, Kind::KeepAndStall];
                Self::Few(Step::Dot, chance.choice(kinds).expect("some"))
            }
            7 => Self::Each(Step::Rcpt, "554 5.7.1 relay access denied"),
            8 => Self::Each(Step::Greeting, "421 4.3.2 not now"),
            _ => {
                let answers = [
                    (Step::Mail, "451 4.3.0 local error"),
                    (Step::Rcpt, "450 4.2.1 mailbox busy"),
                    (Step::Dot, "451 4.3.0 local error"),
                    (Step::Dot, "550 5.7.1 looks like spam"),
                ];
                let (step, answer) = chance.choice(answers).expect("some");
                Self::Each(step, answer)
            }
        }
    }

    pub fn begin(self, relay: &Relay) {
        match self {
            Self::Network(network) => relay.way.set(network),
            Self::Each(step, answer) => {
                (0..200).for_each(|_| relay.inbox.order(step, Misbehavior::Say(answer)));
            }
            Self::Few(step, kind) => {
                let order = match kind {
                    Kind::HangUp => Misbehavior::HangUp,
                    Kind::Stall => Misbehavior::Stall,
                    Kind::KeepAndHangUp => Misbehavior::KeepAndHangUp,
                    Kind::KeepAndStall => Misbehavior::KeepAndStall,
                };
                // Who is not answered after the dot waits, whatever we do: one at a time.
                let times = if step == Step::Dot { 1 } else { 3 };
                (0..times).for_each(|_| relay.inbox.order(step, order.clone()));
            }
        }
    }

    pub fn end(relay: &Relay) {
        relay.way.set(Network::Fine);
        relay.inbox.obey_no_more();
    }

    /// The line of the table that it belongs to.
    pub fn class(self) -> &'static str {
        match self {
            Self::Network(Network::Refused) => "refused",
            Self::Network(Network::BlackHole) => "black hole",
            Self::Network(Network::CutAfter(_)) => "cut in the middle",
            Self::Network(_) => "slow network",
            Self::Few(Step::Dot, _) => "silent or hung up after the dot",
            Self::Few(..) => "stalled or hung up before the body",
            Self::Each(Step::Greeting, _) => "421 at the greeting",
            Self::Each(Step::Rcpt, answer) if answer.starts_with("554") => "relaying denied",
            Self::Each(..) => "deferred, or refused for good",
        }
    }
}
