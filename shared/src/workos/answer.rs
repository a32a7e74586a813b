//! What WorkOS's answers mean: one table for statuses, one reader for the body.

use std::time::Duration;

use hyper::{
    HeaderMap, StatusCode,
    header::{AGE, DATE, HeaderValue},
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    address::EmailAddress,
    fault::{Fault, Reason},
    ids::MagicAuthId,
    login_code::{Code, LoginCode},
    payload,
};

/// Longest wish that is granted: a code lives for ten minutes.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The hold after a 429 that asks for nothing in particular.
pub(super) const USUAL_HOLD: Duration = Duration::from_secs(2);

/// The fields a mail needs (<https://workos.com/docs/reference/authkit/magic-auth>).
#[derive(Deserialize)]
struct MagicAuth {
    id: String,
    email: String,
    code: String,
    expires_at: String,
}

pub(super) fn unreachable(detail: &'static str) -> Fault {
    Fault::transient(Reason::WorkosUnavailable, detail)
}

/// What a status calls for; `None` for 200.
pub fn refusal(status: StatusCode, retry_after: Option<Duration>) -> Option<Fault> {
    let said = || format!("WorkOS answered {}", status.as_u16());
    Some(match status.as_u16() {
        200 => return None,
        401 | 403 => Fault::misconfigured(Reason::WorkosUnauthorized, said()),
        404 => Fault::permanent(Reason::NotFound, "WorkOS knows no such code"),
        408 | 425 | 500..=599 => Fault::transient_after(retry_after, Reason::WorkosUnavailable, said()),
        429 => Fault::transient_after(Some(retry_after.unwrap_or(USUAL_HOLD)), Reason::WorkosRateLimited, said()),
        _ => Fault::doubtful(Reason::WorkosBadAnswer, said()),
    })
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3), capped; `None` for anything else.
pub fn retry_after(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wish = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds ask for longer than is granted anyway.
        Duration::from_secs(text.parse().unwrap_or(if text.is_empty() { return None } else { u64::MAX }))
    } else {
        let at = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
        Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wish.min(LONGEST_HOLD))
}

/// When the answer was made, if it says so and was not kept by a cache since.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE).filter(|_| !headers.contains_key(AGE))?.to_str().ok()?;
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

/// Reads the body of a 200. Nothing of it is repeated in a fault: it holds the code.
pub fn read(body: &[u8], asked_for: &MagicAuthId) -> Result<LoginCode, Fault> {
    let strange = |detail: &'static str| Fault::doubtful(Reason::WorkosBadAnswer, detail);
    let MagicAuth { id, email, code, expires_at } =
        serde_json::from_slice(body).map_err(|_| strange("a 200 without a magic_auth object"))?;
    let code = Code::parse(code).map_err(|_| strange("a code that is not four or more letters or digits"))?;
    if id != asked_for.as_str() {
        return Err(strange("the code of another id"));
    }
    let expires_at = payload::parse_time(&expires_at).ok_or_else(|| strange("an expires_at that is no time"))?;
    let recipient = EmailAddress::parse(&email).map_err(|why| Fault::permanent(Reason::UnsupportedAddress, why.to_string()))?;
    Ok(LoginCode { code, recipient, expires_at })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fault::Severity;

    fn id() -> MagicAuthId {
        MagicAuthId::parse("magic_auth_1").expect("valid")
    }

    #[test]
    fn statuses_mean_what_the_table_says() {
        let transient = |seconds: Option<u64>| Severity::Transient { retry_after: seconds.map(Duration::from_secs) };
        for (status, severity, reason) in [
            (401, Severity::Misconfigured, Reason::WorkosUnauthorized),
            (403, Severity::Misconfigured, Reason::WorkosUnauthorized),
            (404, Severity::Permanent, Reason::NotFound),
            (408, transient(None), Reason::WorkosUnavailable),
            (429, transient(Some(2)), Reason::WorkosRateLimited),
            (500, transient(None), Reason::WorkosUnavailable),
            (503, transient(None), Reason::WorkosUnavailable),
            (204, Severity::Doubtful, Reason::WorkosBadAnswer),
            (302, Severity::Doubtful, Reason::WorkosBadAnswer),
            (400, Severity::Doubtful, Reason::WorkosBadAnswer),
            (422, Severity::Doubtful, Reason::WorkosBadAnswer),
        ] {
            let fault = refusal(StatusCode::from_u16(status).expect("a status"), None).expect("no 200");
            assert_eq!((fault.severity, fault.reason), (severity, reason), "{status}");
        }
        assert!(refusal(StatusCode::OK, None).is_none());
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_capped() {
        let now: Timestamp = "2026-01-15T12:00:00Z".parse().expect("valid");
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).expect("a header"), now).map(|wish| wish.as_secs());
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("3600"), Some(60));
        assert_eq!(read("99999999999999999999999"), Some(60));
        assert_eq!(read("Thu, 15 Jan 2026 12:00:09 GMT"), Some(9));
        assert_eq!(read("Wed, 15 Jan 2025 12:00:09 GMT"), Some(0));
        for rubbish in ["", "-1", "soon", "1.5"] {
            assert_eq!(read(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn a_good_answer_is_read_whole() {
        let body = br#"{"object":"magic_auth","id":"magic_auth_1","user_id":"u","email":"alice@example.com","expires_at":"2026-01-15T12:10:00.000Z","code":"012345","more":1}"#;
        let code = read(body, &id()).expect("readable");
        assert_eq!((code.code.expose(), code.recipient.expose().as_str()), ("012345", "alice@example.com"));
    }

    #[test]
    fn a_strange_answer_is_doubted_and_not_repeated() {
        for body in [
            "<html>502 654321</html>",
            r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z"}"#,
            r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z","code":654321}"#,
            r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z","code":"<6543"}"#,
            r#"{"id":"magic_auth_2","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z","code":"654321"}"#,
            r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"soon","code":"654321"}"#,
            r#"{"id":"magic_auth_1","email":"a@example.com","exp"#,
        ] {
            let fault = read(body.as_bytes(), &id()).expect_err(body);
            assert_eq!((fault.severity, fault.reason), (Severity::Doubtful, Reason::WorkosBadAnswer), "{body}");
            assert!(!fault.to_string().contains("6543"), "{fault}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_mailed_is_final() {
        let body = r#"{"id":"magic_auth_1","email":"a b@example.com","expires_at":"2026-01-15T12:10:00Z","code":"654321"}"#;
        let fault = read(body.as_bytes(), &id()).expect_err("unmailable");
        assert_eq!((fault.severity, fault.reason), (Severity::Permanent, Reason::UnsupportedAddress));
    }

    proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..400), header in "[ -~]{0,40}") {
            prop_assert!(read(&body, &id()).is_err());
            let wish = retry_after(&HeaderValue::from_str(&header).expect("visible ASCII"), Timestamp::UNIX_EPOCH);
            prop_assert!(wish.is_none_or(|wish| wish <= LONGEST_HOLD));
        }
    }
}
