//! Refusals that may concern us or one person, and how several of them in a row decide.
//!
//! A relay that does not accept mail from us refuses each recipient, often with the digits that it
//! has for unknown ones. Buried as such, no code would arrive after the relay was put right.

use std::hash::{BuildHasher as _, RandomState};

use domain::{
    address::EmailAddress,
    fault::{Fault, Reason, Severity},
};
use parking_lot::Mutex;

use super::{connection::Failure, reply::Concerns};
use crate::mail::SendError;

/// So many people in a row were refused, and nobody's mail was accepted meanwhile: it is us.
const IN_A_ROW: u32 = 3;

/// Counts refusals in a row.
#[derive(Default)]
pub(super) struct Refusals {
    row: Mutex<Row>,
    hasher: RandomState,
}

#[derive(Default)]
struct Row {
    people: u32,
    last: Option<u64>,
}

impl Refusals {
    /// A mail was accepted: the relay takes mail from us.
    pub(super) fn accepted(&self) {
        *self.row.lock() = Row::default();
    }

    /// The meaning of a failure, in the light of those before it.
    pub(super) fn judge(&self, recipient: &EmailAddress, failure: Failure) -> SendError {
        let Failure { error, concerns, .. } = failure;
        match (error, concerns) {
            (SendError::NotSent(fault), Concerns::PerhapsUs) => {
                let whose = self.hasher.hash_one((recipient.expose_local(), recipient.domain()));
                SendError::NotSent(if self.is_us(whose) { ours(&fault) } else { fault })
            }
            // This person's address: then others are accepted.
            (SendError::NotSent(fault), Concerns::ThisMail)
                if fault.reason == Reason::RecipientRefused =>
            {
                self.accepted();
                SendError::NoSuchAddress(fault)
            }
            (error, _) => error,
        }
    }

    fn is_us(&self, whose: u64) -> bool {
        let mut row = self.row.lock();
        if row.last != Some(whose) {
            row.people = row.people.saturating_add(1);
            row.last = Some(whose);
        }
        row.people >= IN_A_ROW
    }
}

fn ours(fault: &Fault) -> Fault {
    let detail = format!("{}, as to everybody before", fault.detail).into();
    Fault { severity: Severity::Misconfigured, reason: Reason::RelayRefusedUs, detail }
}

#[cfg(test)]
mod tests;
