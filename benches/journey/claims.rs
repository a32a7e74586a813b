//! What claims cost Redis: the time it spends in their scripts, by its own account.

use std::{io::Write as _, sync::Arc, time::Duration};

use domain::claims::{
    Claim, ClaimStore, Completion, Lease, Limit, Owners, Sending, Subject, Terms,
};
use engine::redis::{RedisClaims, RedisConfig, RedisConnection};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::{Services, fresh_prefix, harness::settings};

/// Events of one round, two of each user.
const EVENTS: i64 = 20_000;

/// Calls that are under way at once.
const AT_ONCE: usize = 64;

const ROUNDS: usize = 9;

/// Prints the median time of each script in Redis, in microseconds.
pub async fn measure(services: &Services) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(services).await);
    }
    for (index, step) in ["claim", "announcement", "completion"].into_iter().enumerate() {
        let mut times: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
        times.sort_by(f64::total_cmp);
        let median = times[ROUNDS / 2];
        writeln!(std::io::stdout(), "{step}: {median:.1} us").expect("somebody reads");
    }
}

async fn round(services: &Services) -> [f64; 3] {
    let url = secrecy::SecretString::from(services.redis_url().to_owned());
    let config = RedisConfig::parse(&url, &settings::trust()).expect("valid");
    let connection = Arc::new(RedisConnection::new(&config, &fresh_prefix()));
    let terms = Terms {
        lease: Duration::from_secs(45),
        sending: Duration::from_secs(100),
        done: Duration::from_secs(3 * 24 * 3600),
        user_limit: Some(Limit { most: 10, period: Duration::from_secs(600) }),
        mail_limit: None,
    };
    let store = RedisClaims::new(connection, terms);
    let (store, owners) = (&store, Owners::new(1));
    let start = spent(services).await;
    let leases: Vec<Lease> = stream::iter(0..EVENTS)
        .map(|n| {
            let owner = owners.next();
            async move {
                match store.claim(&subject(n), owner).await.expect("answers") {
                    Claim::Fresh(lease) => lease,
                    other => panic!("{other:?}"),
                }
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let claimed = spent(services).await;
    let announced: Vec<Sending> = stream::iter(leases)
        .map(|lease| async {
            store.sending(lease).await.expect("answers").sending().expect("ours")
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let sending = spent(services).await;
    stream::iter(announced)
        .map(|sending| async move { store.complete(&sending, "4Zx1").await.expect("answers") })
        .buffered(AT_ONCE)
        .for_each(async |completion| assert_eq!(completion, Completion::Recorded))
        .await;
    let completed = spent(services).await;
    [(start, claimed), (claimed, sending), (sending, completed)]
        .map(|(before, after)| (after.0 - before.0) / (after.1 - before.1))
}

fn subject(n: i64) -> Subject {
    let created = Timestamp::from_millisecond(1_764_195_000_000 + n).expect("a time");
    let (name, user) = (format!("{n:08}"), format!("{:08}", n / 2));
    let event = Arc::new(sandbox::events::event_of(&name, &user, created));
    // Calls that are under way at once may change places.
    Subject { event, attempt: 1, gives_way: false }
}

/// Microseconds spent in scripts, and calls of them.
async fn spent(services: &Services) -> (f64, f64) {
    let client = redis::Client::open(services.redis_url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("connects");
    let info: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut redis).await.expect("answers");
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let number = |name: &str| {
        let found = line.and_then(|line| line.split(',').find_map(|part| part.strip_prefix(name)));
        found.map_or(0.0, |text| text.parse().expect("a number"))
    };
    (number("usec="), number("calls="))
}
