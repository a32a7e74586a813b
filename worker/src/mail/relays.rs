//! Several relays, in order of preference: a mail goes to the next one when a relay cannot take it.
//!
//! A mail moves on only when it is certain that the relay before did not accept it. One that is
//! silent after the final dot may have, so that mail stays where it is.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::fault::{Fault, Reason, Severity};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{Accepted, Mail, Mailer, RelayConnection, SendError};

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

    /// A connection to the first relay that is ready, and which one that is.
    async fn ready_one(
        &self,
        tried: &[usize],
    ) -> Result<(usize, Box<dyn RelayConnection>), Vec<Fault>> {
        let mut waiting = self.order(tried).into_iter();
        let (mut attempts, mut begun) = (FuturesUnordered::new(), Vec::new());
        let mut faults = Vec::new();
        loop {
            if let Some(index) = waiting.next() {
                let mailer = Arc::clone(&self.0[index].mailer);
                attempts.push(async move { (index, mailer.connect().await) });
                begun.push(index);
            } else if attempts.is_empty() {
                return Err(faults);
            }
            let more = waiting.len() > 0;
            tokio::select! {
                Some((index, result)) = attempts.next() => {
                    match result {
                        Ok(connection) => {
                            // Those that began before it and have not ended are slow.
                            let slow = begun.iter().take_while(|other| **other != index);
                            slow.for_each(|other| self.0[*other].rest());
                            return Ok((index, connection));
                        }
                        Err(fault) => {
                            begun.retain(|other| *other != index);
                            self.0[index].failed(&fault);
                            faults.push(fault);
                        }
                    }
                }
                () = sleep(HEAD_START), if more => {}
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
        let (index, connection) = self.ready_one(&[]).await.map_err(the_failure)?;
        Ok(Box::new(OneOfSeveral { relays: self.clone(), index, connection }))
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
    async fn send(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        let Self { relays, mut index, mut connection } = *self;
        let (mut tried, mut faults) = (Vec::new(), Vec::new());
        loop {
            let fault = match connection.send(mail).await {
                Ok(accepted) => {
                    relays.0[index].succeeded();
                    return Ok(accepted);
                }
                Err(SendError::NotSent(fault)) if fault.severity != Severity::Permanent => fault,
                Err(SendError::Ambiguous(detail)) => {
                    // The next attempt begins elsewhere.
                    relays.0[index].rest();
                    return Err(SendError::Ambiguous(detail));
                }
                Err(error) => return Err(error),
            };
            relays.0[index].failed(&fault);
            tried.push(index);
            faults.push(fault);
            (index, connection) = match relays.ready_one(&tried).await {
                Ok(next) => next,
                Err(further) => {
                    faults.extend(further);
                    return Err(SendError::NotSent(the_failure(faults)));
                }
            };
        }
    }
}

#[cfg(test)]
mod tests;
