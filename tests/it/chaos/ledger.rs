//! The final accounting: what became of every event that was answered 200.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use domain::queue::Capacity;
use engine::rabbitmq::Names;

use super::stage::Stage;
use crate::harness::{
    eventually,
    load::Asked,
    queues::{ready_in, waiting_queues},
};

/// `accepted = sent + expired + dead + waiting`, with duplicates beside it: they are events that
/// somebody posted, or the broker handed out, twice.
#[derive(Debug, Default)]
pub struct Ledger {
    accepted: usize,
    sent: usize,
    expired: usize,
    dead: usize,
    lost: Vec<String>,
    waiting: u32,
    duplicates: usize,
    /// Mails beyond the first, and how many of those events were not counted as doubtful.
    extra: u64,
    unexplained: Vec<String>,
    dead_letters: usize,
    panics: usize,
}

impl Ledger {
    /// Waits until nothing waits, and counts.
    pub async fn close(stage: &Stage, asked: &Asked) -> Self {
        let url = stage.services.amqp_url();
        let empty = async || ready_in(url, waiting_queues(&stage.prefix)).await == 0;
        let idle = async || empty().await && stage.in_hand().await == 0 && empty().await;
        eventually("nothing waits", async || idle().await.then_some(())).await;
        let log = std::fs::read_to_string(stage.world.log()).expect("a log");
        let notes = Notes::read(&log);
        let mut ledger = Self {
            accepted: asked.made.len(),
            panics: log.matches("panicked").count(),
            ..Self::default()
        };
        ledger.waiting = ready_in(url, waiting_queues(&stage.prefix)).await;
        ledger.dead_letters = usize::try_from(
            ready_in(url, [Names::new(&stage.prefix, Capacity::default()).dead()]).await,
        )
        .expect("few");
        let mut copies: BTreeMap<String, u64> = BTreeMap::new();
        stage
            .world
            .inbox
            .mails()
            .into_iter()
            .for_each(|mail| *copies.entry(mail.to).or_default() += 1);
        for made in &asked.made {
            let ended = |outcome: &str| {
                notes.endings.get(&made.event_id).is_some_and(|endings| endings.contains(outcome))
            };
            ledger.duplicates += usize::from(ended("duplicate"));
            match copies.get(&made.email) {
                Some(count) => {
                    ledger.sent += 1;
                    ledger.extra += count - 1;
                    if *count > 1 && !notes.doubtful.contains(&made.event_id) {
                        ledger.unexplained.push(made.event_id.clone());
                    }
                }
                None if ended("dead") => ledger.dead += 1,
                None if ended("expired") => ledger.expired += 1,
                None => ledger.lost.push(made.event_id.clone()),
            }
        }
        // Wrong codes and strange Message-IDs fail in here.
        asked.account(&stage.world.inbox);
        ledger
    }

    pub fn balances(&self) -> bool {
        let total = self.sent + self.expired + self.dead;
        self.lost.is_empty()
            && self.unexplained.is_empty()
            && self.waiting == 0
            && self.panics == 0
            && self.accepted == total
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            sent,
            expired,
            dead,
            lost,
            waiting,
            duplicates,
            extra,
            unexplained,
            dead_letters,
            panics,
        } = self;
        write!(
            f,
            "accepted {accepted} = sent {sent} + expired {expired} + dead {dead} + waiting \
             {waiting}, lost {}; {duplicates} seen as duplicates, {extra} second mails ({} \
             unexplained), {dead_letters} dead letters, {panics} panics",
            lost.len(),
            unexplained.len()
        )?;
        if lost.is_empty() && unexplained.is_empty() {
            Ok(())
        } else {
            write!(f, "; lost {lost:?}, unexplained {unexplained:?}")
        }
    }
}

/// What the programs' logs say of each event.
#[derive(Default)]
struct Notes {
    endings: BTreeMap<String, BTreeSet<String>>,
    doubtful: BTreeSet<String>,
}

impl Notes {
    fn read(log: &str) -> Self {
        let mut notes = Self::default();
        // A process that was killed may have left half a line.
        for line in
            log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        {
            let Some(event_id) = line["event_id"].as_str() else { continue };
            if let Some(outcome) = line["outcome"].as_str() {
                notes.endings.entry(event_id.to_owned()).or_default().insert(outcome.to_owned());
            }
            if line["doubt"].is_string() {
                notes.doubtful.insert(event_id.to_owned());
            }
        }
        notes
    }
}
