//! Unit tests of the parent module.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::{
    address::EmailAddress,
    clock::Clock as _,
    ids::EventId,
    login_code::{Code, LoginCode},
};
use jiff::SignedDuration;

use super::*;
use crate::mail::{message::Sender, render::Templates};

/// What a relay does with every mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Accepts,
    Refuses(Severity, Reason),
    RefusesTheWhole(Reason),
    FallsSilent,
    HangsAtMail,
    IsAway,
    NeverAnswers,
}

struct Scripted {
    does: Mutex<Does>,
    connected: AtomicU32,
    accepted: AtomicU32,
}

#[async_trait]
impl Mailer for Arc<Scripted> {
    async fn connect(&self) -> Result<Box<dyn RelayConnection>, Fault> {
        self.connected.fetch_add(1, Ordering::Relaxed);
        let does = *self.does.lock();
        match does {
            Does::IsAway => Err(Fault::transient(Reason::RelayUnavailable, "away")),
            Does::NeverAnswers => std::future::pending().await,
            _ => Ok(Box::new(Arc::clone(self))),
        }
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        if *self.does.lock() == Does::IsAway { Err("away".into()) } else { Ok(()) }
    }
}

#[async_trait]
impl RelayConnection for Arc<Scripted> {
    async fn begin(self: Box<Self>, _: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let does = *self.does.lock();
        match does {
            Does::Refuses(severity, reason) => {
                Err(SendError::NotSent(Fault { severity, reason, detail: "refused".into() }))
            }
            Does::HangsAtMail => std::future::pending().await,
            _ => Ok(self),
        }
    }
}

#[async_trait]
impl BegunMail for Arc<Scripted> {
    async fn finish(self: Box<Self>, _: &Mail) -> Result<Accepted, SendError> {
        let does = *self.does.lock();
        match does {
            Does::RefusesTheWhole(reason) => {
                Err(SendError::NotSent(Fault::transient(reason, "refused")))
            }
            Does::FallsSilent => Err(SendError::Ambiguous("silent".into())),
            _ => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(Accepted { receipt: String::new() })
            }
        }
    }
}

fn relays(all: &[Does]) -> (Relays, Vec<Arc<Scripted>>) {
    let scripted = |does: &Does| {
        let (connected, accepted) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Scripted { does: Mutex::new(*does), connected, accepted })
    };
    let all: Vec<_> = all.iter().map(scripted).collect();
    let mailers = all.iter().map(|one| Arc::new(Arc::clone(one)) as Arc<dyn Mailer>).collect();
    (Relays::new(mailers), all)
}

fn mail() -> Mail {
    let sender = EmailAddress::parse("login@acme.example").expect("valid");
    let sender = Sender { name: None, address: sender };
    let templates = Templates::load(None, "Acme", sender).expect("usable");
    let now = runtime::clock::SystemClock.now();
    let code = LoginCode {
        code: Code::parse("123456".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("alice@example.com").expect("valid"),
        expires_at: now + SignedDuration::from_mins(9),
    };
    templates.login_code(&EventId::parse("event_1").expect("valid"), &code, now).expect("renders")
}

async fn send(relays: &Relays) -> Result<Accepted, SendError> {
    relays.connect().await.map_err(SendError::NotSent)?.send(&mail()).await
}

fn accepted(all: &[Arc<Scripted>]) -> Vec<u32> {
    all.iter().map(|one| one.accepted.load(Ordering::Relaxed)).collect()
}

const DEFERS: Does =
    Does::Refuses(Severity::Transient { retry_after: None }, Reason::RelayDeferred);
const REFUSES_US: Does = Does::Refuses(Severity::Misconfigured, Reason::RelayRefusedUs);
const REFUSES_HER: Does = Does::Refuses(Severity::Permanent, Reason::RecipientRefused);

#[tokio::test(start_paused = true)]
async fn a_mail_goes_to_the_next_relay_only_if_none_has_it() {
    for (first, expected) in [
        (Does::Accepts, Some([1, 0])),
        (Does::IsAway, Some([0, 1])),
        (Does::NeverAnswers, Some([0, 1])),
        (Does::HangsAtMail, Some([0, 1])),
        (Does::RefusesTheWhole(Reason::RelayDeferred), Some([0, 1])),
        (DEFERS, Some([0, 1])),
        (REFUSES_US, Some([0, 1])),
        // Her address is as unknown there, and a mail that may have been kept stays where it is.
        (REFUSES_HER, None),
        (Does::FallsSilent, None),
    ] {
        let (relays, all) = relays(&[first, Does::Accepts]);
        let sent = send(&relays).await;
        assert_eq!(sent.is_ok(), expected.is_some(), "{first:?} {sent:?}");
        assert_eq!(accepted(&all), expected.unwrap_or([0, 0]), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_failed_rests_and_comes_back() {
    for slow in [Does::NeverAnswers, Does::HangsAtMail] {
        let (relays, all) = relays(&[slow, Does::Accepts]);
        let begun = Instant::now();
        send(&relays).await.expect("by the second");
        assert_eq!((begun.elapsed(), accepted(&all)), (HEAD_START, vec![0, 1]), "{slow:?}");
    }
    let (relays, all) = relays(&[Does::NeverAnswers, Does::Accepts]);
    send(&relays).await.expect("by the second");
    let begun = Instant::now();
    send(&relays).await.expect("by the second, at once");
    assert_eq!((begun.elapsed(), accepted(&all)), (Duration::ZERO, vec![0, 2]));
    *all[0].does.lock() = Does::Accepts;
    tokio::time::advance(REST).await;
    send(&relays).await.expect("by the first again");
    assert_eq!(accepted(&all), [1, 2]);
    // One person's trouble makes no relay rest.
    *all[0].does.lock() = DEFERS;
    send(&relays).await.expect("by the second");
    *all[0].does.lock() = Does::Accepts;
    send(&relays).await.expect("by the first");
    assert_eq!(accepted(&all), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn after_a_silence_the_next_attempt_begins_elsewhere() {
    let (relays, all) = relays(&[Does::FallsSilent, Does::Accepts]);
    assert!(matches!(send(&relays).await, Err(SendError::Ambiguous(_))));
    send(&relays).await.expect("by the second");
    assert_eq!(accepted(&all), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn our_configuration_is_refused_only_if_all_refuse_it() {
    for (all, severity) in [
        ([REFUSES_US, REFUSES_US], Severity::Misconfigured),
        ([REFUSES_US, Does::IsAway], Severity::Transient { retry_after: None }),
        ([Does::IsAway, REFUSES_US], Severity::Transient { retry_after: None }),
        ([DEFERS, REFUSES_US], Severity::Transient { retry_after: None }),
    ] {
        let (relays, _) = relays(&all);
        let Err(SendError::NotSent(fault)) = send(&relays).await else { panic!("{all:?}") };
        assert_eq!(fault.severity, severity, "{all:?}");
    }
    let (one_is_there, _) = relays(&[Does::IsAway, Does::Accepts]);
    let (all_are_away, _) = relays(&[Does::IsAway, Does::IsAway]);
    assert!(one_is_there.ready().await.is_ok() && all_are_away.ready().await.is_err());
}
