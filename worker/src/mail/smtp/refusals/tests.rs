//! Unit tests of the parent module.

use super::*;
use crate::mail::smtp::{
    connection::Stage,
    reply::{Phase, refusal},
};

fn address(name: &str) -> EmailAddress {
    EmailAddress::parse(&format!("{name}@example.com")).expect("an address")
}

fn refused(phase: Phase, code: u16, enhanced: Option<(u16, u16)>) -> Failure {
    let refusal = refusal(phase, code, enhanced);
    let error = SendError::NotSent(refusal.fault);
    Failure { stage: Stage::Begun, error, concerns: refusal.concerns }
}

fn reason(error: SendError) -> (Severity, Reason) {
    match error {
        SendError::NotSent(fault) | SendError::NoSuchAddress(fault) => {
            (fault.severity, fault.reason)
        }
        SendError::Ambiguous(detail) => panic!("{detail}"),
    }
}

const US: (Severity, Reason) = (Severity::Misconfigured, Reason::RelayRefusedUs);
const HERS: (Severity, Reason) = (Severity::Permanent, Reason::RecipientRefused);

#[test]
fn everybody_in_a_row_is_us_until_a_mail_is_accepted() {
    let refusals = Refusals::default();
    let judge = |name: &str, enhanced| {
        reason(refusals.judge(&address(name), refused(Phase::Rcpt, 550, enhanced)))
    };
    assert_eq!((judge("a", None), judge("b", None)), (HERS, HERS));
    assert_eq!((judge("c", None), judge("d", Some((7, 1)))), (US, US));
    // The relay knows one address not, so it takes others.
    assert_eq!((judge("e", Some((1, 1))), judge("f", None)), (HERS, HERS));
    refusals.accepted();
    let judge =
        |name: &str| reason(refusals.judge(&address(name), refused(Phase::Rcpt, 550, None)));
    assert_eq!((judge("h"), judge("i"), judge("j")), (HERS, HERS, US));
}

#[test]
fn one_person_is_not_everybody() {
    let refusals = Refusals::default();
    for _ in 0..10 {
        let result = refused(Phase::Rcpt, 554, Some((7, 1)));
        let (severity, _) = reason(refusals.judge(&address("a"), result));
        assert_eq!(severity, Severity::Transient { retry_after: None }, "not buried, not us");
    }
}
