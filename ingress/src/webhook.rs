//! One webhook: read, verify, publish, answer.
//!
//! The answer 200 means that the event is stored durably. Every other answer makes WorkOS retry.
//! The request is never logged, only ids that were parsed from it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    event::QueuedEvent,
    fault::Fault,
    payload::{Unreadable, VerifiedEvent},
    webhook::{AuthenticBody, Rejection, SIGNATURE_HEADER, SignedDelivery},
};
use hyper::{
    StatusCode,
    header::{HeaderValue, RETRY_AFTER},
    http::request::Parts,
};
use runtime::{
    completed::completed,
    failpoint::{self, Point},
    http::{Answer, BodyError, RETRY_SOON, Received, answer, json, problem},
    metrics::labels::{Success, Webhook},
    trace,
};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::state::{Ingress, MAX_BODY};

/// Longest wait for the queue, whatever its adapter promises. WorkOS does not document how long it
/// waits for an answer; a few seconds is common.
const PUBLISH: Duration = Duration::from_secs(5);

/// The kind of event that `authpost doctor` sends to check that a webhook arrives.
pub const PROBE: &str = "authpost.doctor";

/// The answer that nearly every webhook gets.
const ACCEPTED: &str = r#"{"status":"accepted"}"#;

/// How a request with a good signature ended.
enum Accepted {
    Stored,
    NotMailed,
    /// A probe of `authpost doctor`, and the proof that it was verified here.
    Probe(String),
}

enum Refused {
    Body(BodyError),
    Signature(Rejection),
    Event(Unreadable),
    Queue(Fault),
}

/// Answers and counts one webhook.
///
/// Once the body is complete, the work is completed: a sender that hangs up early, or a proxy whose
/// timeout passes, must not leave an event stored and uncounted.
pub(crate) async fn accept(ingress: Arc<Ingress>, request: Received) -> Answer {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let body = match ingress.bodies.read(body).await {
        Ok(body) => body,
        Err(error) => return conclude(&ingress, Err(Refused::Body(error)), begun),
    };
    let delivering = completed(async move { deliver(&ingress, &head, body, begun).await });
    delivering.await.unwrap_or_else(|| {
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The webhook could not be handled. Send it again.",
        )
    })
}

/// Handles a complete request. A trace starts once the signature is verified, so strangers cannot
/// cause any.
async fn deliver(ingress: &Ingress, head: &Parts, body: Bytes, begun: Instant) -> Answer {
    let authentic = match verify(ingress, head, body) {
        Ok(authentic) => authentic,
        Err(rejection) => return conclude(ingress, Err(Refused::Signature(rejection)), begun),
    };
    let span = trace::webhook(traceparent(head));
    let ending = publish_event(ingress, authentic, head).instrument(span.clone()).await;
    let answer = conclude(ingress, ending, begun);
    trace::answered(&span, answer.status().as_u16());
    answer
}

fn conclude(ingress: &Ingress, ending: Result<Accepted, Refused>, begun: Instant) -> Answer {
    ingress.metrics.webhook(label(&ending), begun.elapsed());
    match ending {
        Ok(Accepted::Stored) => answer(StatusCode::OK, "application/json", ACCEPTED),
        Ok(Accepted::NotMailed) => json(StatusCode::OK, &json!({ "status": "ignored" })),
        Ok(Accepted::Probe(proof)) => {
            json(StatusCode::OK, &json!({ "status": "ignored", "proof": proof }))
        }
        Err(refused) => refuse(ingress, &refused),
    }
}

fn verify(ingress: &Ingress, head: &Parts, body: Bytes) -> Result<AuthenticBody, Rejection> {
    let signature = head.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
    SignedDelivery { signature, body, received_at: ingress.clock.now() }.verify(&ingress.keys.get())
}

/// Signs the signature of a probe with the same secret: only whoever has verified it can do that.
fn proof(ingress: &Ingress, head: &Parts) -> String {
    let signature = head.headers.get(SIGNATURE_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
    ingress.keys.get().sign(ingress.clock.now(), signature).unwrap_or_default()
}

fn traceparent(head: &Parts) -> Option<&str> {
    head.headers.get("traceparent").and_then(|value| value.to_str().ok())
}

async fn publish_event(
    ingress: &Ingress,
    authentic: AuthenticBody,
    head: &Parts,
) -> Result<Accepted, Refused> {
    let event = match authentic.read().map_err(Refused::Event)? {
        VerifiedEvent::Mailable(event) => event,
        VerifiedEvent::NotMailed { kind } if kind == PROBE => {
            return Ok(Accepted::Probe(proof(ingress, head)));
        }
        VerifiedEvent::NotMailed { kind } => {
            tracing::debug!(kind, "ignored an event that needs no mail");
            return Ok(Accepted::NotMailed);
        }
    };
    let mut event = event.with_traceparent(traceparent(head));
    store(ingress, &mut event).await.map_err(Refused::Queue)?;
    failpoint::reach(Point::AfterStore);
    tracing::info!(
        event_id = %event.event_id, magic_auth_id = %event.object_id, trace_id = trace::id(),
        "accepted an event"
    );
    Ok(Accepted::Stored)
}

async fn store(ingress: &Ingress, event: &mut QueuedEvent) -> Result<(), Fault> {
    let begun = Instant::now();
    let late = |_| {
        Fault::transient(
            domain::fault::Reason::QueueUnavailable,
            "the queue did not answer in time",
        )
    };
    let stored = timeout(PUBLISH, trace::publish_traced(ingress.publish.as_ref(), event))
        .await
        .map_err(late)
        .flatten();
    let result = if stored.is_ok() { Success::Ok } else { Success::Failed };
    ingress.metrics.published(result, begun.elapsed());
    stored
}

fn label(ending: &Result<Accepted, Refused>) -> Webhook {
    match ending {
        Ok(Accepted::Stored) => Webhook::Accepted,
        Ok(Accepted::NotMailed) => Webhook::Ignored,
        Ok(Accepted::Probe(_)) => Webhook::Probe,
        Err(Refused::Body(BodyError::TooLarge)) => Webhook::TooLarge,
        Err(Refused::Body(BodyError::TooSlow | BodyError::BrokenOff)) => Webhook::Incomplete,
        Err(Refused::Signature(Rejection::Missing)) => Webhook::MissingSignature,
        Err(Refused::Signature(Rejection::Malformed)) => Webhook::MalformedSignature,
        Err(Refused::Signature(Rejection::Forged)) => Webhook::Forged,
        Err(Refused::Signature(Rejection::Stale)) => Webhook::Stale,
        Err(Refused::Event(_)) => Webhook::Unreadable,
        Err(Refused::Body(BodyError::Crowded)) => Webhook::Crowded,
        Err(Refused::Queue(_)) => Webhook::Unavailable,
    }
}

/// The answer to a refusal, and a throttled warning. All rejected signatures get the same answer.
fn refuse(ingress: &Ingress, refused: &Refused) -> Answer {
    match refused {
        Refused::Body(error) => error.answer(MAX_BODY),
        Refused::Signature(rejection) => {
            if let Some(suppressed) = ingress.rejected_log.allow() {
                tracing::warn!(%rejection, suppressed, "rejected a webhook");
            }
            problem(
                StatusCode::UNAUTHORIZED,
                "signature",
                "The WorkOS-Signature header is missing, wrong, or too old.",
            )
        }
        Refused::Event(unreadable) => {
            tracing::warn!(%unreadable, "cannot read a webhook with a good signature");
            problem(
                StatusCode::BAD_REQUEST,
                "unreadable",
                "The signature is good, but the body is not a WorkOS event.",
            )
        }
        Refused::Queue(fault) => not_stored(ingress, fault),
    }
}

fn not_stored(ingress: &Ingress, fault: &Fault) -> Answer {
    if let Some(suppressed) = ingress.unavailable_log.allow() {
        tracing::warn!(
            %fault, suppressed,
            "cannot store an event; its sender was asked to retry"
        );
    }
    let mut answer = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The event could not be stored. Send it again.",
    );
    answer.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
    answer
}
