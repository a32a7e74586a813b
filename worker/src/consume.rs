//! The loop: take a permit, take a delivery, work on it in a task of its own, settle what it says.
//!
//! The permit comes first, so the process never holds more than it works on. This is the one place that settles,
//! counts and logs an outcome.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use shared::{
    clock::Clock as _,
    event::{QueuedEvent, Undecodable},
    fault::{Fault, Reason},
    queue::{Consume, Delivery},
    trace,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::interval,
};
use tracing::Instrument as _;

use crate::{
    Back,
    outcome::{Circumstances, Outcome},
    process::process,
};

/// How often an idle loop shows that it turns.
const PULSE: Duration = Duration::from_secs(5);

/// Takes deliveries until the stop, then waits for those in hand. A delivery cut off later is handed out again.
pub async fn run(back: Arc<Back>, mut queue: Box<dyn Consume>) {
    let (permits, system) = (Arc::new(Semaphore::new(back.manner.concurrency)), queue.system());
    let mut working = JoinSet::new();
    while let Some((permit, delivery)) = next(&back, &permits, queue.as_mut(), &mut working).await {
        let back = Arc::clone(&back);
        working.spawn(async move {
            let span = trace::attempt(system, delivery.event.as_ref().ok(), delivery.attempt);
            handle(&back, delivery).instrument(span).await;
            drop(permit);
        });
    }
    queue.give_back().await;
    if !working.is_empty() {
        tracing::info!(in_hand = working.len(), "finishing what is in hand");
    }
    while working.join_next().await.is_some() {}
}

/// The next delivery with its permit; `None` at the stop.
///
/// The loop's pulse: it has turned when it waits for work, and when it waits for a task only if tasks do end.
async fn next(
    back: &Back,
    permits: &Arc<Semaphore>,
    queue: &mut dyn Consume,
    working: &mut JoinSet<()>,
) -> Option<(OwnedSemaphorePermit, Delivery)> {
    let mut taking = Box::pin(take(back, permits, queue));
    let mut pulse = interval(PULSE);
    loop {
        tokio::select! {
            biased;
            () = back.stop.cancelled() => return None,
            taken = &mut taking => {
                back.heartbeat.beat();
                return Some(taken);
            }
            Some(_) = working.join_next() => back.heartbeat.beat(),
            _ = pulse.tick() => if working.len() < back.manner.concurrency { back.heartbeat.beat() },
        }
    }
}

/// The next delivery, with the right to work on it. While our configuration is under suspicion that right is all
/// there is: one delivery at a time.
async fn take(back: &Back, permits: &Arc<Semaphore>, queue: &mut dyn Consume) -> (OwnedSemaphorePermit, Delivery) {
    let suspicious = back.pause.admit().await;
    let share = if suspicious { u32::try_from(back.manner.concurrency).unwrap_or(u32::MAX) } else { 1 };
    match Arc::clone(permits).acquire_many_owned(share).await {
        Ok(permit) => (permit, queue.next().await),
        // Only `close` fails an acquire, and nobody closes this semaphore.
        Err(_) => std::future::pending().await,
    }
}

/// One delivery, from the queue's hand back to it.
async fn handle(back: &Back, delivery: Delivery) {
    let now = back.clock.now();
    back.metrics.delivery(delivery.queued_at.map(|then| back.metrics.age(then, now)));
    back.metrics.in_flight(true);
    let attempt = delivery.attempt;
    let outcome = match &delivery.event {
        Ok(event) => {
            let working = AssertUnwindSafe(process(back, event, attempt)).catch_unwind();
            working.await.unwrap_or_else(|panic| panicked(&*panic))
        }
        Err(undecodable) => not_ours(back, undecodable, attempt),
    };
    suspect_or_trust(back, &outcome);
    settle(back, delivery, outcome).await;
    back.metrics.in_flight(false);
}

/// A message that this release cannot read. One of another version is left in the queue, where a worker of that release
/// finds it, as long as its code lives.
fn not_ours(back: &Back, undecodable: &Undecodable, attempt: u32) -> Outcome {
    let detail = undecodable.to_string();
    match undecodable {
        Undecodable::Version { expires_at: Some(expires_at), .. } => {
            let circumstances = Circumstances { attempt, now: back.clock.now(), expires_at: *expires_at, chance: (back.chance)() };
            Outcome::later(Fault::transient(Reason::Undecodable, detail), Duration::ZERO, circumstances)
        }
        Undecodable::Version { .. } | Undecodable::TooLarge(_) | Undecodable::Shape { .. } => {
            Outcome::Dead { fault: Fault::permanent(Reason::Undecodable, detail) }
        }
    }
}

/// A bug of ours must not lose the event, and must not be tried for ever.
fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message = message.unwrap_or("no message"), "working on an event panicked");
    Outcome::Dead { fault: Fault::permanent(Reason::Panicked, "working on it panicked; the log has the message") }
}

fn suspect_or_trust(back: &Back, outcome: &Outcome) {
    match outcome {
        Outcome::Sent { .. } => back.pause.accepted(),
        Outcome::Retry { fault, .. } if outcome.is_misconfiguration() => back.pause.refused(fault.to_string().into()),
        _ => {}
    }
}

async fn settle(back: &Back, delivery: Delivery, outcome: Outcome) {
    let attempt = delivery.attempt;
    let event = delivery.event.as_ref().ok().cloned();
    let settled = trace::within(&trace::step("settle"), delivery.settle(outcome.verdict())).await;
    note(&outcome);
    log(back, event.as_ref(), attempt, &outcome);
    match settled {
        Ok(()) => {
            let (ending, reason) = outcome.labels();
            back.metrics.outcome(ending, reason, attempt);
            if let Outcome::Retry { stage, .. } = outcome {
                back.metrics.retry(stage);
            }
        }
        // Not counted: the message comes again, and its next ending is.
        Err(fault) => {
            back.metrics.settle_failed();
            tracing::warn!(%fault, "the queue could not take note of an outcome; it will hand the message out again");
        }
    }
}

/// What the attempt's span says of its end.
fn note(outcome: &Outcome) {
    let (span, (ending, reason)) = (tracing::Span::current(), outcome.labels());
    span.record("authpost.outcome", ending.label());
    match outcome {
        Outcome::Sent { .. } | Outcome::Duplicate => {}
        Outcome::Expired { .. } | Outcome::Retry { .. } | Outcome::Dead { .. } => trace::failed(&span, reason.label()),
    }
}

/// One line an outcome.
fn log(back: &Back, event: Option<&QueuedEvent>, attempt: u32, outcome: &Outcome) {
    let event_id = event.map_or("unknown", |event| event.event_id.as_str());
    // As a number: wider integers would be logged as text.
    let age_ms = event.map(|event| back.clock.now().as_millisecond() - event.created_at.as_millisecond());
    let (ending, reason) = outcome.labels();
    let (ending, trace_id) = (ending.label(), trace::id());
    match outcome {
        Outcome::Sent { receipt } => tracing::info!(event_id, outcome = ending, attempt, age_ms, receipt, trace_id, "done"),
        Outcome::Duplicate => tracing::info!(event_id, outcome = ending, attempt, age_ms, trace_id, "done"),
        Outcome::Expired { .. } => tracing::warn!(event_id, outcome = ending, attempt, age_ms, %reason, trace_id, "done"),
        Outcome::Retry { stage, fault, .. } => {
            let after = stage.label();
            tracing::warn!(event_id, outcome = ending, attempt, age_ms, %reason, detail = %fault.detail, after, trace_id, "will be tried again");
        }
        Outcome::Dead { fault } => {
            tracing::error!(event_id, outcome = ending, attempt, age_ms, %reason, detail = %fault.detail, trace_id, "done");
        }
    }
}
