//! Claims in Redis, shared by every worker replica.
//!
//! One hash an event, changed by scripts that run atomically on the server and read the server's clock, so replicas
//! need not agree on the time.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::Script;

use super::{
    Claim, Completion, DedupeStore, Lease, Owner, Past, Sending, Terms, UNFINISHED_KEPT,
    redis_link::{RedisLink, strange},
};
use crate::{fault::Fault, ids::EventId};

/// Claims kept in Redis.
pub struct RedisDedupe {
    link: Arc<RedisLink>,
    prefix: String,
    terms: Terms,
    claim: Script,
    sending: Script,
    complete: Script,
    give_back: Script,
}

impl RedisDedupe {
    /// Claims over `link`. Keys begin with `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str, terms: Terms) -> Self {
        Self {
            link,
            prefix: prefix.to_owned(),
            terms,
            claim: Script::new(include_str!("scripts/claim.lua")),
            sending: Script::new(include_str!("scripts/sending.lua")),
            complete: Script::new(include_str!("scripts/complete.lua")),
            give_back: Script::new(include_str!("scripts/give_back.lua")),
        }
    }

    fn key(&self, event_id: &EventId) -> String {
        format!("{}:event:{event_id}", self.prefix)
    }

    async fn give_back(&self, lease: &Lease, how: &str) -> Result<(), Fault> {
        let mut call = self.give_back.key(self.key(&lease.event_id));
        call.arg(lease.owner.to_string()).arg(lease.fence).arg(how);
        // Not ours any more is no failure: somebody else looks after the event.
        self.link.run::<i64>(&call).await.map(drop)
    }
}

#[async_trait]
impl DedupeStore for RedisDedupe {
    async fn claim(&self, event_id: &EventId, owner: Owner) -> Result<Claim, Fault> {
        let mut call = self.claim.key(self.key(event_id));
        call.arg(owner.to_string()).arg(millis(self.terms.lease)).arg(millis(UNFINISHED_KEPT));
        let answer: Vec<redis::Value> = self.link.run(&call).await?;
        let (word, numbers) = answer.split_first().ok_or_else(strange)?;
        let numbers = numbers.iter().map(number).collect::<Result<Vec<i64>, Fault>>()?;
        match (text(word)?.as_str(), numbers.as_slice()) {
            ("DONE", []) => Ok(Claim::Done),
            ("BUSY", [left]) => Ok(Claim::Busy(Duration::from_millis(u64::try_from(*left).unwrap_or(0)))),
            ("FRESH", [fence, silences, died]) => {
                let past = Past { silences: u32::try_from(*silences).unwrap_or(u32::MAX), died_sending: *died != 0 };
                Ok(Claim::Fresh(Lease::new(event_id.clone(), owner, *fence, past)))
            }
            _ => Err(strange()),
        }
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        let mut call = self.sending.key(self.key(&lease.event_id));
        call.arg(lease.owner.to_string()).arg(lease.fence).arg(millis(self.terms.sending)).arg(millis(UNFINISHED_KEPT));
        match self.link.run::<i64>(&call).await {
            Ok(ours) => Ok((ours == 1).then_some(Sending(lease))),
            Err(fault) => Err((lease, fault)),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        let lease = &sending.0;
        let mut call = self.complete.key(self.key(&lease.event_id));
        call.arg(lease.owner.to_string()).arg(lease.fence).arg(millis(self.terms.done)).arg(receipt);
        match self.link.run::<String>(&call).await?.as_str() {
            "RECORDED" => Ok(Completion::Recorded),
            "LATE" => Ok(Completion::Late),
            "ALREADY" => Ok(Completion::Already),
            _ => Err(strange()),
        }
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        self.give_back(&lease, "free").await
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        self.give_back(&sending.0, "doubt").await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.link.ready().await
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn text(value: &redis::Value) -> Result<String, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| strange())
}

fn number(value: &redis::Value) -> Result<i64, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| strange())
}
