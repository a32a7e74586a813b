//! The story of one event: claim it, fetch its code, render the mail, send it to the relay, and
//! report the outcome.
//!
//! Nothing here fails: every way an event can end is an [`Outcome`]. The expiry of the code is
//! checked before the claim, after the fetch, before the relay is contacted, and before every
//! retry.

use std::time::Duration;

use domain::{
    claims::{Announced, Claim, Completion, History, Lease, Sending, Subject},
    event::{EventKind, QueuedEvent},
    fault::{Fault, Reason},
    login_code::LoginCode,
    retry::{Policy, starts_in_time},
};
use jiff::SignedDuration;
use runtime::{
    failpoint::{self, Point},
    metrics::labels::{ClaimResult, ClaimStep, Success},
    trace,
};
use tokio::time::{Instant, sleep};

use crate::{
    mail::{
        Accepted, Mail, RelayConnection, SendError,
        render::{Asked, NotMade},
    },
    outcome::{Outcome, RetryContext},
    state::{OnAmbiguity, Worker},
};

/// Turns one queued event into at most one mail.
pub async fn process(worker: &Worker, event: &QueuedEvent, attempt: u32) -> Outcome {
    match mail(worker, event, attempt).await {
        Ok(Sent(accepted)) => Outcome::Sent(accepted),
        Err(stop) => {
            let (now, chance) = (worker.clock.now(), (worker.chance)());
            stop.outcome(RetryContext { attempt, now, expires_at: event.expires_at, chance })
        }
    }
}

/// The relay accepted the mail.
struct Sent(Accepted);

/// Why an event is not mailed by this attempt.
enum Stop {
    /// The mail had been sent before.
    Duplicate,
    /// A relay accepted the mail for a newer event of the user.
    Superseded,
    Expired,
    /// Another worker, a newer event or the claim store stands in the way, which is no failure of
    /// this attempt; and how long to wait.
    Later(Fault, Duration),
    Failed(Fault),
}

impl Stop {
    fn outcome(self, context: RetryContext) -> Outcome {
        match self {
            Self::Duplicate => Outcome::Duplicate,
            Self::Superseded => Outcome::Superseded,
            Self::Expired => Outcome::Expired { after: Reason::None },
            Self::Later(fault, wait) => Outcome::later(fault, wait, context),
            Self::Failed(fault) => Outcome::after(fault, context),
        }
    }
}

impl From<NotMade> for Stop {
    fn from(not_made: NotMade) -> Self {
        match not_made {
            NotMade::Expired => Self::Expired,
            NotMade::Failed(fault) => Self::Failed(fault),
        }
    }
}

async fn mail(worker: &Worker, event: &QueuedEvent, attempt: u32) -> Result<Sent, Stop> {
    if is_expired(worker, event) {
        return Err(Stop::Expired);
    }
    let lease = claim(worker, event).await?;
    failpoint::reach(Point::AfterClaim);
    let lease = check_history(worker, lease).await?;
    let (lease, mail, connection) = prepare(worker, event, attempt, lease).await?;
    failpoint::reach(Point::AfterFetch);
    let sending = announce(worker, lease, &mail).await?;
    failpoint::reach(Point::BeforeMail);
    send(worker, event, sending, connection, &mail).await
}

/// A clock that was never compared with WorkOS's may be wrong by more than a code's lifetime: then
/// WorkOS is asked.
fn is_expired(worker: &Worker, event: &QueuedEvent) -> bool {
    worker.clock.is_synced() && worker.clock.now() >= event.expires_at
}

/// Takes out a claim on the event.
async fn claim(worker: &Worker, event: &QueuedEvent) -> Result<Lease, Stop> {
    let held = hold_until_claimed(worker, event).await;
    let stop = |result, stop| {
        worker.metrics.claim(result);
        stop
    };
    match held.map_err(|fault| Stop::Later(fault, Duration::ZERO))? {
        Claim::Fresh(lease) => Ok(count(worker, lease)),
        // Not after its lease ends: most of the time the other worker is done much sooner.
        Claim::Busy(_) => Err(stop(
            ClaimResult::Busy,
            later(Reason::Claimed, "another worker holds the claim", Duration::ZERO),
        )),
        Claim::Done => Err(stop(ClaimResult::Done, Stop::Duplicate)),
        Claim::Superseded => Err(stop(ClaimResult::Superseded, Stop::Superseded)),
        Claim::GivesWay => Err(stop(
            ClaimResult::GivesWay,
            later(Reason::GivesWay, "a newer code of the same user is mailed first", GIVES_WAY),
        )),
        Claim::OverLimit => {
            let detail = "this user was mailed as many codes as AUTHPOST_PERSON_LIMIT allows";
            let fault = Fault::permanent(Reason::PersonLimit, detail);
            Err(stop(ClaimResult::OverLimit, Stop::Failed(fault)))
        }
        Claim::Held(wait) => Err(stop(
            ClaimResult::Held,
            later(Reason::MailLimit, "AUTHPOST_MAIL_LIMIT allows no more mails yet", wait),
        )),
    }
}

/// Counts a claim that was granted, and tells of a doubt about it.
fn count(worker: &Worker, lease: Lease) -> Lease {
    let doubtful = lease.history().may_have_sent();
    worker.metrics.claim(if doubtful { ClaimResult::Doubtful } else { ClaimResult::Fresh });
    if doubtful {
        tracing::warn!(
            event_id = %lease.event_id(), doubt = "before",
            "a mail for this event may have been sent already"
        );
    }
    lease
}

fn later(reason: Reason, detail: &'static str, wait: Duration) -> Stop {
    Stop::Later(Fault::transient(reason, detail), wait)
}

/// How often an event asks whether it still has to give way.
const GIVES_WAY: Duration = Duration::from_secs(10);

/// Asks the claim store until it answers, as long as the code works: the event is held here,
/// unsettled, and the queue behind it.
async fn hold_until_claimed(worker: &Worker, event: &QueuedEvent) -> Result<Claim, Fault> {
    let owner = worker.owners.next();
    let subject = Subject::of(event, worker.clock.now());
    let mut failures = 0;
    loop {
        let claiming = worker.claims.claim(&subject, owner);
        let fault = match timed(worker, ClaimStep::Claim, claiming).await {
            Ok(claim) => return Ok(claim),
            Err(fault) => fault,
        };
        failures += 1;
        let pause = Policy::HOLDING.delay(failures, (worker.chance)());
        if worker.stop.is_cancelled()
            || !starts_in_time(worker.clock.now(), pause, event.expires_at)
        {
            return Err(fault);
        }
        if failures == 1 {
            tracing::warn!(
                event_id = %event.event_id, %fault,
                "holding an event: the claim store does not answer"
            );
        }
        // Holding is what should happen now, and no reason for a restart.
        worker.heartbeat.beat();
        tokio::select! {
            () = sleep(pause) => {}
            () = worker.stop.cancelled() => {}
        }
    }
}

/// Most copies whose relay did not answer. Most silent relays have kept nothing: a person without a
/// mail is locked out, and a further copy does no harm.
const MOST_UNANSWERED: u32 = 4;

/// Lets the event pass unless sending again needs a person's decision. After a crash while sending
/// it is sent as often as needed: most likely the relay had nothing yet. After unanswered sends it
/// is sent again after growing rests, up to [`MOST_UNANSWERED`] times in all.
async fn check_history(worker: &Worker, lease: Lease) -> Result<Lease, Stop> {
    let history: History = lease.history();
    let refused = match worker.config.on_ambiguity {
        OnAmbiguity::Resend => history.unanswered_sends >= MOST_UNANSWERED,
        OnAmbiguity::DeadLetter => history.may_have_sent(),
    };
    if refused {
        release(worker, lease).await;
        let detail = "a mail may have been sent already, and is not sent again";
        return Err(Stop::Failed(Fault::permanent(Reason::Ambiguous, detail)));
    }
    Ok(lease)
}

type Prepared = (Lease, Mail, Box<dyn RelayConnection>);

/// Does everything that can be done before the relay is told about the mail: code, mail,
/// connection.
async fn prepare(
    worker: &Worker,
    event: &QueuedEvent,
    attempt: u32,
    lease: Lease,
) -> Result<Prepared, Stop> {
    let prepared = async {
        let languages = async { Ok(worker.languages.of(event.user_id.as_ref()).await) };
        let (code, languages) = tokio::try_join!(fetch(worker, event, attempt), languages)?;
        let asked = Asked {
            event_id: &event.event_id,
            at: event.created_at,
            client: event.client_id.as_ref(),
            languages: &languages,
        };
        // The expiry in WorkOS's answer takes precedence over the event's.
        let mail = worker.templates.get().login_code(asked, &code, worker.clock.now())?;
        let mail = mail.after_silences(lease.history().unanswered_sends);
        let connection = worker.mailer.get().connect(&mail).await.map_err(Stop::Failed)?;
        Ok((mail, connection))
    };
    match prepared.await {
        Ok((mail, connection)) => Ok((lease, mail, connection)),
        Err(stop) => {
            release(worker, lease).await;
            Err(stop)
        }
    }
}

/// Fetches the code from WorkOS.
async fn fetch(worker: &Worker, event: &QueuedEvent, attempt: u32) -> Result<LoginCode, Stop> {
    match event.kind {
        EventKind::MagicAuthCreated => {
            let code = worker.codes.login_code(&event.object_id).await;
            let age = worker.clock.now().duration_since(event.created_at);
            code.map_err(|fault| Stop::Failed(maybe_too_early(fault, age, attempt)))
        }
    }
}

/// What WorkOS reads from can be behind what it sends webhooks from: a code that it does not know of
/// a young event is asked for again, after 2 s and after 10 s. Later on it is gone, or of another
/// environment.
fn maybe_too_early(fault: Fault, age: SignedDuration, attempt: u32) -> Fault {
    const YOUNG: SignedDuration = SignedDuration::from_mins(1);
    const ATTEMPTS: u32 = 3;
    if fault.reason == Reason::NotFound && age < YOUNG && attempt < ATTEMPTS {
        Fault::transient(fault.reason, fault.detail)
    } else {
        fault
    }
}

/// Announces to the claim store that the relay is about to be contacted.
async fn announce(worker: &Worker, lease: Lease, mail: &Mail) -> Result<Sending, Stop> {
    let sending = match retry_sending(worker, lease).await.map_err(Stop::Failed)? {
        Announced::Sending(sending) => sending,
        Announced::Superseded => {
            worker.metrics.claim(ClaimResult::Superseded);
            return Err(Stop::Superseded);
        }
        Announced::Lost => {
            worker.metrics.claim(ClaimResult::Lost);
            let detail = "the lease ended before the mail was sent";
            return Err(later(Reason::Claimed, detail, Duration::ZERO));
        }
    };
    // Connecting and announcing may have taken many seconds: the last check before the relay is
    // contacted.
    if worker.clock.now() >= mail.expires_at() {
        release(worker, sending.nothing_was_sent()).await;
        return Err(Stop::Expired);
    }
    Ok(sending)
}

/// A store that does not answer is asked again for a while with the same lease: if an announcement
/// whose reply was lost were given up at once, it would keep every worker off the event for the
/// whole term.
async fn retry_sending(worker: &Worker, mut lease: Lease) -> Result<Announced, Fault> {
    let begun = Instant::now();
    let mut failures = 0;
    loop {
        let fault = match timed(worker, ClaimStep::Sending, worker.claims.sending(lease)).await {
            Ok(announced) => return Ok(announced),
            Err((unannounced, fault)) => {
                lease = unannounced;
                fault
            }
        };
        if worker.stop.is_cancelled() || begun.elapsed() >= worker.config.record_for {
            release(worker, lease).await;
            return Err(fault);
        }
        failures += 1;
        sleep(Policy::HOLDING.delay(failures, (worker.chance)())).await;
    }
}

/// Sends the mail. From here on, what matters is whether the relay may have accepted it.
async fn send(
    worker: &Worker,
    event: &QueuedEvent,
    sending: Sending,
    connection: Box<dyn RelayConnection>,
    mail: &Mail,
) -> Result<Sent, Stop> {
    match connection.send(mail).await {
        Ok(accepted) => {
            failpoint::reach(Point::AfterRelay);
            worker.metrics.sent(event.created_at, worker.clock.now());
            record(worker, event, &sending, &accepted.to_string()).await;
            failpoint::reach(Point::AfterRecord);
            Ok(Sent(accepted))
        }
        Err(SendError::NotSent(fault) | SendError::NoSuchAddress(fault)) => {
            release(worker, sending.nothing_was_sent()).await;
            Err(Stop::Failed(fault))
        }
        Err(SendError::Ambiguous(detail)) => {
            let doubted = timed(worker, ClaimStep::GiveBack, worker.claims.doubt(sending)).await;
            log_not_given_back(doubted);
            // The next claim finds the doubt and decides.
            Err(Stop::Failed(Fault::transient(Reason::Ambiguous, detail)))
        }
    }
}

/// Records that the mail was sent. Whatever happens here, it stays sent: this process remembers it,
/// and a store that does not answer is told again for a while.
async fn record(worker: &Worker, event: &QueuedEvent, sending: &Sending, receipt: &str) {
    let begun = Instant::now();
    let mut failures = 0;
    loop {
        match timed(worker, ClaimStep::Complete, worker.claims.complete(sending, receipt)).await {
            Ok(Completion::Recorded) => return,
            Ok(Completion::Late) => return note_doubt(worker, event, ClaimResult::Late),
            Ok(Completion::Already) => return note_doubt(worker, event, ClaimResult::Already),
            Err(fault) if begun.elapsed() >= worker.config.record_for => {
                tracing::warn!(
                    event_id = %event.event_id, %fault,
                    "a mail was sent, but the claim store could not record it"
                );
                return note_doubt(worker, event, ClaimResult::Unrecorded);
            }
            Err(_) => failures += 1,
        }
        sleep(Policy::HOLDING.delay(failures, (worker.chance)())).await;
    }
}

/// Counts and logs that a second mail was or may be sent.
fn note_doubt(worker: &Worker, event: &QueuedEvent, why: ClaimResult) {
    worker.metrics.claim(why);
    tracing::warn!(
        event_id = %event.event_id, doubt = why.label(),
        "a second mail for this event is possible"
    );
}

/// Gives the event back. If that fails the lease ends by itself; the event only waits longer.
async fn release(worker: &Worker, lease: Lease) {
    let released = timed(worker, ClaimStep::GiveBack, worker.claims.release(lease)).await;
    log_not_given_back(released);
}

fn log_not_given_back(given_back: Result<(), Fault>) {
    if let Err(fault) = given_back {
        tracing::warn!(%fault, "cannot give a claim back; it ends by itself");
    }
}

async fn timed<T, E: trace::Failure>(
    worker: &Worker,
    step: ClaimStep,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let begun = Instant::now();
    let result = trace::within(&trace::step(step.label()), call).await;
    let success = if result.is_ok() { Success::Ok } else { Success::Failed };
    worker.metrics.dedupe(step, success, begun.elapsed());
    result
}

#[cfg(test)]
mod tests;
