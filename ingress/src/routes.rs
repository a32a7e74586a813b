//! The public surface, as one table.

use std::sync::Arc;

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use shared::http::{Answer, problem};

use crate::{Front, webhook};

/// Finds who answers. A trailing slash makes no difference: WorkOS is told an address with one.
pub(crate) async fn route(front: Arc<Front>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    match (request.method(), path.strip_suffix('/').unwrap_or(path)) {
        (&Method::POST, "/v1/workos_webhook") => webhook::accept(front, request).await,
        (_, "/v1/workos_webhook") => only("POST"),
        _ => problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address."),
    }
}

fn only(method: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This address takes another method.");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}
