//! The story of one event: claim it, fetch its code, make the mail, hand it to the relay, and say how it ended.
//!
//! Nothing here fails: every way a delivery can end is an [`Outcome`]. The code's end of life is looked at before the
//! claim, after the fetch, and before every retry.

use std::time::Duration;

use shared::{
    clock::Clock as _,
    dedupe::{Claim, Completion, Lease, Owner, Past, Sending},
    event::{EventKind, QueuedEvent},
    failpoint::{self, Point},
    fault::{Fault, Reason},
    metrics::labels::{ClaimResult, ClaimStep, Success},
    retry::Policy,
    trace,
};
use tokio::time::{Instant, sleep};

use crate::{
    Back, OnAmbiguity,
    mail::{Mail, Relay, SendError, render::NotMade},
    outcome::{Circumstances, Outcome},
};

/// Turns one queued event into at most one mail.
pub async fn process(back: &Back, event: &QueuedEvent, attempt: u32) -> Outcome {
    if has_died(back, event) {
        return Outcome::Expired { after: Reason::None };
    }
    let lease = match claim(back, event).await {
        Ok(Claim::Fresh(lease)) => lease,
        Ok(Claim::Done) => return Outcome::Duplicate,
        // Not until its lease ends: most of the time the other worker is done much sooner.
        Ok(Claim::Busy(_)) => {
            let fault = Fault::transient(Reason::Claimed, "another worker has it");
            return Outcome::later(fault, Duration::ZERO, circumstances(back, event, attempt));
        }
        Err(fault) => return Outcome::later(fault, Duration::ZERO, circumstances(back, event, attempt)),
    };
    failpoint::reach(Point::AfterClaim);
    if is_for_a_person(back, lease.past()) {
        release(back, lease).await;
        return Outcome::Dead { fault: Fault::permanent(Reason::Ambiguous, "a mail may be out already, and is not sent again") };
    }
    let (mail, relay) = match prepare(back, event).await {
        Ok(prepared) => prepared,
        Err(unprepared) => {
            release(back, lease).await;
            return match unprepared {
                Unprepared::Expired => Outcome::Expired { after: Reason::None },
                Unprepared::Fault(fault) => Outcome::after(fault, circumstances(back, event, attempt)),
            };
        }
    };
    failpoint::reach(Point::AfterFetch);
    match announce(back, lease).await {
        // Connecting and announcing may have taken many seconds: the last look before the relay is told anything.
        Ok(Some(sending)) if back.clock.now() >= mail.expires_at() => {
            release(back, sending.nothing_was_sent()).await;
            Outcome::Expired { after: Reason::None }
        }
        Ok(Some(sending)) => hand_over(back, event, attempt, sending, relay, &mail).await,
        Ok(None) => {
            back.metrics.claim(ClaimResult::Lost);
            let fault = Fault::transient(Reason::Claimed, "the lease ran out before the mail was sent");
            Outcome::later(fault, Duration::ZERO, circumstances(back, event, attempt))
        }
        Err(fault) => Outcome::after(fault, circumstances(back, event, attempt)),
    }
}

/// A clock that was never compared with WorkOS's may be wrong by more than a code's life: then WorkOS is asked first.
fn has_died(back: &Back, event: &QueuedEvent) -> bool {
    back.clock.is_compared() && back.clock.now() >= event.expires_at
}

fn circumstances(back: &Back, event: &QueuedEvent, attempt: u32) -> Circumstances {
    Circumstances { attempt, now: back.clock.now(), expires_at: event.expires_at, chance: (back.chance)() }
}

/// Whether sending again is no longer ours to decide. An owner that died while sending is succeeded as often as it takes:
/// most likely the relay had nothing yet. A relay that took the whole mail and fell silent is believed to be slow one
/// time, not twice.
fn is_for_a_person(back: &Back, past: Past) -> bool {
    match back.manner.on_ambiguity {
        OnAmbiguity::Resend => past.silences > 1,
        OnAmbiguity::DeadLetter => past.may_be_out(),
    }
}

/// Claims the event. A store that does not answer is asked again for as long as the code lives: the event waits here,
/// unsettled, and the queue behind it with it.
async fn claim(back: &Back, event: &QueuedEvent) -> Result<Claim, Fault> {
    let owner = Owner::fresh();
    let mut failures = 0;
    loop {
        let asked = timed(back, ClaimStep::Claim, back.dedupe.claim(&event.event_id, owner)).await;
        let fault = match asked {
            Ok(claim) => {
                back.metrics.claim(match &claim {
                    Claim::Fresh(lease) if lease.past().may_be_out() => {
                        tracing::warn!(event_id = %event.event_id, doubt = "before", "a mail for this event may be out already");
                        ClaimResult::Doubtful
                    }
                    Claim::Fresh(_) => ClaimResult::Fresh,
                    Claim::Busy(_) => ClaimResult::Busy,
                    Claim::Done => ClaimResult::Done,
                });
                return Ok(claim);
            }
            Err(fault) => fault,
        };
        failures += 1;
        let pause = Policy::HOLDING.delay(failures, (back.chance)());
        if back.stop.is_cancelled() || !shared::retry::starts_in_time(back.clock.now(), pause, event.expires_at) {
            return Err(fault);
        }
        if failures == 1 {
            tracing::warn!(event_id = %event.event_id, %fault, "the dedupe store does not answer; the event is held");
        }
        // Holding is what should happen now, and no reason for a restart.
        back.heartbeat.beat();
        tokio::select! {
            () = sleep(pause) => {}
            () = back.stop.cancelled() => {}
        }
    }
}

enum Unprepared {
    Expired,
    Fault(Fault),
}

impl From<NotMade> for Unprepared {
    fn from(not_made: NotMade) -> Self {
        match not_made {
            NotMade::Expired => Self::Expired,
            NotMade::Failed(fault) => Self::Fault(fault),
        }
    }
}

/// Everything that can be done before the relay must be told anything: the code, the mail, a connection.
async fn prepare(back: &Back, event: &QueuedEvent) -> Result<(Mail, Box<dyn Relay>), Unprepared> {
    let code = match event.kind {
        EventKind::MagicAuthCreated => back.codes.login_code(&event.object_id).await.map_err(Unprepared::Fault)?,
    };
    // WorkOS's word on the code's end counts for more than the event's.
    let mail = back.templates.login_code(&event.event_id, &code, back.clock.now())?;
    let relay = back.mailer.connect().await.map_err(Unprepared::Fault)?;
    Ok((mail, relay))
}

/// Speaks to the relay. From here on, what matters is whether the relay may have the mail.
async fn hand_over(back: &Back, event: &QueuedEvent, attempt: u32, sending: Sending, relay: Box<dyn Relay>, mail: &Mail) -> Outcome {
    failpoint::reach(Point::BeforeMail);
    match relay.send(mail).await {
        Ok(accepted) => {
            failpoint::reach(Point::AfterRelay);
            back.metrics.sent(event.created_at, back.clock.now());
            record(back, event, &sending, &accepted.receipt).await;
            failpoint::reach(Point::AfterRecord);
            Outcome::Sent { receipt: accepted.receipt }
        }
        Err(SendError::NotSent(fault)) => {
            release(back, sending.nothing_was_sent()).await;
            Outcome::after(fault, circumstances(back, event, attempt))
        }
        Err(SendError::Ambiguous(detail)) => {
            let doubted = timed(back, ClaimStep::GiveBack, back.dedupe.doubt(sending)).await;
            note(doubted);
            // The next claim finds the doubt and decides.
            Outcome::after(Fault::transient(Reason::Ambiguous, detail), circumstances(back, event, attempt))
        }
    }
}

/// Records that the mail is out. Whatever happens here, it stays sent: this process remembers it, and a store that
/// does not answer is told again for a while.
async fn record(back: &Back, event: &QueuedEvent, sending: &Sending, receipt: &str) {
    let begun = Instant::now();
    let mut failures = 0;
    loop {
        match timed(back, ClaimStep::Complete, back.dedupe.complete(sending, receipt)).await {
            Ok(Completion::Recorded) => return,
            Ok(Completion::Late) => return doubt(back, event, ClaimResult::Late),
            Ok(Completion::Already) => return doubt(back, event, ClaimResult::Already),
            Err(fault) if begun.elapsed() >= back.manner.record_for => {
                tracing::warn!(%fault, "a mail went out and the dedupe store could not be told");
                return doubt(back, event, ClaimResult::Unrecorded);
            }
            Err(_) => failures += 1,
        }
        sleep(Policy::HOLDING.delay(failures, (back.chance)())).await;
    }
}

/// A mail went out, and another one may have or may yet.
fn doubt(back: &Back, event: &QueuedEvent, why: ClaimResult) {
    back.metrics.claim(why);
    tracing::warn!(event_id = %event.event_id, doubt = why.label(), "another mail for this event may be out");
}

/// Announces the sending. A store that does not answer is asked again for a while with the same lease: given up at
/// once, an announcement whose reply was lost would keep everybody off the event for the whole term.
async fn announce(back: &Back, mut lease: Lease) -> Result<Option<Sending>, Fault> {
    let begun = Instant::now();
    let mut failures = 0;
    loop {
        let fault = match timed(back, ClaimStep::Sending, back.dedupe.sending(lease)).await {
            Ok(announced) => return Ok(announced),
            Err((unannounced, fault)) => {
                lease = unannounced;
                fault
            }
        };
        if back.stop.is_cancelled() || begun.elapsed() >= back.manner.record_for {
            release(back, lease).await;
            return Err(fault);
        }
        failures += 1;
        sleep(Policy::HOLDING.delay(failures, (back.chance)())).await;
    }
}

/// Gives the event back. If that fails the lease runs out by itself; the event only waits longer.
async fn release(back: &Back, lease: Lease) {
    let released = timed(back, ClaimStep::GiveBack, back.dedupe.release(lease)).await;
    note(released);
}

fn note(given_back: Result<(), Fault>) {
    if let Err(fault) = given_back {
        tracing::warn!(%fault, "a claim could not be given back; it ends by itself");
    }
}

async fn timed<T, E: trace::Failure>(back: &Back, step: ClaimStep, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let begun = Instant::now();
    let result = trace::within(&trace::step(step.label()), call).await;
    let success = if result.is_ok() { Success::Ok } else { Success::Failed };
    back.metrics.dedupe(step, success, begun.elapsed());
    result
}

#[cfg(test)]
mod tests;
