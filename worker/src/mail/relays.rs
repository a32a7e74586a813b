//! Several relays, in order of preference: a mail goes to the next one when a relay cannot take it.
//!
//! A mail moves on only when it is certain that the relay before did not accept it. One that is
//! silent after the final dot may have, so that mail stays where it is.

use std::{borrow::Cow, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::fault::{Fault, Reason, Severity};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{Accepted, BegunMail, Mail, Mailer, RelayConnection, SendError};

/// How long a relay may take to be ready before the next one is made ready beside it.
pub const HEAD_START: Duration = Duration::from_secs(1);

/// A relay that failed comes last for this long; twice as long after each further failure.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// One relay of several, and how it fares.
struct Relay {
    mailer: Arc<dyn Mailer>,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Relay {
    fn rests(&self) -> bool {
        self.health.lock().rests_until.is_some_and(|until| until > Instant::now())
    }

    fn succeeded(&self) {
        *self.health.lock() = Health::default();
    }

    /// Only what concerns every mail makes a relay rest.
    fn failed(&self, fault: &Fault) {
        let everybodys =
            fault.severity == Severity::Misconfigured || fault.reason == Reason::RelayUnavailable;
        if everybodys {
            self.rest();
        }
    }

    fn rest(&self) {
        let mut health = self.health.lock();
        let rest = (REST * 2_u32.saturating_pow(health.failures.min(8))).min(LONGEST_REST);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = Some(Instant::now() + rest);
    }
}

/// Adapter of [`Mailer`] over several others.
#[derive(Clone)]
pub struct Relays(Arc<[Relay]>);

impl Relays {
    /// Takes the relays in their order of preference.
    pub fn new(mailers: Vec<Arc<dyn Mailer>>) -> Self {
        let relay = |mailer| Relay { mailer, health: Mutex::default() };
        Self(mailers.into_iter().map(relay).collect())
    }

    /// The relays that were not tried yet, those that rest last.
    fn order(&self, tried: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> =
            (0..self.0.len()).filter(|index| !tried.contains(index)).collect();
        order.sort_by_key(|index| self.0[*index].rests());
        order
    }

    /// Has relays make one step each, the next one beside one that takes long; the first that ends
    /// well is the result. `first` is the step of a relay that is further than the others.
    async fn race<'a, T>(
        &self,
        first: Option<(usize, Step<'a, T>)>,
        tried: &[usize],
        step: impl Fn(Arc<dyn Mailer>) -> Step<'a, T>,
    ) -> Result<(usize, T), Unsent> {
        let ahead = first.as_ref().map(|(index, _)| *index);
        let mut waiting = self.order(tried).into_iter().filter(|index| Some(*index) != ahead);
        let (mut attempts, mut begun) = (FuturesUnordered::new(), Vec::new());
        let mut faults = Vec::new();
        let mut next = first;
        loop {
            let further = || waiting.next().map(|it| (it, step(Arc::clone(&self.0[it].mailer))));
            if let Some((index, step)) = next.take().or_else(further) {
                begun.push(index);
                attempts.push(async move { (index, step.await) });
            } else if attempts.is_empty() {
                return Err(Unsent::All(faults));
            }
            tokio::select! {
                Some((index, result)) = attempts.next() => match result {
                    Ok(ended) => {
                        // Those that began before it and have not ended are slow.
                        let slow = begun.iter().take_while(|other| **other != index);
                        slow.for_each(|other| self.0[*other].rest());
                        return Ok((index, ended));
                    }
                    Err(SendError::NotSent(fault)) if fault.severity != Severity::Permanent => {
                        begun.retain(|other| *other != index);
                        self.0[index].failed(&fault);
                        faults.push(fault);
                    }
                    Err(error) => return Err(Unsent::ForGood(error)),
                },
                () = sleep(HEAD_START) => {}
            }
        }
    }
}

type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, SendError>> + Send + 'a>>;

/// Why no relay made a step.
enum Unsent {
    /// Each of them failed, and may not fail the next time.
    All(Vec<Fault>),
    /// One of them failed in a way that ends the mail.
    ForGood(SendError),
}

impl Unsent {
    /// The failure, with those of relays that were tried before.
    fn after(self, mut faults: Vec<Fault>) -> SendError {
        match self {
            Self::ForGood(error) => error,
            Self::All(further) => {
                faults.extend(further);
                SendError::NotSent(the_failure(faults))
            }
        }
    }
}

/// The failure when every relay failed: our configuration is refused only if all refuse it.
fn the_failure(faults: Vec<Fault>) -> Fault {
    let passing = faults.iter().position(|fault| fault.severity != Severity::Misconfigured);
    let mut faults = faults;
    let found = (!faults.is_empty()).then(|| faults.swap_remove(passing.unwrap_or(0)));
    found.unwrap_or_else(|| Fault::transient(Reason::RelayUnavailable, "there is no relay"))
}

#[async_trait]
impl Mailer for Relays {
    async fn connect(&self) -> Result<Box<dyn RelayConnection>, Fault> {
        let step = |mailer: Arc<dyn Mailer>| -> Step<'_, _> {
            Box::pin(async move { mailer.connect().await.map_err(SendError::NotSent) })
        };
        match self.race(None, &[], step).await {
            Ok((index, connection)) => {
                Ok(Box::new(OneOfSeveral { relays: self.clone(), index, connection }))
            }
            Err(unsent) => match unsent.after(Vec::new()) {
                SendError::NotSent(fault) => Err(fault),
                SendError::Ambiguous(detail) => {
                    Err(Fault::transient(Reason::RelayUnavailable, detail))
                }
            },
        }
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        let mut why = Cow::Borrowed("there is no relay");
        for relay in self.0.iter() {
            match relay.mailer.ready().await {
                Ok(()) => return Ok(()),
                Err(problem) => why = problem,
            }
        }
        Err(why)
    }
}

/// A connection to one relay, with the others behind it.
struct OneOfSeveral {
    relays: Relays,
    index: usize,
    connection: Box<dyn RelayConnection>,
}

#[async_trait]
impl RelayConnection for OneOfSeveral {
    async fn begin(self: Box<Self>, mail: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        let Self { relays, index, connection } = *self;
        let first: Step<'_, _> = connection.begin(mail);
        let raced = relays.race(Some((index, first)), &[], |mailer| announce(mailer, mail)).await;
        let (index, begun) = raced.map_err(|unsent| unsent.after(Vec::new()))?;
        Ok(Box::new(BegunAtOne { relays, index, begun }))
    }
}

/// From no connection to an announced mail.
fn announce(mailer: Arc<dyn Mailer>, mail: &Mail) -> Step<'_, Box<dyn BegunMail>> {
    Box::pin(async move { mailer.connect().await.map_err(SendError::NotSent)?.begin(mail).await })
}

/// A mail that one relay waits for, with the others behind it.
struct BegunAtOne {
    relays: Relays,
    index: usize,
    begun: Box<dyn BegunMail>,
}

#[async_trait]
impl BegunMail for BegunAtOne {
    async fn finish(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let Self { relays, mut index, mut begun } = *self;
        let (mut tried, mut faults) = (Vec::new(), Vec::new());
        loop {
            let fault = match begun.finish(mail).await {
                Ok(accepted) => {
                    relays.0[index].succeeded();
                    return Ok(accepted);
                }
                Err(SendError::NotSent(fault)) if fault.severity != Severity::Permanent => fault,
                Err(error) => {
                    // After a silence the next attempt begins elsewhere.
                    if matches!(error, SendError::Ambiguous(_)) {
                        relays.0[index].rest();
                    }
                    return Err(error);
                }
            };
            relays.0[index].failed(&fault);
            tried.push(index);
            faults.push(fault);
            (index, begun) = match relays.race(None, &tried, |mailer| announce(mailer, mail)).await
            {
                Ok(next) => next,
                Err(unsent) => return Err(unsent.after(faults)),
            };
        }
    }
}

#[cfg(test)]
mod tests;
