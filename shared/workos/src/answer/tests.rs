//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;
use domain::fault::Severity;

fn id() -> MagicAuthId {
    MagicAuthId::parse("magic_auth_1").expect("valid")
}

#[test]
fn statuses_mean_what_the_table_says() {
    let transient = |seconds: Option<u64>| Severity::Transient {
        retry_after: seconds.map(Duration::from_secs),
    };
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
    let read = |text: &str| {
        retry_after(&HeaderValue::from_str(text).expect("a header"), now).map(|wait| wait.as_secs())
    };
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
    let body = br#"{"object":"magic_auth","id":"magic_auth_1","user_id":"u",
       "email":"alice@example.com","expires_at":"2026-01-15T12:10:00.000Z","code":"012345",
       "more":1}"#;
    let code = login_code(body, &id()).expect("readable");
    assert_eq!(
        (code.code.expose(), code.recipient.expose().as_str()),
        ("012345", "alice@example.com")
    );
}

#[test]
fn an_unexpected_answer_is_doubtful_and_not_repeated() {
    for body in [
        "<html>502 654321</html>",
        r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z"}"#,
        r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z","code":654321}"#,
        r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z","code":"<6543"}"#,
        r#"{"id":"magic_auth_2","email":"a@example.com","expires_at":"2026-01-15T12:10:00Z","code":"654321"}"#,
        r#"{"id":"magic_auth_1","email":"a@example.com","expires_at":"soon","code":"654321"}"#,
        r#"{"id":"magic_auth_1","email":"a@example.com","exp"#,
    ] {
        let fault = login_code(body.as_bytes(), &id()).expect_err(body);
        assert_eq!(
            (fault.severity, fault.reason),
            (Severity::Doubtful, Reason::WorkosBadAnswer),
            "{body}"
        );
        assert!(!fault.to_string().contains("6543"), "{fault}");
    }
}

#[test]
fn an_address_that_cannot_be_mailed_is_final() {
    let body = r#"{"id":"magic_auth_1","email":"a b@example.com","expires_at":"2026-01-15T12:10:00Z","code":"654321"}"#;
    let fault = login_code(body.as_bytes(), &id()).expect_err("unmailable");
    assert_eq!((fault.severity, fault.reason), (Severity::Permanent, Reason::UnsupportedAddress));
}

proptest! {
    #[test]
    fn no_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..400), header in "[ -~]{0,40}") {
        prop_assert!(login_code(&body, &id()).is_err());
        let wait = retry_after(&HeaderValue::from_str(&header).expect("visible ASCII"), Timestamp::UNIX_EPOCH);
        prop_assert!(wait.is_none_or(|wait| wait <= LONGEST_HOLD));
    }
}
