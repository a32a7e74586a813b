//! Claims in memory, for tests and simulations whose clock does not go with the machine's.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, GivenBack, History, Lease, Owner, Sending,
        Subject, Terms, UNFINISHED_KEPT, adapter,
        users::{Admission, UserEvents},
    },
    clock::{Clock, milliseconds_after},
    fault::Fault,
    ids::{EventId, UserId},
};
use parking_lot::Mutex;

/// Adapter of [`ClaimStore`] that keeps everything in memory.
pub struct MemoryClaims {
    claims: Mutex<HashMap<EventId, Record>>,
    users: Mutex<HashMap<UserId, UserEvents>>,
    /// When the next mail would be due if they were evenly spaced.
    due: Mutex<i64>,
    clock: Arc<dyn Clock>,
    terms: Terms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Leased,
    Sending,
    Superseded,
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
        let (claims, users, due) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { claims, users, due, clock, terms }
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

impl MemoryClaims {
    /// What stands in the way of an event that nobody holds.
    fn refusal(&self, subject: &Subject, is_new: bool, now: i64) -> Option<Claim> {
        let user = subject.user()?;
        let mut users = self.users.lock();
        let known = users.get(user).copied().unwrap_or_default();
        let limit = self.terms.user_limit.filter(|_| is_new);
        let admitted = match known.admit(subject.created(), subject.gives_way_at(now), limit, now) {
            Admission::Admitted(admitted) => admitted,
            Admission::Superseded => return Some(Claim::Superseded),
            Admission::GivesWay => return Some(Claim::GivesWay),
            Admission::OverLimit => return Some(Claim::OverLimit),
        };
        if let Some(limit) = self.terms.mail_limit.filter(|_| is_new) {
            let mut due = self.due.lock();
            match limit.take(*due, now) {
                Ok(next) => *due = next,
                Err(wait) => return Some(Claim::Held(wait)),
            }
        }
        users.insert(user.clone(), admitted);
        None
    }

    fn change_user(&self, subject: &Subject, change: impl FnOnce(UserEvents) -> UserEvents) {
        if let Some(user) = subject.user() {
            let mut users = self.users.lock();
            let known = users.entry(user.clone()).or_default();
            *known = change(*known);
        }
    }

    fn is_superseded(&self, subject: &Subject) -> bool {
        let known = subject.user().and_then(|user| self.users.lock().get(user).copied());
        known.is_some_and(|known| known.accepted > subject.created())
    }
}

#[async_trait]
impl ClaimStore for MemoryClaims {
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault> {
        let (mut claims, now) = (self.claims.lock(), self.now());
        let found = claims.get(subject.event_id()).copied().filter(|record| record.gone > now);
        let fresh =
            |fence, history| Claim::Fresh(adapter::lease(subject.clone(), owner, fence, history));
        let (mut fence, mut history, mut held) = (1, History::default(), false);
        if let Some(record) = found {
            held = matches!(record.state, State::Leased | State::Sending) && record.until > now;
            match record.state {
                State::Done => return Ok(Claim::Done),
                State::Superseded => return Ok(Claim::Superseded),
                _ if held && record.owner != owner => {
                    let left = u64::try_from(record.until - now).unwrap_or(0);
                    return Ok(Claim::Busy(Duration::from_millis(left)));
                }
                State::Sending if held => return Ok(fresh(record.fence, record.history)),
                _ => {}
            }
            // Still "sending" after its term: that owner crashed.
            let crashed_sending = record.history.crashed_sending || record.state == State::Sending;
            fence = record.fence + 1;
            history = History { crashed_sending, ..record.history };
        }
        let mut record =
            Record { state: State::Leased, owner, fence, history, until: 0, gone: i64::MAX };
        let refusal = if held { None } else { self.refusal(subject, found.is_none(), now) };
        if let Some(refusal) = refusal {
            if refusal == Claim::Superseded {
                record.state = State::Superseded;
                record.gone = milliseconds_after(now, self.terms.done);
                claims.insert(subject.event_id().clone(), record);
            }
            return Ok(refusal);
        }
        record.until = milliseconds_after(now, self.terms.lease);
        record.gone = milliseconds_after(record.until, UNFINISHED_KEPT);
        claims.insert(subject.event_id().clone(), record);
        Ok(fresh(fence, history))
    }

    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        let now = self.now();
        let until = milliseconds_after(now, self.terms.sending);
        let superseded = self.is_superseded(lease.subject());
        let mut announced = false;
        self.change(&lease, |record| {
            announced =
                matches!(record.state, State::Leased | State::Sending) && record.until > now;
            let gone = milliseconds_after(until, UNFINISHED_KEPT);
            if announced && superseded {
                *record = Record { state: State::Superseded, until: 0, gone, ..*record };
            } else if announced {
                *record = Record { state: State::Sending, until, gone, ..*record };
            }
        });
        Ok(match (announced, superseded) {
            (true, true) => Announced::Superseded,
            (true, false) => Announced::Sending(adapter::sending(lease)),
            (false, _) => Announced::Lost,
        })
    }

    async fn complete(&self, sending: &Sending, _receipt: &str) -> Result<Completion, Fault> {
        let lease = sending.lease();
        let (owner, fence) = (lease.owner(), lease.fence());
        self.change_user(lease.subject(), |user| user.with_mail(lease.subject().created()));
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

    async fn release(&self, lease: Lease, _: &GivenBack) -> Result<(), Fault> {
        self.change(&lease, |record| {
            if !matches!(record.state, State::Done | State::Superseded) {
                (record.state, record.until) = (State::Free, 0);
            }
        });
        Ok(())
    }

    async fn doubt(&self, sending: Sending, _: &GivenBack) -> Result<(), Fault> {
        self.change(sending.lease(), |record| {
            if record.state == State::Sending {
                (record.state, record.until) = (State::Free, 0);
                record.history.unanswered_sends += 1;
            }
        });
        Ok(())
    }

    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault> {
        self.change_user(subject, |user| user.without_event(subject.created()));
        Ok(())
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}
