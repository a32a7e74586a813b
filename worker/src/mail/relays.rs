//! Several relays, in order of preference: a mail goes to the next one when a relay cannot take it.
//!
//! A mail moves on only when it is certain that the relay before did not accept it. One that is
//! silent after the final dot may have, so that mail stays where it is.

mod health;
mod race;

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    fault::{Fault, Reason, Severity},
    retry::Chance,
};
use runtime::metrics::RelayMetrics;

use self::{
    health::{Health, Place},
    race::{Step, race},
};
use super::{Accepted, BegunMail, Mail, Mailer, RelayConnection, SendError};

/// Which mails a relay takes, and which of them first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Takes {
    /// Only mails to these domains; empty for all.
    pub domains: Vec<String>,
    /// This part of the mails goes to this relay first, and others only if no other takes them.
    /// From 0.0 to 1.0.
    pub share: Option<f64>,
}

/// One relay, as the configuration has it.
pub struct Candidate {
    pub name: Arc<str>,
    pub mailer: Arc<dyn Mailer>,
    pub takes: Takes,
    pub metrics: RelayMetrics,
}

/// A relay, and how it fares.
struct Relay {
    candidate: Candidate,
    health: Health,
}

/// Adapter of [`Mailer`] over one or several others.
#[derive(Clone)]
pub struct Relays {
    relays: Arc<[Relay]>,
    hedge: Duration,
}

impl Relays {
    /// Takes the relays in their order of preference. One that takes longer than `hedge` to be
    /// ready gets the next one beside it.
    pub fn new(candidates: Vec<Candidate>, hedge: Duration, chance: &Chance) -> Self {
        let relay = |candidate: Candidate| {
            let (name, metrics) = (Arc::clone(&candidate.name), candidate.metrics.clone());
            Relay { health: Health::new(name, metrics, Arc::clone(chance)), candidate }
        };
        Self { relays: candidates.into_iter().map(relay).collect(), hedge }
    }

    /// The relays for this mail that were not tried yet: those that work before those that do not,
    /// and those with room before those where mails of ours wait.
    /// After a silence about this mail, the next of those that work comes first.
    fn order(&self, mail: &Mail, tried: &[usize]) -> Vec<usize> {
        let draw = draw(&mail.event_digest);
        let takes = |index: &usize| self.relays[*index].candidate.takes.takes(mail);
        let mut order: Vec<usize> =
            (0..self.relays.len()).filter(|it| !tried.contains(it)).filter(takes).collect();
        order.sort_by_key(|index| {
            let relay = &self.relays[*index];
            let Candidate { mailer, takes, .. } = &relay.candidate;
            // A mail does not wait for room at one relay while another has room.
            (relay.health.place(), mailer.is_busy(), takes.rank(draw))
        });
        let is_usable = |it: &&usize| self.relays[**it].health.place() != Place::Last;
        let usable = order.iter().filter(is_usable).count();
        if tried.is_empty() && usable > 0 {
            let turn = usize::try_from(mail.unanswered_sends).unwrap_or(0) % usable;
            order[..usable].rotate_left(turn);
        }
        order
    }
}

/// A number from 0.0 to below 1.0 that every attempt at an event draws alike.
fn draw(digest: &str) -> f64 {
    let digits = digest.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    f64::from(digits.unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

impl Takes {
    fn takes(&self, mail: &Mail) -> bool {
        let domain = mail.recipient.domain();
        self.domains.is_empty() || self.domains.iter().any(|of| of.eq_ignore_ascii_case(domain))
    }

    fn rank(&self, draw: f64) -> u8 {
        match self.share {
            Some(share) if draw < share => 0,
            None => 1,
            Some(_) => 2,
        }
    }
}

/// The relays that failed to take a mail, and why.
#[derive(Default)]
struct Tried {
    relays: Vec<usize>,
    faults: Vec<Fault>,
}

impl Tried {
    fn add(&mut self, relay: usize, fault: Fault) {
        self.relays.push(relay);
        self.faults.push(fault);
    }

    /// Whether no further relay is asked: two have refused the mail for good.
    fn is_final(&self) -> bool {
        self.faults.iter().filter(|fault| fault.severity == Severity::Permanent).count() >= 2
    }

    /// The failure of the whole attempt. It is final if two relays say so, or all there are; our
    /// configuration is refused only if all refuse it.
    fn failure(mut self) -> SendError {
        let is = |severity| move |fault: &Fault| fault.severity == severity;
        let (permanent, ours) = (is(Severity::Permanent), is(Severity::Misconfigured));
        let all = |of: &dyn Fn(&Fault) -> bool| self.faults.iter().all(of);
        let of_one_kind = self.is_final() || all(&permanent) || all(&ours);
        let passing = |fault: &Fault| !permanent(fault) && !ours(fault);
        let found = if of_one_kind {
            self.faults.iter().position(permanent)
        } else {
            self.faults.iter().position(passing)
        };
        let Some(fault) =
            (!self.faults.is_empty()).then(|| self.faults.swap_remove(found.unwrap_or(0)))
        else {
            let detail = "there is no relay for this domain";
            return SendError::NotSent(Fault::transient(Reason::RelayUnavailable, detail));
        };
        let severity = if of_one_kind || passing(&fault) {
            fault.severity
        } else {
            // One refuses this mail, another refuses us: once that is mended it may take it.
            Severity::Transient { retry_after: None }
        };
        SendError::NotSent(Fault { severity, ..fault })
    }
}

#[async_trait]
impl Mailer for Relays {
    async fn connect(&self, mail: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
        let step = |mailer: Arc<dyn Mailer>| -> Step<'_, _> {
            Box::pin(async move { mailer.connect(mail).await.map_err(SendError::NotSent) })
        };
        let mut tried = Tried::default();
        match race(self, mail, None, &mut tried, step).await {
            Ok((index, connection)) => {
                Ok(Box::new(OneOfSeveral { relays: self.clone(), index, tried, connection }))
            }
            Err(SendError::NotSent(fault) | SendError::NoSuchAddress(fault)) => Err(fault),
            Err(SendError::Ambiguous(detail)) => {
                Err(Fault::transient(Reason::RelayUnavailable, detail))
            }
        }
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        let mut problems = Vec::new();
        for Relay { candidate, .. } in self.relays.iter() {
            match candidate.mailer.ready().await {
                Ok(()) => return Ok(()),
                Err(problem) => problems.push(format!("{}: {problem}", candidate.name)),
            }
        }
        Err(problems.join("; ").into())
    }
}

/// A connection to one relay, with the others behind it.
struct OneOfSeveral {
    relays: Relays,
    index: usize,
    tried: Tried,
    connection: Box<dyn RelayConnection>,
}

#[async_trait]
impl RelayConnection for OneOfSeveral {
    async fn begin(self: Box<Self>, mail: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let Self { relays, index, mut tried, connection } = *self;
        let first: Step<'_, _> = connection.begin(mail);
        let announce = |mailer| announce(mailer, mail);
        let (index, begun) =
            race(&relays, mail, Some((index, first)), &mut tried, announce).await?;
        Ok(Box::new(BegunAtOne { relays, index, tried, begun }))
    }
}

/// From no connection to an announced mail.
fn announce(mailer: Arc<dyn Mailer>, mail: &Mail) -> Step<'_, Box<dyn BegunMail>> {
    Box::pin(
        async move { mailer.connect(mail).await.map_err(SendError::NotSent)?.begin(mail).await },
    )
}

/// A mail that one relay waits for, with the others behind it.
struct BegunAtOne {
    relays: Relays,
    index: usize,
    tried: Tried,
    begun: Box<dyn BegunMail>,
}

#[async_trait]
impl BegunMail for BegunAtOne {
    async fn finish(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let Self { relays, mut index, mut tried, mut begun } = *self;
        loop {
            let result = begun.finish(mail).await;
            let relay = &relays.relays[index];
            relay.health.note(result.as_ref().map(drop));
            match result {
                // Only an answer lets the whole mail move on.
                Err(SendError::NotSent(fault)) => {
                    let reason = fault.reason;
                    tried.add(index, fault);
                    if !relays.order(mail, &tried.relays).is_empty() {
                        relay.candidate.metrics.hop(reason);
                    }
                }
                accepted_or_final => return accepted_or_final,
            }
            let announce = |mailer| announce(mailer, mail);
            (index, begun) = race(&relays, mail, None, &mut tried, announce).await?;
        }
    }
}

#[cfg(test)]
mod tests;
