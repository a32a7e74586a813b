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
fn addresses_that_exist_are_written_as_smtp_wants_them() {
    for (typed, on_the_wire) in [
        ("a..b@example.com", "\"a..b\"@example.com"),
        ("a.@docomo.example", "\"a.\"@docomo.example"),
        (".a@example.com", "\".a\"@example.com"),
        ("\"john smith\"@example.com", "\"john smith\"@example.com"),
        ("\"a@b\"@example.com", "\"a@b\"@example.com"),
        ("\"a\\\"b\\\\c\"@example.com", "\"a\\\"b\\\\c\"@example.com"),
        ("\"alice\"@example.com", "alice@example.com"),
        ("\"al\\ice\"@example.com", "alice@example.com"),
        ("o'brien+x/y=z@example.com", "o'brien+x/y=z@example.com"),
        ("a[b]@example.com", "\"a[b]\"@example.com"),
        ("анна..б@example.com", "\"анна..б\"@example.com"),
        ("alice@mail_host.example.com", "alice@mail_host.example.com"),
        ("alice@example.com.", "alice@example.com"),
        ("alice@r3---sn.example", "alice@r3---sn.example"),
        ("alice@EXAMPLE.com", "alice@example.com"),
    ] {
        let address = EmailAddress::parse(typed).unwrap_or_else(|why| panic!("{typed}: {why}"));
        assert_eq!(address.expose(), on_the_wire, "{typed}");
    }
}

#[test]
fn a_quoted_address_is_masked_too() {
    let address = EmailAddress::parse("\"john smith\"@example.com").expect("valid");
    assert_eq!(address.to_string(), "j***@example.com");
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
        ("a@example.com..", Domain),
        ("a@.", Shape),
        ("\"\"@example.com", Shape),
        ("\"a\"b\"@example.com", Character),
        ("\"a@example.com", Character),
        ("\"a\\\"@example.com", Character),
        ("\"a\r\nb\"@example.com", Character),
        ("\"a\u{2028}b\"@example.com", Character),
        ("a@[192.0.2.1]", Domain),
        ("a@-.example", Domain),
        (long.as_str(), TooLong),
    ] {
        assert_eq!(EmailAddress::parse(text), Err(why), "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_never_holds_the_local_part(
        local in "[a-z0-9_+-]{2,20}(\\.[a-z0-9_+-]{1,20})?",
        domain in "[a-z]{1,10}\\.[a-z]{2,5}",
    ) {
        let address = EmailAddress::parse(&format!("{local}@{domain}")).expect("valid");
        let shown = format!("{address} {address:?}");
        prop_assert!(!shown.contains(&format!("{local}@")), "{} shows {}", shown, local);
        prop_assert_eq!(address.expose(), format!("{}@{}", local, domain));
    }

    #[test]
    fn parse_never_panics_and_never_lets_a_line_break_through(text in "\\PC*|.*") {
        if let Ok(address) = EmailAddress::parse(&text) {
            let whole = address.expose();
            prop_assert!(!whole.contains(['\r', '\n', '\0']));
            prop_assert!(whole.starts_with('"') || !whole.contains([' ', '<', '>', ',', '(']));
            prop_assert_eq!(EmailAddress::parse(&whole).ok(), Some(address));
        }
    }
}
