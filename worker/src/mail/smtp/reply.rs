//! What the answers of the relay mean in each phase: one table.

use domain::fault::{Fault, Reason, Severity};
use runtime::metrics::labels::SmtpResult;

use super::super::{Accepted, SendError};

/// The phase of the conversation that an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The greeting, EHLO, or STARTTLS.
    Hello,
    Auth,
    Mail,
    Rcpt,
    Data,
    Last,
}

/// The relay could not be used.
pub(super) fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::RelayUnavailable, detail)
}

/// The fault for a refusal. Names only the code and the phase: the text may contain the address.
pub(super) fn refusal(phase: Phase, code: u16) -> Fault {
    let answered = || {
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
        (_, 421) => Fault::transient(Reason::RelayUnavailable, answered()),
        (_, 400..=499) => Fault::transient(Reason::RelayDeferred, answered()),
        // Before the recipient is named, a refusal can only be about us: our name, our password,
        // our sender address.
        (Phase::Hello | Phase::Auth | Phase::Mail, 500..=599) | (_, 530 | 534 | 535 | 538) => {
            Fault::misconfigured(Reason::RelayRefusedUs, answered())
        }
        (Phase::Rcpt, 500..=599) => Fault::permanent(Reason::RecipientRefused, answered()),
        (Phase::Data | Phase::Last, 500..=599) => Fault::permanent(Reason::MailRefused, answered()),
        // 2xx or 3xx where it is not valid.
        _ => Fault::transient(Reason::RelayUnavailable, answered()),
    }
}

/// The metric label for the result of a transaction.
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

/// The queue id in a text such as `2.0.0 Ok: queued as 4Zx1`: the last word, if it looks like an
/// id. Never an address or a sentence.
pub(super) fn receipt(text: &str) -> String {
    let word = text
        .split_ascii_whitespace()
        .next_back()
        .unwrap_or_default()
        .trim_matches(['<', '>', '.', ';', ')', '(']);
    let plain = (1..=64).contains(&word.len())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if plain { word.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests;
