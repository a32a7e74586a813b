//! WorkOS, the relay and a clock, as one process sees them.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    address::EmailAddress,
    clock::{Clock, SyncedClock},
    codes::CodeSource,
    fault::{Fault, Reason},
    ids::MagicAuthId,
    login_code::{Code, LoginCode},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    world::{LIFE, Relay, Workos, World, number_of},
    *,
};
use crate::mail::{Accepted, BegunMail, Mail, Mailer, RelayConnection, SendError};

/// The clock of one process, which may be wrong until WorkOS was heard.
pub(super) struct ProcessClock {
    world: Arc<World>,
    wrong_by: AtomicI64,
    is_synced: AtomicBool,
}

impl ProcessClock {
    /// Up to a quarter of an hour wrong, either way.
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        let wrong_by = match world.below(4) {
            0 => i64::try_from(world.below(1800)).expect("small") - 900,
            _ => 0,
        };
        world.tell(|| format!("a process starts; its clock is wrong by {wrong_by} s"));
        let (wrong_by, is_synced) = (AtomicI64::new(wrong_by), AtomicBool::new(false));
        Arc::new(Self { world: Arc::clone(world), wrong_by, is_synced })
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        self.world.now() + SignedDuration::from_secs(self.wrong_by.load(Ordering::Relaxed))
    }
}

impl SyncedClock for ProcessClock {
    fn is_synced(&self) -> bool {
        self.is_synced.load(Ordering::Relaxed)
    }
}

/// The way to WorkOS and the relay.
#[derive(Clone)]
pub(super) struct Ports {
    pub(super) world: Arc<World>,
    pub(super) clock: Arc<ProcessClock>,
}

#[async_trait]
impl CodeSource for Ports {
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault> {
        self.world.wait().await;
        let (number, mood) = (number_of(id.as_str()), *self.world.workos.lock());
        self.world.tell(|| format!("the code of {number} is asked for: WorkOS is {mood:?}"));
        if mood == Workos::Down {
            return Err(Fault::transient(Reason::WorkosUnavailable, "down"));
        }
        // Every answer has the time.
        self.clock.wrong_by.store(0, Ordering::Relaxed);
        self.clock.is_synced.store(true, Ordering::Relaxed);
        let created_at = self.world.asked.lock()[number].event.created_at;
        let mut expires_at = created_at + LIFE;
        match mood {
            Workos::RateLimited => {
                return Err(Fault::transient(Reason::WorkosRateLimited, "too many"));
            }
            Workos::Behind => {
                self.world.change(number, |asked| asked.is_refused = true);
                return Err(Fault::permanent(Reason::NotFound, "unknown"));
            }
            Workos::Up | Workos::Down => {}
        }
        if self.world.planted == Some(Planted::WallTooLate) {
            expires_at += LIFE;
        } else if self.world.now() >= expires_at {
            return Err(Fault::permanent(Reason::NotFound, "expired"));
        }
        Ok(LoginCode {
            code: Code::parse(format!("{number:06}")).expect("digits"),
            recipient: EmailAddress::parse("alice@example.com").expect("valid"),
            expires_at,
        })
    }
}

#[async_trait]
impl Mailer for Ports {
    async fn connect(&self, _: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
        self.world.wait().await;
        match *self.world.relay.lock() {
            Relay::Down => Err(Fault::transient(Reason::RelayUnavailable, "down")),
            Relay::RefusesUs => Err(Fault::misconfigured(Reason::RelayRefusedUs, "535 no")),
            _ => Ok(Box::new(self.clone())),
        }
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

#[async_trait]
impl RelayConnection for Ports {
    async fn begin(self: Box<Self>, _: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let begun_at = self.world.now();
        self.world.wait().await;
        Ok(Box::new(Begun { world: self.world, begun_at }))
    }
}

/// A mail that the relay was told about at this time.
struct Begun {
    world: Arc<World>,
    begun_at: Timestamp,
}

#[async_trait]
impl BegunMail for Begun {
    async fn finish(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        self.world.wait().await;
        let text = String::from_utf8_lossy(mail.expose()).into_owned();
        let (_, code) = text.split_once("code=").expect("the template");
        let number: usize = code[..6].parse().expect("digits");
        let mood = *self.world.relay.lock();
        self.world.tell(|| format!("the mail of {number} is at the relay, which is {mood:?}"));
        let keep = || self.world.change(number, |asked| asked.kept.push(self.begun_at));
        let silent = || self.world.change(number, |asked| asked.silences += 1);
        let answer = match mood {
            Relay::Up => {
                keep();
                Ok(Accepted { receipt: "4Zx1".to_owned(), relay: "relay".into() })
            }
            Relay::SilentAndKeeps => {
                keep();
                silent();
                Err(SendError::Ambiguous("silent".into()))
            }
            Relay::SilentAndLoses => {
                silent();
                Err(SendError::Ambiguous("silent".into()))
            }
            Relay::RefusesAddress => {
                self.world.change(number, |asked| asked.is_refused = true);
                let fault = Fault::permanent(Reason::RecipientRefused, "550 5.1.1");
                Err(SendError::NoSuchAddress(fault))
            }
            Relay::Down | Relay::Defers | Relay::RefusesUs => {
                Err(SendError::NotSent(Fault::transient(Reason::RelayDeferred, "451")))
            }
        };
        // The answer is on its way.
        self.world.wait().await;
        answer
    }
}
