//! What the relay's answers mean, phase by phase: one table.

use shared::{
    fault::{Fault, Reason, Severity},
    metrics::labels::SmtpResult,
};

use super::super::{Accepted, SendError};

/// Where in the conversation an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Greeting, EHLO, STARTTLS.
    Hello,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The final dot.
    Last,
}

pub(super) fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::RelayUnavailable, detail)
}

/// What a refusal calls for. Only the code and the phase are repeated: the text may hold the address.
pub(super) fn refusal(phase: Phase, code: u16) -> Fault {
    let said = || {
        let to = match phase {
            Phase::Hello => "our greeting",
            Phase::Auth => "AUTH",
            Phase::Mail => "MAIL FROM",
            Phase::Rcpt => "RCPT TO",
            Phase::Data => "DATA",
            Phase::Last => "the mail",
        };
        format!("the relay answered {code} to {to}")
    };
    match (phase, code) {
        (_, 421) => Fault::transient(Reason::RelayUnavailable, said()),
        (_, 400..=499) => Fault::transient(Reason::RelayDeferred, said()),
        // Before a recipient is named, a refusal can only be about us: our name, our password, our sender address.
        (Phase::Hello | Phase::Auth | Phase::Mail, 500..=599) | (_, 530 | 534 | 535 | 538) => {
            Fault::misconfigured(Reason::RelayRefusedUs, said())
        }
        (Phase::Rcpt, 500..=599) => Fault::permanent(Reason::RecipientRefused, said()),
        (Phase::Data | Phase::Last, 500..=599) => Fault::permanent(Reason::MailRefused, said()),
        // 2xx or 3xx where it has no meaning: one of us has lost the thread.
        _ => Fault::transient(Reason::RelayUnavailable, said()),
    }
}

/// The metric's label for how a transaction ended.
pub(super) fn result_label(result: Result<&Accepted, &SendError>) -> SmtpResult {
    match result {
        Ok(_) => SmtpResult::Accepted,
        Err(SendError::Ambiguous(_)) => SmtpResult::Ambiguous,
        Err(SendError::NotSent(fault)) => match (fault.severity, fault.reason) {
            (Severity::Misconfigured, _) => SmtpResult::Misconfigured,
            (_, Reason::RelayDeferred) => SmtpResult::Deferred,
            (Severity::Permanent, _) => SmtpResult::Refused,
            _ => SmtpResult::Unavailable,
        },
    }
}

/// The relay's queue id, from texts such as `2.0.0 Ok: queued as 4Zx1`: the last word, if it looks like an id. Never
/// an address or a sentence.
pub(super) fn receipt(text: &str) -> String {
    let word = text.split_ascii_whitespace().next_back().unwrap_or_default().trim_matches(['<', '>', '.', ';', ')', '(']);
    let plain =
        (1..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if plain { word.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
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
}
