//! Unit tests of the parent module.

use std::sync::{
    LazyLock,
    atomic::{AtomicU32, Ordering},
};

use domain::{
    address::EmailAddress,
    clock::Clock as _,
    ids::EventId,
    login_code::{Code, LoginCode},
};
use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;
use crate::mail::{
    message::Sender,
    render::{Asked, TemplateOptions, Templates},
};

/// What a relay does with every mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Accepts,
    Refuses(Severity, Reason),
    KnowsNobodyThere,
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
    async fn connect(&self, _: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
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
            Does::KnowsNobodyThere => Err(SendError::NoSuchAddress(Fault::permanent(
                Reason::RecipientRefused,
                "no such address",
            ))),
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
                Ok(Accepted { receipt: String::new(), relay: "relay".into() })
            }
        }
    }
}

const HEDGE: Duration = Duration::from_secs(1);

fn relays(all: &[Does]) -> (Relays, Vec<Arc<Scripted>>) {
    let takes: Vec<_> = all.iter().map(|does| (*does, Takes::default())).collect();
    relays_that_take(&takes)
}

fn relays_that_take(all: &[(Does, Takes)]) -> (Relays, Vec<Arc<Scripted>>) {
    let metrics = runtime::metrics::Metrics::new("test").expect("declared rightly");
    let scripted = |(does, _): &(Does, Takes)| {
        let (connected, accepted) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Scripted { does: Mutex::new(*does), connected, accepted })
    };
    let scripts: Vec<_> = all.iter().map(scripted).collect();
    let candidates = scripts.iter().zip(all).enumerate().map(|(index, (script, (_, takes)))| {
        let name: Arc<str> = format!("relay{index}").into();
        let metrics = metrics.relay(&name);
        let mailer = Arc::new(Arc::clone(script));
        Candidate { name, mailer, takes: takes.clone(), metrics }
    });
    let chance: Chance = Arc::new(|| 0.0);
    (Relays::new(candidates.collect(), HEDGE, &chance), scripts)
}

fn mail() -> Mail {
    mail_to("alice@example.com", "event_1")
}

fn mail_to(address: &str, event: &str) -> Mail {
    static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
        let sender = EmailAddress::parse("login@acme.example").expect("valid");
        let sender = Sender { name: None, address: sender };
        Templates::load(TemplateOptions::plain("Acme", sender)).expect("usable")
    });
    let now = runtime::clock::SystemClock.now();
    let code = LoginCode {
        code: Code::parse("123456".to_owned()).expect("valid"),
        recipient: EmailAddress::parse(address).expect("valid"),
        expires_at: now + SignedDuration::from_mins(9),
    };
    TEMPLATES
        .login_code(Asked::plain(&EventId::parse(event).expect("valid"), now), &code, now)
        .expect("renders")
}

async fn send(relays: &Relays) -> Result<Accepted, SendError> {
    send_this(relays, &mail()).await
}

async fn send_this(relays: &Relays, mail: &Mail) -> Result<Accepted, SendError> {
    relays.connect(mail).await.map_err(SendError::NotSent)?.send(mail).await
}

fn accepted(all: &[Arc<Scripted>]) -> Vec<u32> {
    all.iter().map(|one| one.accepted.load(Ordering::Relaxed)).collect()
}

const DEFERS: Does =
    Does::Refuses(Severity::Transient { retry_after: None }, Reason::RelayDeferred);
const REFUSES_US: Does = Does::Refuses(Severity::Misconfigured, Reason::RelayRefusedUs);
const REFUSES_THE_MAIL: Does = Does::Refuses(Severity::Permanent, Reason::MailRefused);

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
        (REFUSES_THE_MAIL, Some([0, 1])),
        // The address is as unknown there, and a mail that may have been kept stays where it is.
        (Does::KnowsNobodyThere, None),
        (Does::FallsSilent, None),
    ] {
        let (relays, all) = relays(&[first, Does::Accepts]);
        let sent = send(&relays).await;
        assert_eq!(sent.is_ok(), expected.is_some(), "{first:?} {sent:?}");
        assert_eq!(accepted(&all), expected.unwrap_or([0, 0]), "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_fails_three_times_comes_last_until_a_test_succeeds() {
    for fails in [Does::NeverAnswers, Does::HangsAtMail, Does::IsAway] {
        let (relays, all) = relays(&[fails, Does::Accepts]);
        let wait = if fails == Does::IsAway { Duration::ZERO } else { HEDGE };
        for expected in [wait, wait, wait, Duration::ZERO] {
            let begun = Instant::now();
            send(&relays).await.expect("by the second");
            assert_eq!(begun.elapsed(), expected, "{fails:?}");
        }
        // One mail is the test, and opens it for twice as long.
        tokio::time::advance(Duration::from_secs(2)).await;
        for expected in [wait, Duration::ZERO] {
            let begun = Instant::now();
            send(&relays).await.expect("by the second");
            assert_eq!(begun.elapsed(), expected, "{fails:?}");
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        *all[0].does.lock() = Does::Accepts;
        send(&relays).await.expect("by the second still");
        tokio::time::advance(Duration::from_secs(2)).await;
        send(&relays).await.expect("by the first again");
        assert_eq!(accepted(&all), [1, 7], "{fails:?}");
    }
}

/// Else nobody would know that it works again before the first one fails.
#[tokio::test(start_paused = true)]
async fn a_relay_that_is_not_preferred_is_tested_too() {
    let (relays, all) = relays(&[DEFERS, REFUSES_US]);
    send(&relays).await.expect_err("by neither");
    *all[0].does.lock() = Does::Accepts;
    *all[1].does.lock() = Does::Accepts;
    send(&relays).await.expect("by the first");
    tokio::time::advance(Duration::from_secs(30)).await;
    send(&relays).await.expect("the test");
    send(&relays).await.expect("by the first");
    assert_eq!(accepted(&all), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_concerns_one_mail_does_not_count_against_a_relay() {
    for one_mail in [DEFERS, Does::KnowsNobodyThere, REFUSES_THE_MAIL] {
        let (relays, all) = relays(&[one_mail, Does::Accepts]);
        for _ in 0..20 {
            drop(send(&relays).await);
        }
        *all[0].does.lock() = Does::Accepts;
        send(&relays).await.expect("by the first");
        assert_eq!(accepted(&all)[0], 1, "{one_mail:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_that_two_relays_refuse_is_refused() {
    let (relays, all) = relays(&[REFUSES_THE_MAIL, Does::IsAway, REFUSES_THE_MAIL, Does::Accepts]);
    let Err(SendError::NotSent(fault)) = send(&relays).await else { panic!("refused") };
    assert_eq!(fault.severity, Severity::Permanent);
    assert_eq!(accepted(&all), [0, 0, 0, 0]);
    for (other, severity) in [
        (Does::IsAway, Severity::Transient { retry_after: None }),
        (REFUSES_US, Severity::Transient { retry_after: None }),
        (REFUSES_THE_MAIL, Severity::Permanent),
    ] {
        let (relays, _) = self::relays(&[REFUSES_THE_MAIL, other]);
        let Err(SendError::NotSent(fault)) = send(&relays).await else { panic!("{other:?}") };
        assert_eq!(fault.severity, severity, "{other:?}");
    }
    let (one, _) = self::relays(&[REFUSES_THE_MAIL]);
    let Err(SendError::NotSent(fault)) = send(&one).await else { panic!("refused") };
    assert_eq!(fault.severity, Severity::Permanent);
}

#[tokio::test(start_paused = true)]
async fn after_a_silence_the_next_attempt_begins_elsewhere() {
    let (relays, all) = relays(&[Does::FallsSilent, Does::Accepts]);
    assert!(matches!(send(&relays).await, Err(SendError::Ambiguous(_))));
    send_this(&relays, &mail().after_silences(1)).await.expect("by the second");
    assert_eq!(accepted(&all), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_relay_gets_its_domains_and_its_share() {
    let takes = |domains: &[&str], share| Takes {
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        share,
    };
    let (relays, all) = relays_that_take(&[
        (Does::Accepts, takes(&["Corp.example"], None)),
        (Does::Accepts, takes(&[], Some(0.25))),
        (Does::Accepts, Takes::default()),
    ]);
    for number in 0..400 {
        let event = format!("event_{number}");
        send_this(&relays, &mail_to("alice@example.com", &event)).await.expect("sent");
    }
    send_this(&relays, &mail_to("alice@corp.example", "event_1")).await.expect("sent");
    let [corp, share, rest] = accepted(&all)[..] else { panic!("three") };
    assert_eq!((corp, share + rest), (1, 400));
    assert!((80..120).contains(&share), "{share} of 400");
    // Whom the share does not reach comes there only if nobody else takes the mail.
    *all[2].does.lock() = Does::IsAway;
    for number in 0..40 {
        let event = format!("event_{number}");
        send_this(&relays, &mail_to("alice@example.com", &event)).await.expect("sent");
    }
    assert_eq!(accepted(&all), [1, share + 40, rest]);
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
