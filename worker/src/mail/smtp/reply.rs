//! What the answers of the relay mean in each phase: one table.
//!
//! The three digits decide, and where there is one, the enhanced code (RFC 3463; registered at
//! <https://www.iana.org/assignments/smtp-enhanced-status-codes>). The text decides nothing, and is
//! never kept: it may contain the address.

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

/// Subject and detail of an enhanced code: 7 and 1 of `5.7.1`.
pub(super) type Enhanced = (u16, u16);

/// A refusal, and whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    pub(super) concerns: Concerns,
}

/// Who is concerned by a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concerns {
    /// This person, this mail, or this moment.
    ThisMail,
    /// Us, or this person's mail: only further refusals tell. A relay that does not accept mail
    /// from us says so of each recipient.
    PerhapsUs,
    /// Us: every mail would be refused alike.
    Us,
    /// How much we send: connections at once, or mails per second.
    OurPace,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, concerns: Concerns::ThisMail }
    }
}

/// The queue id in an accepting answer, if one of its lines has one.
pub(super) fn receipt_in<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut ids = lines.map(receipt);
    ids.find(|id| !id.is_empty()).unwrap_or_default()
}

/// The relay could not be used.
pub(super) fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::RelayUnavailable, detail)
}

/// The enhanced code at the beginning of an answer's text, if its class is that of the answer.
pub(super) fn enhanced(code: u16, text: &str) -> Option<Enhanced> {
    let word = text.split_ascii_whitespace().next()?;
    let mut parts = word.trim_end_matches(':').split('.');
    let mut number = || {
        let part = parts.next().filter(|part| (1..=3).contains(&part.len()))?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u16>().ok()).flatten()
    };
    let (class, subject, detail) = (number()?, number()?, number()?);
    (parts.next().is_none() && class == code / 100).then_some((subject, detail))
}

/// The meaning of a refusal.
pub(super) fn refusal(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> Refusal {
    let (severity, reason, concerns) = reaction(phase, code, enhanced);
    Refusal {
        fault: Fault { severity, reason, detail: answered(phase, code, enhanced).into() },
        concerns,
    }
}

fn answered(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> String {
    let to = match phase {
        Phase::Hello => "our greeting",
        Phase::Auth => "AUTH",
        Phase::Mail => "MAIL FROM",
        Phase::Rcpt => "RCPT TO",
        Phase::Data => "DATA",
        Phase::Last => "the mail",
    };
    match enhanced {
        Some((subject, detail)) => {
            format!("the relay answered {code} {}.{subject}.{detail} to {to}", code / 100)
        }
        None => format!("the relay answered {code} to {to}"),
    }
}

type Reaction = (Severity, Reason, Concerns);

const TRANSIENT: Severity = Severity::Transient { retry_after: None };
const US: Reaction = (Severity::Misconfigured, Reason::RelayRefusedUs, Concerns::Us);
/// Not buried: if it is us, the mail goes out once that is mended.
const PERHAPS_US: Reaction = (TRANSIENT, Reason::RelayRefusedUs, Concerns::PerhapsUs);
const RECIPIENT: Reaction = (Severity::Permanent, Reason::RecipientRefused, Concerns::ThisMail);
const PERHAPS_RECIPIENT: Reaction =
    (Severity::Permanent, Reason::RecipientRefused, Concerns::PerhapsUs);
const MAIL: Reaction = (Severity::Permanent, Reason::MailRefused, Concerns::ThisMail);
const PERHAPS_MAIL: Reaction = (Severity::Permanent, Reason::MailRefused, Concerns::PerhapsUs);
const DEFERRED: Reaction = (TRANSIENT, Reason::RelayDeferred, Concerns::ThisMail);
const UNAVAILABLE: Reaction = (TRANSIENT, Reason::RelayUnavailable, Concerns::ThisMail);
const NO_ROOM: Reaction = (TRANSIENT, Reason::RelayUnavailable, Concerns::OurPace);
const THROTTLED: Reaction = (TRANSIENT, Reason::RelayDeferred, Concerns::OurPace);

fn reaction(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> Reaction {
    match code {
        // Too many connections, if there are others of ours; else the relay is not up.
        400..=499 if phase == Phase::Hello => NO_ROOM,
        // The system does not accept mail, a rate or a limit was exceeded. 4.7.1 only before the
        // recipient is named: after it, it is greylisting, which has a time of its own.
        400..=499 if is_throttling(phase, code, enhanced) => THROTTLED,
        // 421 announces the end of the connection; 503 is of a transaction that was open before.
        421 | 503 => UNAVAILABLE,
        // An exhausted account, a directory that is away: nobody can log in at the moment.
        400..=499 if phase == Phase::Auth => US,
        400..=499 => DEFERRED,
        // A password or TLS is wanted or refused; our name in EHLO, which Postfix judges at RCPT.
        504 | 525 | 530 | 534 | 535 | 538 => US,
        500..=599 => permanent(phase, code, enhanced),
        // 2xx or 3xx where it is not valid.
        _ => UNAVAILABLE,
    }
}

fn is_throttling(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> bool {
    match enhanced {
        Some((3, 2) | (4, 5)) => true,
        Some((7, 1)) => phase == Phase::Mail,
        Some((7, _)) => phase != Phase::Auth,
        _ => code == 432 || (code == 454 && phase == Phase::Last),
    }
}

fn permanent(phase: Phase, code: u16, enhanced: Option<Enhanced>) -> Reaction {
    match (phase, enhanced) {
        // Before the recipient is named, a refusal can only be about us. After it, about us are: a
        // sender that is not ours to use or not known (1), a limit of the account (4.5), commands
        // that are not accepted (5), and a login, signature or sender policy that is missing (7).
        (Phase::Hello | Phase::Auth | Phase::Mail, _)
        | (_, Some((1, 7 | 8) | (4, 5) | (5, _) | (7, 8..=12 | 15 | 20..=28 | 57 | 60 | 64))) => US,
        // Unknown, ambiguous, moved, malformed, without a mail server; disabled, full; unroutable.
        (_, Some((1, _) | (2, 0..=2 | 4) | (4, 4) | (7, 13 | 17 | 18))) => RECIPIENT,
        // The mail: too large, or of a kind that is not taken.
        (_, Some((2 | 3, 3 | 4) | (6, _))) => MAIL,
        // Policy: relaying denied to us, or this recipient does not take such mail.
        (_, Some((7, _))) => PERHAPS_US,
        (Phase::Rcpt, None) if code == 552 => RECIPIENT,
        (Phase::Rcpt, _) => PERHAPS_RECIPIENT,
        (Phase::Last, None) if code == 552 => MAIL,
        (Phase::Data | Phase::Last, _) => PERHAPS_MAIL,
    }
}

/// The metric label for the result of a transaction.
pub(super) fn result_label(result: Result<&Accepted, &SendError>) -> SmtpResult {
    match result {
        Ok(_) => SmtpResult::Accepted,
        Err(SendError::Ambiguous(_)) => SmtpResult::Ambiguous,
        Err(SendError::NoSuchAddress(_)) => SmtpResult::Refused,
        Err(SendError::NotSent(fault)) => match (fault.severity, fault.reason) {
            (Severity::Misconfigured, _) => SmtpResult::Misconfigured,
            (_, Reason::RelayDeferred | Reason::RelayRefusedUs) => SmtpResult::Deferred,
            (Severity::Permanent, _) => SmtpResult::Refused,
            _ => SmtpResult::Unavailable,
        },
    }
}

/// The queue id in the text of the answer to a mail, of the forms that are known; else nothing.
pub(super) fn receipt(text: &str) -> String {
    let text = text.trim();
    let text = match text.split_once(' ') {
        Some((first, rest)) if enhanced(250, first).is_some() => rest,
        _ => text,
    };
    let after = |marker: &str| {
        let at = text.to_ascii_lowercase().find(marker)? + marker.len();
        text.get(at..)?.split_ascii_whitespace().next()
    };
    let named = after("queued as ").or_else(|| after("[internalid=")).or_else(|| after("ok id="));
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let placed = match words.as_slice() {
        [ok, id] | [ok, .., id, "-", "gsmtp"] if ok.eq_ignore_ascii_case("ok") => Some(*id),
        [id, "Message", "accepted", "for", "delivery"] => Some(*id),
        _ => None,
    };
    // Queue ids have digits, words have none.
    let placed = placed.filter(|id| id.bytes().any(|byte| byte.is_ascii_digit()));
    let found = named.or(placed);
    let id = found.unwrap_or_default().trim_matches(['<', '>', '.', ';', ',', ')', '(', ']']);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (4..=64).contains(&id.len()) && id.bytes().all(plain);
    if fits { id.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests;
