//! The claim on an event: asked for until the store answers, and examined for earlier attempts.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{Claim, History, Lease, Subject},
    event::QueuedEvent,
    fault::{Fault, Reason},
    retry::{Policy, starts_in_time},
};
use runtime::metrics::labels::{ClaimResult, ClaimStep};
use tokio::time::sleep;

use super::{
    believed_now,
    stop::{Stop, Stopped},
    timed,
};
use crate::state::{OnAmbiguity, Worker};

/// Takes out a claim on the event.
pub(super) async fn claim(
    worker: &Worker,
    event: &Arc<QueuedEvent>,
    attempt: u32,
) -> Result<Lease, Stop> {
    let held = hold_until_claimed(worker, event, attempt).await;
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

pub(super) fn later(reason: Reason, detail: &'static str, wait: Duration) -> Stop {
    Stop::Later(Fault::transient(reason, detail), wait)
}

/// How often an event asks whether it still has to give way.
const GIVES_WAY: Duration = Duration::from_secs(10);

/// Asks the claim store until it answers, as long as the code works: the event is held here,
/// unsettled, and the queue behind it.
async fn hold_until_claimed(
    worker: &Worker,
    event: &Arc<QueuedEvent>,
    attempt: u32,
) -> Result<Claim, Fault> {
    let owner = worker.owners.next();
    let subject = Subject::of(event, attempt, worker.clock.now());
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
            || !starts_in_time(believed_now(worker, event), pause, event.expires_at)
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
pub(super) fn check_history(worker: &Worker, lease: Lease) -> Result<Lease, Stopped> {
    let history: History = lease.history();
    let refused = match worker.config.on_ambiguity {
        OnAmbiguity::Resend => history.unanswered_sends >= MOST_UNANSWERED,
        OnAmbiguity::DeadLetter => history.may_have_sent(),
    };
    if refused {
        let detail = "a mail may have been sent already, and is not sent again";
        let stop = Stop::Failed(Fault::permanent(Reason::Ambiguous, detail));
        return Err(stop.holding(lease));
    }
    Ok(lease)
}
