//! Three relays that do as random scripts say: what a person gets in the end.

use std::sync::atomic::AtomicU32;

use domain::{fault::Severity, retry::Chance};
use engine::memory::MemoryClaims;
use proptest::prelude::*;

use super::*;
use crate::mail::relays::{Candidate, Relays, Takes};

/// What a relay does with one mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Accepts,
    IsAway,
    HangsAtTheEnvelope,
    DefersTheEnvelope,
    DefersTheWhole,
    RefusesUs,
    RefusesTheMail,
    KeepsAndFallsSilent,
    FallsSilent,
}

/// A relay that goes through its script again and again.
struct Relay {
    script: Vec<Does>,
    at: AtomicU32,
    kept: AtomicU32,
    silences: AtomicU32,
}

impl Relay {
    fn new(script: &[Does]) -> Arc<Self> {
        let (at, kept, silences) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { script: script.to_vec(), at, kept, silences })
    }

    fn next(&self) -> Does {
        let at = usize::try_from(self.at.fetch_add(1, Ordering::Relaxed)).expect("few");
        self.script[at % self.script.len()]
    }
}

/// A mail on its way to a relay, and what the relay will do.
struct Conversation(Arc<Relay>, Does);

fn fault(severity: Severity, reason: Reason) -> Fault {
    Fault { severity, reason, detail: "as the script says".into() }
}

const TRANSIENT: Severity = Severity::Transient { retry_after: None };

/// A relay that its conversations share.
struct Shared(Arc<Relay>);

#[async_trait]
impl Mailer for Shared {
    async fn connect(&self, _: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
        match self.0.next() {
            Does::IsAway => Err(fault(TRANSIENT, Reason::RelayUnavailable)),
            does => Ok(Box::new(Conversation(Arc::clone(&self.0), does))),
        }
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

#[async_trait]
impl RelayConnection for Conversation {
    async fn begin(self: Box<Self>, _: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let refused = |severity, reason| Err(SendError::NotSent(fault(severity, reason)));
        match self.1 {
            Does::HangsAtTheEnvelope => {
                sleep(Duration::from_secs(15)).await;
                refused(TRANSIENT, Reason::RelayUnavailable)
            }
            Does::DefersTheEnvelope => refused(TRANSIENT, Reason::RelayDeferred),
            Does::RefusesUs => refused(Severity::Misconfigured, Reason::RelayRefusedUs),
            Does::RefusesTheMail => refused(Severity::Permanent, Reason::MailRefused),
            _ => Ok(self),
        }
    }
}

#[async_trait]
impl BegunMail for Conversation {
    async fn finish(self: Box<Self>, _: &Mail) -> Result<Accepted, SendError> {
        let Self(relay, does) = *self;
        match does {
            Does::DefersTheWhole => {
                return Err(SendError::NotSent(fault(TRANSIENT, Reason::RelayDeferred)));
            }
            Does::KeepsAndFallsSilent | Does::FallsSilent => {
                let keeps = u32::from(does == Does::KeepsAndFallsSilent);
                relay.kept.fetch_add(keeps, Ordering::Relaxed);
                relay.silences.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(40)).await;
                return Err(SendError::Ambiguous("as the script says".into()));
            }
            _ => {}
        }
        relay.kept.fetch_add(1, Ordering::Relaxed);
        Ok(accepted())
    }
}

/// A clock that goes with the runtime's, which is paused.
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        now() + SignedDuration::try_from(self.0.elapsed()).expect("short")
    }
}

impl SyncedClock for PausedClock {
    fn is_synced(&self) -> bool {
        true
    }
}

/// What became of one event: how many mails were kept, how many silences there were, and the end.
struct Ended {
    kept: u32,
    silences: u32,
    outcome: Outcome,
}

/// Processes one event until its end, as the queue would have it.
async fn story(scripts: &[Vec<Does>]) -> Ended {
    let relays: Vec<_> = scripts.iter().map(|script| Relay::new(script)).collect();
    let metrics = Metrics::new("test").expect("declared rightly");
    let candidates = relays.iter().enumerate().map(|(index, relay)| Candidate {
        name: format!("relay{index}").into(),
        mailer: Arc::new(Shared(Arc::clone(relay))),
        takes: Takes::default(),
        metrics: metrics.relay(&format!("relay{index}")),
    });
    let chance: Chance = Arc::new(|| 0.0);
    let several = Relays::new(candidates.collect(), Duration::from_secs(1), &chance);

    let mut worker = worker(Behaviour::Normal, &mut Health::default());
    let clock = Arc::new(PausedClock(Instant::now()));
    let terms = Terms { sending: Duration::from_secs(300), ..TERMS };
    worker.claims = Arc::new(MemoryClaims::new(clock.clone(), terms));
    worker.clock = clock;
    worker.mailer = Live::new(Arc::new(several));

    let (event, mut attempt) = (Arc::new(event()), 1);
    let outcome = loop {
        match process(&worker, &event, attempt).await {
            Outcome::Retry { stage, attempt: next, .. } => {
                attempt = next;
                sleep(stage.delay()).await;
            }
            ended => break ended,
        }
    };
    let sum = |of: fn(&Relay) -> &AtomicU32| {
        relays.iter().map(|relay| of(relay).load(Ordering::Relaxed)).sum()
    };
    Ended { kept: sum(|it| &it.kept), silences: sum(|it| &it.silences), outcome }
}

fn run(scripts: &[Vec<Does>]) -> Ended {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(story(scripts))
}

fn does() -> impl Strategy<Value = Does> {
    prop::sample::select(vec![
        Does::Accepts,
        Does::IsAway,
        Does::HangsAtTheEnvelope,
        Does::DefersTheEnvelope,
        Does::DefersTheWhole,
        Does::RefusesUs,
        Does::KeepsAndFallsSilent,
        Does::FallsSilent,
    ])
}

fn script() -> impl Strategy<Value = Vec<Does>> {
    prop::collection::vec(does(), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each copy beyond the first has a silence that explains it.
    #[test]
    fn copies_are_explained(scripts in prop::collection::vec(script(), 3)) {
        let ended = run(&scripts);
        prop_assert!(ended.kept <= 1 + ended.silences, "{} copies", ended.kept);
        let sent = matches!(ended.outcome, Outcome::Sent(_));
        prop_assert!(!sent || ended.kept > 0, "sent means that somebody has it");
    }

    /// While one relay works, the person gets the mail, wherever that relay stands.
    #[test]
    fn one_relay_that_works_is_enough(others in prop::collection::vec(script(), 2), at in 0..3_usize) {
        let mut scripts = others;
        scripts.insert(at, vec![Does::Accepts]);
        let ended = run(&scripts);
        prop_assert!(matches!(ended.outcome, Outcome::Sent(_)), "{:?}", ended.outcome);
    }

    /// A mail that one relay of three refuses for good is taken by another.
    #[test]
    fn one_refusal_for_good_is_not_the_end(other in script(), at in 0..3_usize) {
        let mut scripts = vec![vec![Does::RefusesTheMail], other];
        scripts.insert(at, vec![Does::Accepts]);
        let ended = run(&scripts);
        prop_assert!(matches!(ended.outcome, Outcome::Sent(_)), "{:?}", ended.outcome);
    }

    /// A single relay that answers one time in four is enough, too.
    #[test]
    fn one_answer_of_four_is_enough(wrong in prop::collection::vec(does(), 3), at in 0..4_usize) {
        let mut script = wrong;
        script.insert(at, Does::Accepts);
        let ended = run(&[script]);
        prop_assert!(matches!(ended.outcome, Outcome::Sent(_)), "{:?}", ended.outcome);
    }
}
