//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

#[test]
fn accepts_what_workos_sends() {
    for id in ["event_01J44T8Y7Z4M7V0S6TS9N4FQ9B", "evt_1", "wh_01FG", "a"] {
        assert_eq!(EventId::parse(id).expect("valid").as_str(), id);
    }
}

#[test]
fn refuses_what_could_steer_a_url_a_key_or_a_header() {
    for id in [
        "",
        "a/b",
        "../x",
        "a b",
        "a\r\nb",
        "a%2f",
        "é",
        "a:b",
        "a?b",
        &"x".repeat(MAX_ID_BYTES + 1),
    ] {
        assert!(MagicAuthId::parse(id).is_err(), "{id:?} was accepted");
    }
}

proptest! {
    #[test]
    fn every_accepted_id_is_plain_ascii(text in ".{0,200}") {
        if let Ok(id) = UserId::parse(text.clone()) {
            prop_assert!(id.as_str().is_ascii());
            prop_assert_eq!(String::from(id), text);
        }
    }
}
