//! Unit tests of the parent module.

use super::*;

fn now() -> Timestamp {
    "2026-01-15T12:00:01Z".parse().expect("valid")
}

fn mailable(body: &str) -> QueuedEvent {
    match parse_event(body.as_bytes(), now()).expect("readable") {
        VerifiedEvent::Mailable(event) => event,
        VerifiedEvent::NotMailed { kind } => panic!("{kind} is not mailed"),
    }
}

#[test]
fn reads_the_documented_event() {
    let event = mailable(include_str!("../../tests/data/magic_auth_created.json"));
    assert_eq!(event.event_id.as_str(), "event_01HYM0Z0000000000000000001");
    assert_eq!(event.object_id.as_str(), "magic_auth_01HYM0Z0000000000000000002");
    assert_eq!(event.user_id.as_ref().map(UserId::as_str), Some("user_01HYM0Z0000000000000000003"));
    assert_eq!(event.created_at.to_string(), "2026-01-15T12:00:00Z");
    assert_eq!(event.expires_at.to_string(), "2026-01-15T12:10:00Z");
    assert_eq!(event.received_at, now());
}

#[test]
fn reads_which_application_a_code_was_asked_for_at() {
    let event = |context: &str| {
        mailable(&format!(
            r#"{{"id":"evt_1","event":"magic_auth.created","context":{context},"data":{{"id":"magic_auth_1"}}}}"#
        ))
    };
    let client = event(r#"{"client_id":"client_01","actor":null}"#).client_id;
    assert_eq!(client.as_ref().map(ClientId::as_str), Some("client_01"));
    for context in ["{}", "null", r#"{"client_id":null}"#, r#"{"client_id":"a b"}"#, "[]"] {
        assert_eq!(event(context).client_id, None, "{context}");
    }
}

#[test]
fn reads_the_shortest_event_and_assumes_ten_minutes() {
    let event =
        mailable(r#"{"id":"evt_1","event":"magic_auth.created","data":{"id":"magic_auth_1"}}"#);
    assert_eq!(event.created_at, now());
    assert_eq!(event.expires_at.duration_since(now()), USUAL_LIFE);
}

#[test]
fn reads_dates_in_both_forms() {
    for text in
        ["2023-04-28T20:05:31.093Z", "2023-04-28 20:05:31.093", "2023-04-28T20:05:31.093+00:00"]
    {
        assert_eq!(
            parse_time(text).map(Timestamp::as_millisecond),
            Some(1_682_712_331_093),
            "{text}"
        );
    }
    assert_eq!(parse_time("yesterday"), None);
}

#[test]
fn bytes_that_are_no_text_break_only_the_field_that_has_them() {
    let body = |id: &[u8], name: &[u8]| {
        let parts: [&[u8]; 5] = [
            br#"{"id":""#,
            id,
            br#"","event":"magic_auth.created","data":{"id":"m_1","name":""#,
            name,
            br#""}}"#,
        ];
        parts.concat()
    };
    assert!(parse_event(&body(b"evt_1", b"\xff"), now()).is_ok());
    let unreadable = parse_event(&body(b"evt_\xff", b"a"), now());
    assert!(matches!(unreadable, Err(Unreadable::Json { line: 1, .. })), "{unreadable:?}");
}

#[test]
fn what_is_not_needed_may_be_anything() {
    for (number, milliseconds) in [
        ("1682712331", 1_682_712_331_000),
        ("1682712331.093", 1_682_712_331_093),
        ("1682712331093", 1_682_712_331_093),
    ] {
        let body = format!(
            r#"{{"id":"evt_1","event":"magic_auth.created","created_at":{number},"context":null,
               "data":{{"id":"magic_auth_1","user_id":"","created_at":{number},"expires_at":{number}}}}}"#
        );
        let event = mailable(&body);
        assert_eq!(event.created_at.as_millisecond(), milliseconds);
        assert_eq!(event.expires_at.as_millisecond(), milliseconds);
    }
    for odd in ["null", "{}", "[1]", "true", "-1", "0", "1e300", r#""""#, r#""a/b""#] {
        let body = format!(
            r#"{{"id":"evt_1","event":"magic_auth.created","created_at":{odd},"context":{odd},
               "data":{{"id":"magic_auth_1","user_id":{odd},"created_at":{odd},"expires_at":{odd}}}}}"#
        );
        let event = mailable(&body);
        assert_eq!((event.user_id, event.created_at), (None, now()), "{odd}");
        assert_eq!(event.expires_at.duration_since(now()), USUAL_LIFE, "{odd}");
    }
}

#[test]
fn takes_no_code_from_the_event() {
    let event = mailable(
        r#"{"id":"evt_1","event":"magic_auth.created","data":{"id":"magic_auth_1","code":"123456",
           "email":"alice@example.com"}}"#,
    );
    let queued = String::from_utf8(event.encode()).expect("JSON is UTF-8");
    assert!(!queued.contains("123456") && !queued.contains("alice"), "{queued}");
}

#[test]
fn other_kinds_are_not_mailed() {
    for kind in ["user.created", "email_verification.created", "magic_auth.created.v2", ""] {
        let body = format!(r#"{{"id":"event_1","event":"{kind}","data":{{}}}}"#);
        assert_eq!(
            parse_event(body.as_bytes(), now()),
            Ok(VerifiedEvent::NotMailed { kind: kind.to_owned() })
        );
    }
}

#[test]
fn says_what_is_wrong_without_repeating_it() {
    for (body, says) in [
        ("", "not a WorkOS event (line 1, column 0)"),
        ("{\"id\":\"secret", "not a WorkOS event"),
        ("[]", "not a WorkOS event"),
        (r#"{"event":"magic_auth.created"}"#, "not a WorkOS event"),
        (r#"{"id":"../secret","event":"x"}"#, "id: an id is"),
        (r#"{"id":"e","event":"magic_auth.created"}"#, "without data"),
        (r#"{"id":"e","event":"magic_auth.created","data":[1]}"#, "without a magic_auth object"),
        (r#"{"id":"e","event":"magic_auth.created","data":{}}"#, "without data.id"),
        (
            r#"{"id":"e","event":"magic_auth.created","data":{"id":"a/secret"}}"#,
            "data.id: an id is",
        ),
    ] {
        let error = parse_event(body.as_bytes(), now()).expect_err(body).to_string();
        assert!(error.contains(says), "{body}: {error}");
        assert!(!error.contains("secret"), "{body}: {error}");
    }
}
