//! The loop: take a permit, take a delivery, process it in a task of its own, settle the outcome.
//!
//! The permit comes first, so the process never holds more events than it processes. This is the
//! one place that settles, counts and logs an outcome.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use domain::{
    claims::Subject,
    event::{QueuedEvent, Undecodable},
    fault::{Fault, Reason},
    queue::{Consume, Delivery, Receipt},
};
use futures_util::FutureExt as _;
use runtime::trace;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::Instrument as _;

use crate::{
    breaker::Admission,
    mail::Accepted,
    outcome::{Outcome, RetryContext},
    process::process,
    state::Worker,
};

/// How often an idle loop reports that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Takes deliveries until the stop, then waits for those in progress. A delivery cut off later is
/// delivered again.
pub async fn run(worker: Arc<Worker>, mut queue: Box<dyn Consume>) {
    let (permits, system) = (Arc::new(Semaphore::new(worker.config.concurrency)), queue.system());
    let (mut working, mut ticks) = (JoinSet::new(), interval(HEARTBEAT));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some((permit, delivery)) =
        next(&worker, &permits, queue.as_mut(), &mut working, &mut ticks).await
    {
        let worker = Arc::clone(&worker);
        working.spawn(async move {
            let span = trace::attempt(system, delivery.event.as_ref().ok(), delivery.attempt);
            handle(&worker, delivery).instrument(span).await;
            drop(permit);
        });
    }
    queue.give_back().await;
    if !working.is_empty() {
        tracing::info!(in_progress = working.len(), "finishing the events in progress");
    }
    while working.join_next().await.is_some() {}
}

/// The next delivery with its permit; `None` at the stop.
///
/// The loop is alive while it waits for work, and while it waits for a task only if tasks do end.
async fn next(
    worker: &Worker,
    permits: &Arc<Semaphore>,
    queue: &mut dyn Consume,
    working: &mut JoinSet<()>,
    ticks: &mut Interval,
) -> Option<(OwnedSemaphorePermit, Delivery)> {
    let mut taking = Box::pin(take(worker, permits, queue));
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => return None,
            taken = &mut taking => {
                worker.heartbeat.beat();
                return Some(taken);
            }
            Some(_) = working.join_next() => worker.heartbeat.beat(),
            _ = ticks.tick() => if working.len() < worker.config.concurrency { worker.heartbeat.beat() },
        }
    }
}

/// The next delivery, with its permit. While the circuit breaker is half-open the permit is all
/// there are: one delivery at a time.
async fn take(
    worker: &Worker,
    permits: &Arc<Semaphore>,
    queue: &mut dyn Consume,
) -> (OwnedSemaphorePermit, Delivery) {
    let permits_needed = match worker.breaker.admit().await {
        Admission::HalfOpen => u32::try_from(worker.config.concurrency).unwrap_or(u32::MAX),
        Admission::Closed => 1,
    };
    match Arc::clone(permits).acquire_many_owned(permits_needed).await {
        Ok(permit) => (permit, queue.next().await),
        // Only `close` fails an acquire, and nobody closes this semaphore.
        Err(_) => std::future::pending().await,
    }
}

/// Processes and settles one delivery.
async fn handle(worker: &Worker, delivery: Delivery) {
    let now = worker.clock.now();
    worker.metrics.delivery(delivery.queued_at.map(|then| worker.metrics.age(then, now)));
    worker.metrics.in_flight(true);
    let attempt = delivery.attempt;
    let Delivery { event, receipt, .. } = delivery;
    let event = event.map(Arc::new);
    let outcome = match &event {
        Ok(event) => {
            let working = AssertUnwindSafe(process(worker, event, attempt)).catch_unwind();
            working.await.unwrap_or_else(|panic| panicked(&*panic))
        }
        Err(error) => undecodable(worker, error, attempt),
    };
    update_breaker(worker, &outcome);
    settle(worker, receipt, Settled { event: event.ok(), attempt, outcome }).await;
    worker.metrics.in_flight(false);
}

/// The outcome for a message that this release cannot read. One of another version stays in the
/// queue, where a worker of that release finds it, as long as its code works.
fn undecodable(worker: &Worker, error: &Undecodable, attempt: u32) -> Outcome {
    let detail = error.to_string();
    match error {
        Undecodable::Version { expires_at: Some(expires_at), .. } => {
            let context = RetryContext {
                attempt,
                now: worker.clock.now(),
                expires_at: *expires_at,
                chance: (worker.chance)(),
            };
            Outcome::later(Fault::transient(Reason::Undecodable, detail), Duration::ZERO, context)
        }
        Undecodable::Version { .. } | Undecodable::TooLarge(_) | Undecodable::Shape { .. } => {
            Outcome::Dead { fault: Fault::permanent(Reason::Undecodable, detail) }
        }
    }
}

/// The outcome after a panic: a bug must not lose the event, and must not be retried forever.
fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message = message.unwrap_or("no message"), "processing an event panicked");
    Outcome::Dead {
        fault: Fault::permanent(
            Reason::Panicked,
            "processing it panicked; the log has the message",
        ),
    }
}

fn update_breaker(worker: &Worker, outcome: &Outcome) {
    match outcome {
        Outcome::Sent(_) => worker.breaker.succeeded(),
        Outcome::Retry { fault, .. } if outcome.is_misconfiguration() => {
            worker.breaker.refused(fault.to_string().into());
        }
        _ => {}
    }
}

/// What came of a delivery.
struct Settled {
    /// The event, if the message was one.
    event: Option<Arc<QueuedEvent>>,
    attempt: u32,
    outcome: Outcome,
}

async fn settle(worker: &Worker, receipt: Box<dyn Receipt>, done: Settled) {
    let Settled { event, attempt, outcome } = done;
    if matches!(outcome, Outcome::Dead { .. }) {
        // Before it is settled: afterwards, a crash would leave them waiting for a dead letter.
        withdraw(worker, event.as_ref(), attempt).await;
    }
    let settled = trace::within(&trace::step("settle"), receipt.settle(outcome.verdict())).await;
    record_in_span(&outcome);
    log(worker, event.as_deref(), attempt, &outcome);
    match settled {
        Ok(()) => {
            let (ending, reason) = outcome.labels();
            worker.metrics.outcome(ending, reason, attempt);
            if let Outcome::Retry { stage, .. } = outcome {
                worker.metrics.retry(stage);
            }
        }
        // Not counted: the message is delivered again, and its next outcome is counted.
        Err(fault) => {
            worker.metrics.settle_failed();
            tracing::warn!(%fault, "cannot settle an event; the queue will deliver it again");
        }
    }
}

/// Lets older events of the user go on, which gave way to this one.
async fn withdraw(worker: &Worker, event: Option<&Arc<QueuedEvent>>, attempt: u32) {
    let Some(event) = event.filter(|event| event.user_id.is_some()) else { return };
    let subject = Subject::of(event, attempt, worker.clock.now());
    if let Err(fault) = worker.claims.withdraw(&subject).await {
        tracing::debug!(event_id = %event.event_id, %fault, "older events give way for longer");
    }
}

/// Records the outcome in the span of the attempt.
fn record_in_span(outcome: &Outcome) {
    let (span, (ending, reason)) = (tracing::Span::current(), outcome.labels());
    span.record("authpost.outcome", ending.label());
    match outcome {
        Outcome::Sent(_) | Outcome::Duplicate | Outcome::Superseded => {}
        Outcome::Expired { .. } | Outcome::Retry { .. } | Outcome::Dead { .. } => {
            trace::failed(&span, reason.label());
        }
    }
}

/// Logs one line for each outcome.
fn log(worker: &Worker, event: Option<&QueuedEvent>, attempt: u32, outcome: &Outcome) {
    let event_id = event.map_or("unknown", |event| event.event_id.as_str());
    // As a number: wider integers would be logged as text.
    let age_ms =
        event.map(|event| worker.clock.now().as_millisecond() - event.created_at.as_millisecond());
    let (ending, reason) = outcome.labels();
    let (ending, trace_id) = (ending.label(), trace::id());
    macro_rules! line {
        ($level:ident, $message:literal $(, $($field:tt)+)?) => {
            tracing::$level!(
                event_id, outcome = ending, attempt, age_ms, $($($field)+,)? trace_id, $message
            )
        };
    }
    match outcome {
        Outcome::Sent(Accepted { receipt, relay }) => {
            line!(info, "mailed a code", receipt, relay = &**relay);
        }
        Outcome::Duplicate => line!(info, "skipped an event that was mailed before"),
        Outcome::Superseded => line!(info, "skipped an event: a newer code was mailed"),
        Outcome::Expired { .. } => line!(warn, "gave up an event: its code has expired", %reason),
        Outcome::Retry { stage, fault: Fault { detail, .. }, .. } => {
            line!(warn, "will retry an event", %reason, %detail, after = stage.label());
        }
        Outcome::Dead { fault: Fault { detail, .. } } => {
            line!(error, "dead-lettered an event", %reason, %detail);
        }
    }
}
