//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

/// Replies of relays in use (Postfix, Exim, Exchange Online, Gmail, SES, SendGrid, Mailgun), in words
/// of our own, and what each means. With a question mark: only further refusals tell.
const REPLIES: &[(Phase, &str, &str)] = &[
    (Phase::Hello, "421 421 too many connections", "no room"),
    (Phase::Hello, "421 4.3.2 not accepting messages at the moment", "no room"),
    (Phase::Hello, "421 4.7.0 try again later, closing connection", "no room"),
    (Phase::Hello, "450 4.7.25 client host has no reverse name", "no room"),
    (Phase::Hello, "454 4.7.0 TLS not available for the moment", "no room"),
    (Phase::Hello, "501 5.5.4 invalid argument to EHLO", "us"),
    (Phase::Hello, "550 5.7.1 address listed", "us"),
    (Phase::Hello, "554 no SMTP service here", "us"),
    (Phase::Hello, "554 5.7.1 client refused", "us"),
    (Phase::Auth, "421 4.7.0 too many login attempts", "unavailable"),
    (Phase::Auth, "451 4.5.3 account has no messages left", "us"),
    (Phase::Auth, "451 4.7.0 temporary server error at login", "us"),
    (Phase::Auth, "454 4.7.0 temporary authentication failure", "us"),
    (Phase::Auth, "503 5.5.1 already authenticated", "unavailable"),
    (Phase::Auth, "504 5.7.4 mechanism not known", "us"),
    (Phase::Auth, "530 5.7.0 must issue STARTTLS first", "us"),
    (Phase::Auth, "534 5.7.9 application-specific password wanted", "us"),
    (Phase::Auth, "535 5.7.3 authentication unsuccessful", "us"),
    (Phase::Auth, "535 5.7.8 credentials invalid", "us"),
    (Phase::Auth, "535 5.7.139 basic authentication is switched off", "us"),
    (Phase::Auth, "538 5.7.11 encryption wanted for this mechanism", "us"),
    (Phase::Mail, "421 4.4.2 connection timed out", "unavailable"),
    (Phase::Mail, "450 4.1.8 sender's domain not found", "deferred"),
    (Phase::Mail, "451 4.3.0 mail server temporarily rejected", "deferred"),
    (Phase::Mail, "452 4.3.1 not enough disk", "deferred"),
    (Phase::Mail, "454 4.7.0 throttled: maximum sending rate exceeded", "throttled"),
    (Phase::Mail, "503 5.5.1 nested MAIL command", "unavailable"),
    (Phase::Mail, "530 5.7.1 authentication needed", "us"),
    (Phase::Mail, "530 5.7.57 client not authenticated to send", "us"),
    (Phase::Mail, "550 verification of the sender failed", "us"),
    (Phase::Mail, "550 5.1.8 sender address has no such domain", "us"),
    (Phase::Mail, "550 5.7.60 no permission to send as this sender", "us"),
    (Phase::Mail, "552 5.3.4 size over the limit at MAIL", "us"),
    (Phase::Mail, "553 5.1.3 sender address is not valid", "us"),
    (Phase::Mail, "553 5.7.1 sender address not owned by user", "us"),
    (Phase::Mail, "554 5.7.1 sender is not verified here", "us"),
    (Phase::Rcpt, "421 4.7.28 unusual rate of mail", "throttled"),
    (Phase::Rcpt, "432 4.3.2 concurrent connections limit exceeded", "throttled"),
    (Phase::Rcpt, "450 4.2.0 greylisted", "deferred"),
    (Phase::Rcpt, "450 4.2.1 mailbox receives mail too fast", "deferred"),
    (Phase::Rcpt, "450 4.7.1 policy service not reached", "deferred"),
    (Phase::Rcpt, "451 4.7.1 greylisting in action", "deferred"),
    (Phase::Rcpt, "451 4.7.500 server busy", "throttled"),
    (Phase::Rcpt, "452 4.2.2 mailbox over quota for now", "deferred"),
    (Phase::Rcpt, "452 4.5.3 too many recipients", "deferred"),
    (Phase::Rcpt, "503 5.5.1 need MAIL first", "unavailable"),
    (Phase::Rcpt, "504 5.5.2 name in EHLO is not fully qualified", "us"),
    (Phase::Rcpt, "530 5.7.0 authentication needed", "us"),
    (Phase::Rcpt, "550 relay not permitted, or no such user", "recipient?"),
    (Phase::Rcpt, "550 5.1.0 address rejected", "recipient"),
    (Phase::Rcpt, "550 5.1.1 no such user", "recipient"),
    (Phase::Rcpt, "550 5.1.2 no such host", "recipient"),
    (Phase::Rcpt, "550 5.1.6 mailbox has moved", "recipient"),
    (Phase::Rcpt, "550 5.1.8 sender's domain not found", "us"),
    (Phase::Rcpt, "550 5.1.10 domain takes no mail", "recipient"),
    (Phase::Rcpt, "550 5.2.1 account is disabled", "recipient"),
    (Phase::Rcpt, "550 5.4.1 access denied", "recipient?"),
    (Phase::Rcpt, "550 5.4.5 daily sending limit exceeded", "us"),
    (Phase::Rcpt, "550 5.7.1 relaying denied", "us?"),
    (Phase::Rcpt, "550 5.7.13 user account disabled", "recipient"),
    (Phase::Rcpt, "550 5.7.26 sender is not authenticated", "us"),
    (Phase::Rcpt, "550 5.7.64 relay access denied to this tenant", "us"),
    (Phase::Rcpt, "550 5.7.124 sender not in the list of a group", "us?"),
    (Phase::Rcpt, "550 5.7.133 sender not authenticated for a group", "us?"),
    (Phase::Rcpt, "551 5.7.1 user not local", "us?"),
    (Phase::Rcpt, "552 over its storage", "recipient"),
    (Phase::Rcpt, "552 5.2.2 mailbox full", "recipient"),
    (Phase::Rcpt, "553 name not allowed", "recipient?"),
    (Phase::Rcpt, "553 5.1.3 bad syntax", "recipient"),
    (Phase::Rcpt, "553 5.7.1 sender address rejected", "us?"),
    (Phase::Rcpt, "554 5.7.1 relay access denied", "us?"),
    (Phase::Rcpt, "554 5.7.1 client host blocked by a list", "us?"),
    (Phase::Data, "250 not an answer to DATA", "unavailable"),
    (Phase::Data, "451 4.3.5 server configuration problem", "deferred"),
    (Phase::Data, "503 5.5.1 need RCPT first", "unavailable"),
    (Phase::Data, "554 no valid recipients", "mail?"),
    (Phase::Last, "421 4.3.0 shutting down", "unavailable"),
    (Phase::Last, "450 4.7.1 rejected at the end of data, for now", "deferred"),
    (Phase::Last, "451 4.7.1 scanner not available", "deferred"),
    (Phase::Last, "452 4.3.1 no storage", "deferred"),
    (Phase::Auth, "432 4.3.2 concurrent connections limit exceeded", "throttled"),
    (Phase::Mail, "421 4.7.0 rate limited, try again later", "throttled"),
    (Phase::Mail, "450 4.7.1 too much mail from your host", "throttled"),
    (Phase::Mail, "451 4.4.5 too many messages from your host", "throttled"),
    (Phase::Last, "432 4.3.2 sender thread limit exceeded", "throttled"),
    (Phase::Last, "454 throttled for the moment", "throttled"),
    (Phase::Last, "454 4.7.0 throttling failure", "throttled"),
    (Phase::Last, "550 5.4.5 daily user sending limit exceeded", "us"),
    (Phase::Last, "550 5.4.6 routing loop", "mail?"),
    (Phase::Last, "550 5.6.0 content not accepted", "mail"),
    (Phase::Last, "550 5.7.1 message blocked as spam", "us?"),
    (Phase::Last, "550 5.7.26 neither signature nor sender policy pass", "us"),
    (Phase::Last, "550 5.7.60 no permission to send as this sender", "us"),
    (Phase::Last, "550 5.7.708 traffic from this address is not accepted", "us?"),
    (Phase::Last, "552 message too large", "mail"),
    (Phase::Last, "552 5.2.3 message too large for the mailbox", "mail"),
    (Phase::Last, "552 5.3.4 message too large for the system", "mail"),
    (Phase::Last, "552 5.7.0 content blocked by policy", "us?"),
    (Phase::Last, "554 transaction failed", "mail?"),
    (Phase::Last, "554 5.6.3 conversion needed and not supported", "mail"),
    (Phase::Last, "554 5.7.1 policy of the sender's domain", "us?"),
    (Phase::Last, "571 5.7.1 delivery not authorised", "us?"),
];

fn read(phase: Phase, reply: &str) -> Refusal {
    let (code, text) = reply.split_at(3);
    let code = code.parse().expect("three digits");
    refusal(phase, code, enhanced(code, text))
}

#[test]
fn the_table() {
    for (phase, reply, meaning) in REPLIES {
        let expected = match *meaning {
            "us" => US,
            "us?" => PERHAPS_US,
            "recipient" => RECIPIENT,
            "recipient?" => PERHAPS_RECIPIENT,
            "mail" => MAIL,
            "mail?" => PERHAPS_MAIL,
            "deferred" => DEFERRED,
            "unavailable" => UNAVAILABLE,
            "no room" => NO_ROOM,
            "throttled" => THROTTLED,
            other => panic!("{other}"),
        };
        let Refusal { fault, concerns } = read(*phase, reply);
        assert_eq!((fault.severity, fault.reason, concerns), expected, "{phase:?} {reply}");
        assert!(!fault.detail.contains(&reply[14.min(reply.len())..]), "the text is not kept");
    }
    assert!(REPLIES.len() >= 60, "{}", REPLIES.len());
}

#[test]
fn an_enhanced_code_stands_at_the_beginning_and_fits_the_answer() {
    for (code, text, expected) in [
        (550, "5.1.1 no such user", Some((1, 1))),
        (550, " 5.7.133: group", Some((7, 133))),
        (250, "2.0.0", Some((0, 0))),
        (550, "4.7.1 another class", None),
        (550, "no such user 5.1.1", None),
        (550, "5.1", None),
        (550, "5.1.1.1", None),
        (550, "5.1.1000", None),
        (550, "5..1", None),
        (550, "", None),
    ] {
        assert_eq!(enhanced(code, text), expected, "{text}");
    }
    let detail = read(Phase::Rcpt, "554 5.7.1 alice@example.com: denied").fault.detail;
    assert_eq!(detail, "the relay answered 554 5.7.1 to RCPT TO");
}

proptest! {
    /// No answer that refuses is taken for another one's success, and 4xx are never final.
    #[test]
    fn every_answer_means_something(code in 0u16..1000, subject in 0u16..20, detail in 0u16..200) {
        for phase in [Phase::Hello, Phase::Auth, Phase::Mail, Phase::Rcpt, Phase::Data, Phase::Last] {
            let (severity, reason, _) = reaction(phase, code, Some((subject, detail)));
            if !(500..600).contains(&code) {
                prop_assert_ne!(severity, Severity::Permanent);
            }
            if phase != Phase::Rcpt && (subject, detail) == (7, 0) {
                prop_assert_ne!(reason, Reason::RecipientRefused);
            }
        }
    }

    #[test]
    fn a_receipt_is_short_and_plain(text in "\\PC{0,200}") {
        let id = receipt(&text);
        prop_assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

#[test]
fn a_receipt_is_the_queue_id_of_a_known_form_or_nothing() {
    for (text, id) in [
        ("2.0.0 Ok: queued as 4Zx1Qq3kz", "4Zx1Qq3kz"),
        ("Ok: queued as dGVzdA_-3xQ", "dGVzdA_-3xQ"),
        ("OK id=1tYzAb-000123-Xy", "1tYzAb-000123-Xy"),
        ("2.0.0 2ab3cd4e Message accepted for delivery", "2ab3cd4e"),
        ("2.0.0 52IAbCdE012345 Message accepted for delivery", "52IAbCdE012345"),
        ("Ok 0102018dabc-1234-5678-000000", "0102018dabc-1234-5678-000000"),
        ("2.0.0 OK  1712345678 d2e1a72fcca58-6ed - gsmtp", "d2e1a72fcca58-6ed"),
        (
            "2.6.0 <id@acme.example> [InternalId=123456789, Hostname=x] 99 bytes Queued mail for delivery",
            "123456789",
        ),
        ("Great success", ""),
        ("2.0.0 Ok", ""),
        ("Queued mail for delivery", ""),
        ("delivered to alice1@example.com", ""),
        ("Message accepted for delivery", ""),
        ("queued as alice1@example.com", ""),
        ("", ""),
    ] {
        assert_eq!(receipt(text), id, "{text}");
    }
}
