//! Traffic: people who ask for codes at a steady rate, and WorkOS, which posts each event until it
//! is accepted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::clock::Clock;
use sandbox::{
    inbox::Inbox,
    readable,
    workos::{MagicAuth, StandIn, post},
};
use secrecy::SecretString;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::interval,
};
use tokio_util::sync::CancellationToken;

use super::{app::SECRET, in_time};

/// How long WorkOS waits here before it posts again what was not accepted.
const AGAIN: Duration = Duration::from_millis(250);

/// Running traffic, stopped by [`Load::end`].
pub struct Load {
    counts: Arc<Counts>,
    stop: CancellationToken,
    task: JoinHandle<Vec<MagicAuth>>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
}

/// The place that webhooks are posted to.
#[derive(Clone)]
pub struct Sender {
    pub workos: Arc<StandIn>,
    pub urls: Vec<String>,
    pub clock: Arc<dyn Clock>,
}

impl Load {
    /// So many people a second, each with an address of their own.
    pub fn start(sender: Sender, per_second: u32) -> Self {
        let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
        let task = tokio::spawn(ask(sender, per_second, Arc::clone(&counts), stop.clone()));
        Self { counts, stop, task }
    }

    /// People who asked for a code so far.
    pub fn asked(&self) -> u64 {
        self.counts.asked.load(Ordering::Relaxed)
    }

    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Posts answered with 503 so far.
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Stops the traffic; returns everybody's codes once all are accepted.
    pub async fn end(self) -> Asked {
        self.stop.cancel();
        let made = in_time("everything is accepted", self.task).await.expect("no panic");
        Asked {
            made,
            in_doubt: self.counts.refused.load(Ordering::Relaxed)
                + self.counts.unanswered.load(Ordering::Relaxed),
        }
    }
}

async fn ask(
    sender: Sender,
    per_second: u32,
    counts: Arc<Counts>,
    stop: CancellationToken,
) -> Vec<MagicAuth> {
    let mut pace = interval(Duration::from_secs(1) / per_second);
    let mut asking = JoinSet::new();
    let mut turn = sender.urls.iter().cycle();
    while stop.run_until_cancelled(pace.tick()).await.is_some() {
        let made = sender.workos.make_code(
            &format!("{}@example.com", runtime::random::ulid(sender.clock.now())).to_lowercase(),
        );
        let url = turn.next().expect("a URL").clone();
        counts.asked.fetch_add(1, Ordering::Relaxed);
        asking.spawn(post_until_accepted(sender.clone(), url, made, Arc::clone(&counts)));
    }
    asking.join_all().await
}

async fn post_until_accepted(
    sender: Sender,
    url: String,
    made: MagicAuth,
    counts: Arc<Counts>,
) -> MagicAuth {
    let mut again = interval(AGAIN);
    let (event, secret) = (made.event(), SecretString::from(SECRET.to_owned()));
    loop {
        again.tick().await;
        match post(&url, &secret, &event, sender.clock.now()).await {
            Ok(posted) if posted.status == 200 => break,
            Ok(posted) => {
                assert!(posted.status == 503 && posted.retry_after.is_some(), "{posted:?}");
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                counts.unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    counts.accepted.fetch_add(1, Ordering::Relaxed);
    made
}

/// Everybody who asked for a code.
pub struct Asked {
    pub made: Vec<MagicAuth>,
    /// Posts not answered 200, which may have been stored all the same.
    pub in_doubt: u64,
}

/// What the relay has for those who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// People who got no mail.
    pub without: usize,
    /// Mails sent beyond the first of each person.
    pub extra: u64,
}

impl Asked {
    /// Looks everybody up at the relay. A mail with another's code, or a copy with another
    /// Message-ID, fails at once.
    pub fn account(&self, inbox: &Inbox) -> Account {
        let mut received: BTreeMap<String, Vec<(Option<String>, String)>> = BTreeMap::new();
        for mail in inbox.mails() {
            let read = readable::read(&mail.raw).expect("a mail");
            received
                .entry(mail.to)
                .or_default()
                .push((read.code().map(str::to_owned), read.message_id));
        }
        let mut account = Account { without: 0, extra: 0 };
        for made in &self.made {
            let Some(copies) = received.get(&made.email) else {
                account.without += 1;
                continue;
            };
            for (code, message_id) in copies {
                assert_eq!(
                    code.as_deref(),
                    Some(made.code.as_str()),
                    "{} got another's code",
                    made.email
                );
                assert_eq!(message_id, &copies[0].1, "copies of one mail bear one Message-ID");
            }
            account.extra += copies.len() as u64 - 1;
        }
        account
    }
}
