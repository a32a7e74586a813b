//! Claims in Redis.
//!
//! One hash for each event, changed by scripts that run atomically on the server and read the
//! server's clock, so replicas need not agree on the time.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    claims::{
        Claim, ClaimStore, Completion, History, Lease, Owner, Sending, Terms, UNFINISHED_KEPT,
        adapter,
    },
    clock::milliseconds,
    fault::Fault,
    ids::{EventId, UserId},
};
use redis::Script;

use super::{
    connection::{RedisConnection, unexpected_reply},
    event_key, user_key,
};

/// A [`ClaimStore`] in Redis: one hash for each event.
pub struct RedisClaims {
    connection: Arc<RedisConnection>,
    prefix: String,
    terms: Terms,
    claim: Script,
    sending: Script,
    complete: Script,
    give_back: Script,
}

impl RedisClaims {
    /// Keeps claims over `connection`, under keys that begin with `prefix`.
    pub fn new(connection: Arc<RedisConnection>, prefix: &str, terms: Terms) -> Self {
        Self {
            connection,
            prefix: prefix.to_owned(),
            terms,
            claim: Script::new(include_str!("scripts/claim.lua")),
            sending: Script::new(include_str!("scripts/sending.lua")),
            complete: Script::new(include_str!("scripts/complete.lua")),
            give_back: Script::new(include_str!("scripts/give_back.lua")),
        }
    }

    async fn give_back(&self, lease: &Lease, how: &str) -> Result<(), Fault> {
        let mut call = self.give_back.key(event_key(&self.prefix, lease.event_id()));
        call.arg(lease.owner().to_string()).arg(lease.fence()).arg(how);
        // A lease that passed to another owner is no failure: that owner looks after the event.
        self.connection.script::<i64>(&call).await.map(drop)
    }
}

#[async_trait]
impl ClaimStore for RedisClaims {
    async fn claim(
        &self,
        event_id: &EventId,
        user: Option<&UserId>,
        owner: Owner,
    ) -> Result<Claim, Fault> {
        let mut call = self.claim.key(event_key(&self.prefix, event_id));
        call.arg(owner.to_string())
            .arg(milliseconds(self.terms.lease))
            .arg(milliseconds(UNFINISHED_KEPT));
        if let Some((user, limit)) = user.zip(self.terms.user_limit) {
            call.key(user_key(&self.prefix, user));
            call.arg(limit.most).arg(milliseconds(limit.period));
        }
        let reply: Vec<redis::Value> = self.connection.script(&call).await?;
        let (word, numbers) = reply.split_first().ok_or_else(unexpected_reply)?;
        let word: String = value(word)?;
        let numbers = numbers.iter().map(value).collect::<Result<Vec<i64>, Fault>>()?;
        match (word.as_str(), numbers.as_slice()) {
            ("DONE", []) => Ok(Claim::Done),
            ("LIMIT", []) => Ok(Claim::OverLimit),
            ("BUSY", [left]) => {
                Ok(Claim::Busy(Duration::from_millis(u64::try_from(*left).unwrap_or(0))))
            }
            ("FRESH", [fence, unanswered, crashed]) => {
                let unanswered_sends = u32::try_from(*unanswered).unwrap_or(u32::MAX);
                let history = History { unanswered_sends, crashed_sending: *crashed != 0 };
                Ok(Claim::Fresh(adapter::lease(event_id.clone(), owner, *fence, history)))
            }
            _ => Err(unexpected_reply()),
        }
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        let mut call = self.sending.key(event_key(&self.prefix, lease.event_id()));
        call.arg(lease.owner().to_string()).arg(lease.fence());
        call.arg(milliseconds(self.terms.sending)).arg(milliseconds(UNFINISHED_KEPT));
        match self.connection.script::<i64>(&call).await {
            Ok(ours) => Ok((ours == 1).then(|| adapter::sending(lease))),
            Err(fault) => Err((lease, fault)),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        let lease = sending.lease();
        let mut call = self.complete.key(event_key(&self.prefix, lease.event_id()));
        call.arg(lease.owner().to_string())
            .arg(lease.fence())
            .arg(milliseconds(self.terms.done))
            .arg(receipt);
        match self.connection.script::<String>(&call).await?.as_str() {
            "RECORDED" => Ok(Completion::Recorded),
            "LATE" => Ok(Completion::Late),
            "ALREADY" => Ok(Completion::Already),
            _ => Err(unexpected_reply()),
        }
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        self.give_back(&lease, "free").await
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        self.give_back(sending.lease(), "doubt").await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.connection.ready().await
    }
}

fn value<T: redis::FromRedisValue>(value: &redis::Value) -> Result<T, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| unexpected_reply())
}
