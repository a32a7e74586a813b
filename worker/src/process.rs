//! The story of one event: claim it, fetch its code, render the mail, send it to the relay, and
//! report the outcome.
//!
//! Nothing here fails: every way an event can end is an [`Outcome`]. The expiry of the code is
//! checked before the claim, after the fetch, before the relay is contacted, and before every
//! retry.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{Announced, Completion, GivenBack, Lease, Sending},
    event::{EventKind, QueuedEvent},
    fault::{Fault, Reason},
    login_code::LoginCode,
    retry::Policy,
};
use jiff::{SignedDuration, Timestamp};
use runtime::{
    failpoint::{self, Point},
    metrics::labels::{ClaimResult, ClaimStep, Success},
    trace,
};
use tokio::time::{Instant, sleep};

use self::{
    claim::{check_history, claim, later},
    stop::{Held, Stop, Stopped},
};
use crate::{
    mail::{Accepted, Mail, RelayConnection, SendError, render::Asked},
    outcome::{Outcome, RetryContext},
    state::Worker,
};

mod claim;
mod stop;

/// Turns one queued event into at most one mail.
pub async fn process(worker: &Worker, event: &Arc<QueuedEvent>, attempt: u32) -> Outcome {
    match mail(worker, event, attempt).await {
        Ok(Sent(accepted)) => Outcome::Sent(accepted),
        Err(Stopped { stop, held }) => {
            let (now, chance) = (believed_now(worker, event), (worker.chance)());
            let context = RetryContext { attempt, now, expires_at: event.expires_at, chance };
            let outcome = stop.outcome(context);
            if let (Some(held), Some(then)) = (held, outcome.given_back(now)) {
                give_back(worker, held, &then).await;
            }
            outcome
        }
    }
}

/// The relay accepted the mail.
struct Sent(Accepted);

async fn mail(worker: &Worker, event: &Arc<QueuedEvent>, attempt: u32) -> Result<Sent, Stopped> {
    if is_expired(worker, event) {
        return Err(Stop::Expired.into());
    }
    let lease = claim(worker, event, attempt).await?;
    failpoint::reach(Point::AfterClaim);
    let lease = check_history(worker, lease)?;
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

type Prepared = (Lease, Mail, Box<dyn RelayConnection>);

/// Does everything that can be done before the relay is told about the mail: code, mail,
/// connection.
async fn prepare(
    worker: &Worker,
    event: &QueuedEvent,
    attempt: u32,
    lease: Lease,
) -> Result<Prepared, Stopped> {
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
        Ok::<_, Stop>((mail, connection))
    };
    match prepared.await {
        Ok((mail, connection)) => Ok((lease, mail, connection)),
        Err(stop) => Err(stop.holding(lease)),
    }
}

/// The time as far as it decides whether an event is tried again. A clock that was never compared
/// with WorkOS's may be wrong by more than a code's life: an event that it takes for expired is kept
/// for an hour, until WorkOS was heard.
fn believed_now(worker: &Worker, event: &QueuedEvent) -> Timestamp {
    const DOUBTED_FOR: SignedDuration = SignedDuration::from_hours(1);
    const LEFT: SignedDuration = SignedDuration::from_mins(5);
    let now = worker.clock.now();
    if worker.clock.is_synced() || now.duration_since(event.expires_at) > DOUBTED_FOR {
        return now;
    }
    now.min(event.expires_at.saturating_sub(LEFT).unwrap_or(now))
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
async fn announce(worker: &Worker, lease: Lease, mail: &Mail) -> Result<Sending, Stopped> {
    let sending = match retry_sending(worker, lease).await? {
        Announced::Sending(sending) => sending,
        Announced::Superseded => {
            worker.metrics.claim(ClaimResult::Superseded);
            return Err(Stop::Superseded.into());
        }
        Announced::Lost => {
            worker.metrics.claim(ClaimResult::Lost);
            let detail = "the lease ended before the mail was sent";
            return Err(later(Reason::Claimed, detail, Duration::ZERO).into());
        }
    };
    // Connecting and announcing may have taken many seconds: the last check before the relay is
    // contacted.
    if worker.clock.now() >= mail.expires_at() {
        return Err(Stop::Expired.holding(sending.nothing_was_sent()));
    }
    Ok(sending)
}

/// A store that does not answer is asked again for a while with the same lease: if an announcement
/// whose reply was lost were given up at once, it would keep every worker off the event for the
/// whole term.
async fn retry_sending(worker: &Worker, mut lease: Lease) -> Result<Announced, Stopped> {
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
            return Err(Stop::Failed(fault).holding(lease));
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
) -> Result<Sent, Stopped> {
    match connection.send(mail).await {
        Ok(accepted) => {
            failpoint::reach(Point::AfterRelay);
            worker.metrics.sent(event.created_at, worker.clock.now());
            record(worker, event, &sending, &accepted.to_string()).await;
            failpoint::reach(Point::AfterRecord);
            Ok(Sent(accepted))
        }
        Err(SendError::NotSent(fault) | SendError::NoSuchAddress(fault)) => {
            Err(Stop::Failed(fault).holding(sending.nothing_was_sent()))
        }
        Err(SendError::Ambiguous(detail)) => {
            // The next claim finds the doubt and decides.
            let stop = Stop::Failed(Fault::transient(Reason::Ambiguous, detail));
            Err(Stopped { stop, held: Some(Held::Unanswered(sending)) })
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
async fn give_back(worker: &Worker, held: Held, then: &GivenBack) {
    let giving_back = async {
        match held {
            Held::Lease(lease) => worker.claims.release(lease, then).await,
            Held::Unanswered(sending) => worker.claims.doubt(sending, then).await,
        }
    };
    if let Err(fault) = timed(worker, ClaimStep::GiveBack, giving_back).await {
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
