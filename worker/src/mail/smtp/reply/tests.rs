//! Unit tests of the parent module.

use super::*;

#[test]
fn the_table() {
    let transient = Severity::Transient { retry_after: None };
    for (phase, code, severity, reason) in [
        (Phase::Hello, 421, transient, Reason::RelayUnavailable),
        (Phase::Hello, 554, Severity::Misconfigured, Reason::RelayRefusedUs),
        (Phase::Auth, 454, transient, Reason::RelayDeferred),
        (Phase::Auth, 535, Severity::Misconfigured, Reason::RelayRefusedUs),
        (Phase::Mail, 451, transient, Reason::RelayDeferred),
        (Phase::Mail, 530, Severity::Misconfigured, Reason::RelayRefusedUs),
        (Phase::Mail, 550, Severity::Misconfigured, Reason::RelayRefusedUs),
        (Phase::Rcpt, 421, transient, Reason::RelayUnavailable),
        (Phase::Rcpt, 450, transient, Reason::RelayDeferred),
        (Phase::Rcpt, 452, transient, Reason::RelayDeferred),
        (Phase::Rcpt, 550, Severity::Permanent, Reason::RecipientRefused),
        (Phase::Rcpt, 530, Severity::Misconfigured, Reason::RelayRefusedUs),
        (Phase::Data, 554, Severity::Permanent, Reason::MailRefused),
        (Phase::Data, 250, transient, Reason::RelayUnavailable),
        (Phase::Last, 451, transient, Reason::RelayDeferred),
        (Phase::Last, 552, Severity::Permanent, Reason::MailRefused),
    ] {
        let fault = refusal(phase, code);
        assert_eq!((fault.severity, fault.reason), (severity, reason), "{phase:?} {code}");
    }
}

#[test]
fn a_receipt_is_an_id_or_nothing() {
    for (text, id) in [
        ("2.0.0 Ok: queued as 4Zx1Qq3kz", "4Zx1Qq3kz"),
        ("OK id=1tYzAb-000123-Xy", ""),
        ("Message accepted <abc.def>", "abc.def"),
        ("delivered to alice@example.com", ""),
        ("", ""),
    ] {
        assert_eq!(receipt(text), id, "{text}");
    }
}
