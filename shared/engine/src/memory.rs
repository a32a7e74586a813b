//! Claims in memory, for tests and simulations whose clock does not go with the machine's.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    claims::{
        Claim, ClaimStore, Completion, History, Lease, Owner, Sending, Terms, UNFINISHED_KEPT,
        adapter,
    },
    clock::{Clock, milliseconds_after},
    fault::Fault,
    ids::{EventId, UserId},
};
use parking_lot::Mutex;

use crate::recent_users::RecentUsers;

/// Adapter of [`ClaimStore`] that keeps everything in memory.
pub struct MemoryClaims {
    claims: Mutex<HashMap<EventId, Record>>,
    users: Option<Mutex<RecentUsers>>,
    clock: Arc<dyn Clock>,
    terms: Terms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Leased,
    Sending,
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    state: State,
    owner: Owner,
    fence: i64,
    history: History,
    /// The end of the term, in milliseconds since 1970.
    until: i64,
    /// When the whole record is forgotten.
    gone: i64,
}

impl MemoryClaims {
    /// Keeps claims for as long as `terms` says, by `clock`.
    pub fn new(clock: Arc<dyn Clock>, terms: Terms) -> Self {
        let users = terms.user_limit.map(|limit| Mutex::new(RecentUsers::new(limit)));
        Self { claims: Mutex::default(), users, clock, terms }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// Changes the record of a lease if it is still its owner's.
    fn change(&self, lease: &Lease, change: impl FnOnce(&mut Record)) -> bool {
        let mut claims = self.claims.lock();
        let ours =
            |record: &&mut Record| record.owner == lease.owner() && record.fence == lease.fence();
        claims.get_mut(lease.event_id()).filter(ours).map(change).is_some()
    }
}

#[async_trait]
impl ClaimStore for MemoryClaims {
    async fn claim(
        &self,
        event_id: &EventId,
        user: Option<&UserId>,
        owner: Owner,
    ) -> Result<Claim, Fault> {
        let (mut claims, now) = (self.claims.lock(), self.now());
        let found = claims.get(event_id).copied().filter(|record| record.gone > now);
        let (fence, history) = match found {
            Some(Record { state: State::Done, .. }) => return Ok(Claim::Done),
            Some(record) => {
                let held = record.state != State::Free && record.until > now;
                if held && record.owner != owner {
                    let left = u64::try_from(record.until - now).unwrap_or(0);
                    return Ok(Claim::Busy(Duration::from_millis(left)));
                }
                if held && record.state == State::Sending {
                    let Record { fence, history, .. } = record;
                    return Ok(Claim::Fresh(adapter::lease(
                        event_id.clone(),
                        owner,
                        fence,
                        history,
                    )));
                }
                // Still "sending" after its term: that owner crashed.
                let crashed_sending =
                    record.history.crashed_sending || record.state == State::Sending;
                (record.fence + 1, History { crashed_sending, ..record.history })
            }
            None => {
                let limited = self.users.as_ref().zip(user);
                if limited.is_some_and(|(users, user)| !users.lock().admit(user.clone(), now)) {
                    return Ok(Claim::OverLimit);
                }
                (1, History::default())
            }
        };
        let until = milliseconds_after(now, self.terms.lease);
        let gone = milliseconds_after(until, UNFINISHED_KEPT);
        let record = Record { state: State::Leased, owner, fence, history, until, gone };
        claims.insert(event_id.clone(), record);
        Ok(Claim::Fresh(adapter::lease(event_id.clone(), owner, fence, history)))
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        let now = self.now();
        let until = milliseconds_after(now, self.terms.sending);
        let mut announced = false;
        self.change(&lease, |record| {
            announced =
                matches!(record.state, State::Leased | State::Sending) && record.until > now;
            if announced {
                let gone = milliseconds_after(until, UNFINISHED_KEPT);
                *record = Record { state: State::Sending, until, gone, ..*record };
            }
        });
        Ok(announced.then(|| adapter::sending(lease)))
    }

    async fn complete(&self, sending: &Sending, _receipt: &str) -> Result<Completion, Fault> {
        let lease = sending.lease();
        let (owner, fence) = (lease.owner(), lease.fence());
        let mut claims = self.claims.lock();
        let found = claims.get(lease.event_id());
        let ours = found.is_some_and(|record| record.owner == owner && record.fence == fence);
        if found.is_some_and(|record| record.state == State::Done) {
            return Ok(if ours { Completion::Recorded } else { Completion::Already });
        }
        let gone = milliseconds_after(self.now(), self.terms.done);
        let history = found.map(|record| record.history).unwrap_or_default();
        let record = Record { state: State::Done, owner, fence, history, until: 0, gone };
        claims.insert(lease.event_id().clone(), record);
        Ok(if ours { Completion::Recorded } else { Completion::Late })
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        self.change(&lease, |record| {
            if record.state != State::Done {
                (record.state, record.until) = (State::Free, 0);
            }
        });
        Ok(())
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        self.change(sending.lease(), |record| {
            if record.state == State::Sending {
                (record.state, record.until) = (State::Free, 0);
                record.history.unanswered_sends += 1;
            }
        });
        Ok(())
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}
