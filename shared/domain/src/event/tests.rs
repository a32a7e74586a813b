//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

const GOLDEN: &str = include_str!("../../tests/data/queued_event_v1.json");

#[test]
fn version_one_stays_readable_and_is_what_we_write() {
    let event = QueuedEvent::decode(GOLDEN.trim().as_bytes()).expect("the golden file");
    assert_eq!(event.event_id.as_str(), "event_01HYM0Z0000000000000000001");
    assert_eq!(String::from_utf8(event.encode()).expect("JSON"), GOLDEN.trim());
}

#[test]
fn says_which_version_it_cannot_read() {
    let version = |expires_at| Err(Undecodable::Version { version: 2, expires_at });
    assert_eq!(QueuedEvent::decode(br#"{"v":2,"anything":1}"#), version(None));
    assert_eq!(
        QueuedEvent::decode(br#"{"v":2,"expires_at":{"of":"another form"}}"#),
        version(None)
    );
    let end = "2026-01-01T00:10:00Z".parse().expect("a time");
    assert_eq!(
        QueuedEvent::decode(br#"{"expires_at":"2026-01-01T00:10:00Z","more":[1],"v":2}"#),
        version(Some(end))
    );
}

#[test]
fn what_we_write_has_what_every_version_must_have() {
    let wire: AnyWire = serde_json::from_str(GOLDEN).expect("JSON");
    assert!(
        wire.v == VERSION
            && wire.expires_at.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok())
    );
}

#[test]
fn a_message_of_another_kind_is_undecodable() {
    for message in [&b""[..], b"{}", b"null", b"\xff\xfe", br#"{"v":1}"#, br#"{"v":"1"}"#] {
        assert!(matches!(QueuedEvent::decode(message), Err(Undecodable::Shape { .. })));
    }
    assert!(matches!(
        QueuedEvent::decode(&vec![b'['; MAX_MESSAGE_BYTES + 1]),
        Err(Undecodable::TooLarge(_))
    ));
    assert!(matches!(
        QueuedEvent::decode(&vec![b'['; MAX_MESSAGE_BYTES]),
        Err(Undecodable::Shape { .. })
    ));
}

#[test]
fn a_trace_context_is_kept_only_if_well_formed() {
    let event = QueuedEvent::decode(GOLDEN.trim().as_bytes()).expect("the golden file");
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(event.clone().with_traceparent(Some(good)).traceparent.as_deref(), Some(good));
    for bad in ["", "alice@example.com", &good.replace('0', "g")] {
        assert_eq!(event.clone().with_traceparent(Some(bad)).traceparent, None);
    }
}

proptest! {
    #[test]
    fn decode_never_panics(message in proptest::collection::vec(any::<u8>(), 0..600)) {
        drop(QueuedEvent::decode(&message));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(
        id in "[A-Za-z0-9_-]{1,64}", object in "[A-Za-z0-9_-]{1,64}",
        user in proptest::option::of("[A-Za-z0-9_-]{1,64}"),
        client in proptest::option::of("[A-Za-z0-9_-]{1,64}"),
        times in proptest::array::uniform3(-377_705_023_201_000i64..253_402_207_200_000),
    ) {
        let time = |ms| Timestamp::from_millisecond(ms).expect("in range");
        let event = QueuedEvent {
            event_id: EventId::parse(id).expect("valid"),
            kind: EventKind::MagicAuthCreated,
            object_id: MagicAuthId::parse(object).expect("valid"),
            user_id: user.map(|user| UserId::parse(user).expect("valid")),
            client_id: client.map(|client| ClientId::parse(client).expect("valid")),
            created_at: time(times[0]), expires_at: time(times[1]), received_at: time(times[2]),
            traceparent: None,
            v: Version,
        };
        prop_assert_eq!(QueuedEvent::decode(&event.encode()), Ok(event));
    }
}
