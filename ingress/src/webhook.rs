//! One webhook: read, verify, publish, answer.
//!
//! The answer 200 is a promise: the event is stored durably. Everything else makes WorkOS try again. What came in is
//! never logged, only the ids that parsed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{HeaderValue, RETRY_AFTER},
    http::request::Parts,
};
use serde_json::json;
use shared::{
    event::QueuedEvent,
    failpoint::{self, Point},
    fault::Fault,
    http::{Answer, Bodies, BodyError, closing, json, problem},
    metrics::labels::{Success, Webhook},
    payload::{Unreadable, VerifiedEvent},
    queue, trace,
    webhook::{AuthenticBody, Rejection, SIGNATURE_HEADER, SignedDelivery},
};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::Front;

/// Largest body. WorkOS's are under 1 KiB.
const MAX_BODY: usize = 256 * 1024;

/// Bodies of more than 16 KiB read at once: 16 MiB.
const LARGE_AT_ONCE: usize = 64;

/// How bodies are read.
pub(crate) fn bodies() -> Bodies {
    Bodies::new(MAX_BODY, LARGE_AT_ONCE)
}

/// Longest wait for the queue, whatever its adapter promises. WorkOS does not say how long it waits for an answer; a
/// few seconds is common.
const PUBLISH: Duration = Duration::from_secs(5);

/// What a sender is asked to wait after a 503, in seconds.
const COME_BACK: HeaderValue = HeaderValue::from_static("5");

/// The kind of event that only we send, to see whether a webhook arrives.
pub const PROBE: &str = "authpost.doctor";

/// How one request ended, before it is put into HTTP.
enum Accepted {
    Stored,
    NotMailed,
    /// `authpost doctor` was here.
    Probe,
}

enum Refused {
    Body(BodyError),
    Signature(Rejection),
    Event(Unreadable),
    Queue(Fault),
}

/// Answers one delivery and counts it.
///
/// From the last byte of the body on, a task of its own does the work: a sender that hangs up early, or the deadline of
/// a proxy in between, must not leave an event stored and uncounted.
pub(crate) async fn accept(front: Arc<Front>, request: Request<Incoming>) -> Answer {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let body = match front.bodies.read(&head, body).await {
        Ok(body) => body,
        Err(error) => return conclude(&front, Err(Refused::Body(error)), begun),
    };
    tokio::spawn(async move { deliver(&front, &head, body, begun).await })
        .await
        .unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The delivery could not be handled. Send it again."))
}

/// What is done with a whole request. A trace begins when the signature is good: strangers make none.
async fn deliver(front: &Front, head: &Parts, body: Bytes, begun: Instant) -> Answer {
    let authentic = match verify(front, head, body) {
        Ok(authentic) => authentic,
        Err(rejection) => return conclude(front, Err(Refused::Signature(rejection)), begun),
    };
    let span = trace::webhook(traceparent(head));
    let ending = take_in(front, authentic, traceparent(head)).instrument(span.clone()).await;
    let answer = conclude(front, ending, begun);
    trace::answered(&span, answer.status().as_u16());
    answer
}

fn conclude(front: &Front, ending: Result<Accepted, Refused>, begun: Instant) -> Answer {
    front.metrics.webhook(label(&ending), begun.elapsed());
    match ending {
        Ok(Accepted::Stored) => json(StatusCode::OK, &json!({ "status": "accepted" })),
        Ok(Accepted::NotMailed | Accepted::Probe) => json(StatusCode::OK, &json!({ "status": "ignored" })),
        Err(refused) => refuse(front, &refused),
    }
}

fn verify(front: &Front, head: &Parts, body: Bytes) -> Result<AuthenticBody, Rejection> {
    let signature = head.headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
    SignedDelivery { signature, body, received_at: front.clock.now() }.verify(&front.keys)
}

fn traceparent(head: &Parts) -> Option<&str> {
    head.headers.get("traceparent").and_then(|value| value.to_str().ok())
}

async fn take_in(front: &Front, authentic: AuthenticBody, traceparent: Option<&str>) -> Result<Accepted, Refused> {
    let event = match authentic.read().map_err(Refused::Event)? {
        VerifiedEvent::Mailable(event) => event,
        VerifiedEvent::NotMailed { kind } if kind == PROBE => return Ok(Accepted::Probe),
        VerifiedEvent::NotMailed { kind } => {
            tracing::debug!(kind, "an event that no mail follows from");
            return Ok(Accepted::NotMailed);
        }
    };
    let mut event = event.with_traceparent(traceparent);
    store(front, &mut event).await.map_err(Refused::Queue)?;
    failpoint::reach(Point::AfterStore);
    tracing::info!(event_id = %event.event_id, magic_auth_id = %event.object_id, trace_id = trace::id(), "accepted");
    Ok(Accepted::Stored)
}

async fn store(front: &Front, event: &mut QueuedEvent) -> Result<(), Fault> {
    let begun = Instant::now();
    let late = |_| Fault::transient(shared::fault::Reason::QueueUnavailable, "the queue did not answer in time");
    let stored = timeout(PUBLISH, queue::hand_on(front.publish.as_ref(), event)).await.map_err(late).flatten();
    let result = if stored.is_ok() { Success::Ok } else { Success::Failed };
    front.metrics.published(result, begun.elapsed());
    stored
}

fn label(ending: &Result<Accepted, Refused>) -> Webhook {
    match ending {
        Ok(Accepted::Stored) => Webhook::Accepted,
        Ok(Accepted::NotMailed) => Webhook::Ignored,
        Ok(Accepted::Probe) => Webhook::Probe,
        Err(Refused::Body(BodyError::TooLarge)) => Webhook::TooLarge,
        Err(Refused::Body(BodyError::TooSlow | BodyError::BrokenOff)) => Webhook::Incomplete,
        Err(Refused::Signature(Rejection::Missing)) => Webhook::MissingSignature,
        Err(Refused::Signature(Rejection::Malformed)) => Webhook::MalformedSignature,
        Err(Refused::Signature(Rejection::Forged)) => Webhook::Forged,
        Err(Refused::Signature(Rejection::Stale)) => Webhook::Stale,
        Err(Refused::Event(_)) => Webhook::Unreadable,
        Err(Refused::Queue(_) | Refused::Body(BodyError::Crowded)) => Webhook::Unavailable,
    }
}

/// One answer a refusal, and a warning now and then. All signature refusals read alike from outside. Where the rest of a
/// body is not wanted, the connection is closed.
fn refuse(front: &Front, refused: &Refused) -> Answer {
    match refused {
        Refused::Body(BodyError::TooLarge) => closing(problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is over 256 KiB.")),
        Refused::Body(BodyError::TooSlow) => closing(problem(StatusCode::REQUEST_TIMEOUT, "too_slow", "The body did not arrive in time.")),
        Refused::Body(BodyError::BrokenOff) => closing(problem(StatusCode::BAD_REQUEST, "broken_off", "The body broke off.")),
        Refused::Body(BodyError::Crowded) => {
            closing(come_back(problem(StatusCode::SERVICE_UNAVAILABLE, "crowded", "Too many large bodies at once. Send it again.")))
        }
        Refused::Signature(rejection) => {
            if let Some(unsaid) = front.refusals.speak() {
                tracing::warn!(%rejection, unsaid, "a delivery was refused");
            }
            problem(StatusCode::UNAUTHORIZED, "signature", "The WorkOS-Signature header is missing, wrong, or too old.")
        }
        Refused::Event(unreadable) => {
            tracing::warn!(%unreadable, "a genuine delivery could not be read");
            problem(StatusCode::BAD_REQUEST, "unreadable", "The signature is good, but the body is not a WorkOS event.")
        }
        Refused::Queue(fault) => {
            if let Some(unsaid) = front.outages.speak() {
                tracing::warn!(%fault, unsaid, "an event could not be stored; its sender was asked to come back");
            }
            come_back(problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The event could not be stored. Send it again."))
        }
    }
}

fn come_back(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(RETRY_AFTER, COME_BACK);
    answer
}
