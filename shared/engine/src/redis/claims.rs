//! Claims in Redis.
//!
//! One hash for each event, changed by scripts that run atomically on the server and read the
//! server's clock, so replicas need not agree on the time.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, GivenBack, History, Lease, Limit, Next, Owner,
        Sending, Subject, Terms, UNFINISHED_KEPT, adapter,
        users::{GIVES_WAY_UNTIL, USER_KEPT},
    },
    clock::milliseconds,
    fault::Fault,
    records::DEAD_KEPT,
};

use super::{
    accepted::{add_facts, with_create},
    call::{Call, Script},
    connection::RedisConnection,
    event_key, index, mails_key,
    probe::probe,
    refusal::unexpected_reply,
    user_key,
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
    withdraw: Script,
}

impl RedisClaims {
    /// Keeps claims for `terms`, over `connection`.
    pub fn new(connection: Arc<RedisConnection>, terms: Terms) -> Self {
        Self {
            prefix: connection.prefix().to_owned(),
            connection,
            terms,
            claim: with_create(include_str!("scripts/claim.lua")),
            sending: Script::new(include_str!("scripts/sending.lua")),
            complete: Script::new(include_str!("scripts/complete.lua")),
            give_back: with_create(include_str!("scripts/give_back.lua")),
            withdraw: Script::new(include_str!("scripts/withdraw.lua")),
        }
    }

    /// How long what is known of a user is kept.
    fn user_kept(&self) -> u64 {
        let period = self.terms.user_limit.map(|limit| limit.period).unwrap_or_default();
        milliseconds(period.max(USER_KEPT))
    }

    async fn give_back(
        &self,
        lease: &Lease,
        unanswered: bool,
        GivenBack { next, failure }: &GivenBack,
    ) -> Result<(), Fault> {
        let mut call = self.give_back.key(event_key(&self.prefix, lease.event_id()));
        if *next == Next::DeadLetter {
            let [by_object, by_user] = index::of_dead(&self.prefix, lease.subject());
            call.key(by_object);
            if lease.subject().user().is_some() {
                call.key(by_user);
            }
        }
        let created = lease.subject().created();
        let next_at = next.retry_at().map(|at| (at.as_millisecond() - created).to_string());
        call.arg(lease.owner().to_string())
            .arg(lease.fence())
            .arg(next.state())
            .arg(u8::from(unanswered))
            .arg(failure)
            .arg(next_at.unwrap_or_default())
            .arg(milliseconds(DEAD_KEPT));
        // A lease that passed to another owner is no failure: that owner looks after the event.
        self.connection.call::<i64>(&call).await.map(drop)
    }

    /// The keys and arguments of `scripts/claim.lua`.
    fn asking(&self, subject: &Subject, owner: Owner) -> Call<'_> {
        let Terms { lease, sending, done, user_limit, mail_limit } = self.terms;
        let event = &subject.event;
        let [by_object, by_user] = index::of(&self.prefix, event);
        let mut call = self.claim.key(event_key(&self.prefix, &event.event_id));
        call.key(by_object).key(by_user);
        call.arg(owner.to_string())
            .arg(milliseconds(lease))
            .arg(milliseconds(done.max(lease + sending + UNFINISHED_KEPT)))
            .arg(subject.attempt);
        add_facts(call.words(), event, event.received_at);
        if let Some(user) = subject.user() {
            call.key(user_key(&self.prefix, user));
            call.arg(u8::from(subject.gives_way)).arg(self.user_kept());
            call.arg(user_limit.map_or(0, Limit::interval));
            call.arg(user_limit.map_or(0, |limit| milliseconds(limit.period)));
            call.arg(milliseconds(DEAD_KEPT)).arg(milliseconds(GIVES_WAY_UNTIL));
            if let Some(limit) = mail_limit {
                call.key(mails_key(&self.prefix));
                call.arg(limit.interval()).arg(milliseconds(limit.period));
            }
        }
        call
    }
}

#[async_trait]
impl ClaimStore for RedisClaims {
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault> {
        let call = self.asking(subject, owner);
        let reply: Vec<redis::Value> = self.connection.call(&call).await?;
        let (word, numbers) = reply.split_first().ok_or_else(unexpected_reply)?;
        let word: String = value(word)?;
        let numbers = numbers.iter().map(value).collect::<Result<Vec<i64>, Fault>>()?;
        match (word.as_str(), numbers.as_slice()) {
            ("DONE", []) => Ok(Claim::Done),
            ("SUPERSEDED", []) => Ok(Claim::Superseded),
            ("GIVES_WAY", []) => Ok(Claim::GivesWay),
            ("LIMIT", []) => Ok(Claim::OverLimit),
            ("HELD", [wait]) => Ok(Claim::Held(time(*wait))),
            ("BUSY", [left]) => Ok(Claim::Busy(time(*left))),
            ("FRESH", [fence, unanswered, crashed]) => {
                let unanswered_sends = u32::try_from(*unanswered).unwrap_or(u32::MAX);
                let history = History { unanswered_sends, crashed_sending: *crashed != 0 };
                Ok(Claim::Fresh(adapter::lease(subject.clone(), owner, *fence, history)))
            }
            _ => Err(unexpected_reply()),
        }
    }

    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        let mut call = self.sending.key(event_key(&self.prefix, lease.event_id()));
        call.arg(lease.owner().to_string()).arg(lease.fence());
        call.arg(milliseconds(self.terms.sending));
        if let Some(user) = lease.subject().user() {
            call.key(user_key(&self.prefix, user));
            call.arg(lease.subject().created()).arg(milliseconds(self.terms.done));
        }
        match self.connection.call::<i64>(&call).await {
            Ok(1) => Ok(Announced::Sending(adapter::sending(lease))),
            Ok(2) => Ok(Announced::Superseded),
            Ok(_) => Ok(Announced::Lost),
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
        if let Some(user) = lease.subject().user() {
            call.key(user_key(&self.prefix, user));
            call.arg(lease.subject().created()).arg(self.user_kept());
        }
        match self.connection.call::<String>(&call).await?.as_str() {
            "RECORDED" => Ok(Completion::Recorded),
            "LATE" => Ok(Completion::Late),
            "ALREADY" => Ok(Completion::Already),
            _ => Err(unexpected_reply()),
        }
    }

    async fn release(&self, lease: Lease, then: &GivenBack) -> Result<(), Fault> {
        self.give_back(&lease, false, then).await
    }

    async fn doubt(&self, sending: Sending, then: &GivenBack) -> Result<(), Fault> {
        self.give_back(sending.lease(), true, then).await
    }

    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault> {
        let Some(user) = subject.user() else { return Ok(()) };
        let mut call = self.withdraw.key(user_key(&self.prefix, user));
        call.arg(subject.created());
        self.connection.call::<i64>(&call).await.map(drop)
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        // At once: a server may be far away.
        let (ready, probed) = tokio::join!(self.connection.ready(), probe(&self.connection));
        ready?;
        probed.map_err(|fault| fault.detail)
    }
}

fn time(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

fn value<T: redis::FromRedisValue>(value: &redis::Value) -> Result<T, Fault> {
    redis::from_redis_value_ref(value).map_err(|_| unexpected_reply())
}
