//! What the answers of WorkOS mean: one table for statuses, one reader for the body.

use std::time::Duration;

use domain::{
    address::EmailAddress,
    fault::{Fault, Reason},
    ids::MagicAuthId,
    login_code::{Code, LoginCode},
    payload::{self, Loose},
};
use hyper::{
    HeaderMap, StatusCode,
    header::{AGE, DATE, HeaderValue},
};
use jiff::Timestamp;
use serde::Deserialize;

/// Longest `Retry-After` that is honoured: a code works for ten minutes.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The wait after a 429 without `Retry-After`.
pub(crate) const DEFAULT_HOLD: Duration = Duration::from_secs(2);

/// The fields a mail needs (<https://workos.com/docs/reference/authkit/magic-auth>).
#[derive(Deserialize)]
struct MagicAuth<'a> {
    id: String,
    email: String,
    code: String,
    #[serde(borrow)]
    expires_at: Loose<'a>,
}

/// WorkOS could not be asked.
pub(crate) fn unreachable(detail: &'static str) -> Fault {
    Fault::transient(Reason::WorkosUnavailable, detail)
}

/// The fault that a status stands for; `None` for 200.
pub fn refusal(status: StatusCode, retry_after: Option<Duration>) -> Option<Fault> {
    let answered = || format!("WorkOS answered {}", status.as_u16());
    Some(match status.as_u16() {
        200 => return None,
        401 | 403 => Fault::misconfigured(Reason::WorkosUnauthorized, answered()),
        404 => Fault::permanent(
            Reason::NotFound,
            "WorkOS has no such code: used or expired, or is WORKOS_API_KEY of another environment \
             than the webhook endpoint?",
        ),
        408 | 425 | 500..=599 => {
            Fault::transient_after(retry_after, Reason::WorkosUnavailable, answered())
        }
        429 => Fault::transient_after(
            Some(retry_after.unwrap_or(DEFAULT_HOLD)),
            Reason::WorkosRateLimited,
            answered(),
        ),
        _ => Fault::doubtful(Reason::WorkosBadAnswer, answered()),
    })
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3), capped; `None` for anything else.
pub fn retry_after(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // More digits than a u64 holds ask for longer than is honoured anyway.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
        Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(LONGEST_HOLD))
}

/// The time at WorkOS, from the `Date` of an answer that no cache has kept since.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE).filter(|_| !headers.contains_key(AGE))?.to_str().ok()?;
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

/// Reads the body of a 200. A fault repeats nothing of it: it holds the code.
pub fn login_code(body: &[u8], asked_for: &MagicAuthId) -> Result<LoginCode, Fault> {
    let bad_answer = |detail: &'static str| Fault::doubtful(Reason::WorkosBadAnswer, detail);
    let MagicAuth { id, email, code, expires_at }: MagicAuth<'_> = serde_json::from_slice(body)
        .map_err(|_| bad_answer("the answer is not a magic_auth object"))?;
    let code = Code::parse(code)
        .map_err(|_| bad_answer("the code is not four or more letters or digits"))?;
    if id != asked_for.as_str() {
        return Err(bad_answer("the answer has the code of another id"));
    }
    let expires_at =
        payload::time(&expires_at).ok_or_else(|| bad_answer("expires_at is not a time"))?;
    let recipient = EmailAddress::parse(&email)
        .map_err(|why| Fault::permanent(Reason::UnsupportedAddress, why.to_string()))?;
    Ok(LoginCode { code, recipient, expires_at })
}

#[cfg(test)]
mod tests;
