//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

#[test]
fn prints_masked_and_exposes_whole() {
    let address = EmailAddress::parse("alice.smith@example.com").expect("valid");
    assert_eq!(address.to_string(), "a***@example.com");
    assert_eq!(format!("{address:?}"), "a***@example.com");
    assert_eq!(address.expose(), "alice.smith@example.com");
}

#[test]
fn a_single_letter_is_not_shown() {
    assert_eq!(EmailAddress::parse("a@example.com").expect("valid").to_string(), "***@example.com");
}

#[test]
fn a_domain_beyond_ascii_is_encoded() {
    let address = EmailAddress::parse("anna@bücher.example").expect("valid");
    assert_eq!(address.expose(), "anna@xn--bcher-kva.example");
}

#[test]
fn refuses_what_cannot_or_must_not_be_mailed() {
    use InvalidAddress::{Character, Domain, Shape, TooLong};
    let long = format!("{}@example.com", "a".repeat(250));
    for (text, why) in [
        ("", Shape),
        ("alice", Shape),
        ("@example.com", Shape),
        ("alice@", Shape),
        ("a b@example.com", Character),
        ("a\r\nRCPT TO:<x>@example.com", Character),
        ("<a@example.com", Character),
        ("a@b@example.com", Character),
        ("a@example.com>", Character),
        ("a@exa mple.com", Character),
        ("a@.example.com", Domain),
        ("a@example.com.", Domain),
        ("a@-.example", Domain),
        (long.as_str(), TooLong),
    ] {
        assert_eq!(EmailAddress::parse(text), Err(why), "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_never_holds_the_local_part(local in "[a-z0-9._+-]{2,40}", domain in "[a-z]{1,10}\\.[a-z]{2,5}") {
        let address = EmailAddress::parse(&format!("{local}@{domain}")).expect("valid");
        let shown = format!("{address} {address:?}");
        prop_assert!(!shown.contains(&format!("{local}@")), "{} shows {}", shown, local);
        prop_assert_eq!(address.expose(), format!("{}@{}", local, domain));
    }

    #[test]
    fn parse_never_panics_and_never_lets_a_line_break_through(text in "\\PC*|.*") {
        if let Ok(address) = EmailAddress::parse(&text) {
            prop_assert!(!address.expose().contains(['\r', '\n', '\0', ' ', '<', '>']));
        }
    }
}
