//! What a server may refuse, and that readiness names it. The least rights that a user needs.

use std::{borrow::Cow, sync::Arc, time::Duration};

use domain::{
    claims::{Claim, ClaimStore as _, GivenBack, Next, Owners, Subject, Terms},
    clock::Clock as _,
    event::QueuedEvent,
    fault::Reason,
    ids::UserId,
    language::{LanguageTag, SeenLanguages as _, UserLanguages as _},
    nonces::NonceStore as _,
    queue::Publish as _,
    records::{Progress, Record, RecordKey, Records as _},
};
use engine::redis::{
    NotingPublisher, RedisClaims, RedisConfig, RedisConnection, RedisLanguages, RedisNonces,
    RedisRecords,
};
use runtime::{clock::SystemClock, metrics::Metrics, tls::Trust};
use secrecy::SecretString;

use super::records::Taken;
use crate::harness::{eventually, redis::order, services::Services};

/// The rights, as docs/OPERATIONS.md has them.
const LEAST: &str = "~authpost:* resetchannels -@all +@connection +evalsha +eval +time +hmget +hget \
                     +hset +hsetnx +hdel +hgetall +hincrby +rpush +lrange +pexpire +pttl +get +set +del +exists";

struct Server {
    services: Services,
    admin: redis::aio::MultiplexedConnection,
}

impl Server {
    async fn start() -> Self {
        let services = Services::private(&["redis"]);
        let client = redis::Client::open(services.redis_url()).expect("a URL");
        let admin = client.get_multiplexed_async_connection().await.expect("connects");
        Self { services, admin }
    }

    async fn order(&mut self, command: &str) {
        order::<redis::Value>(&mut self.admin, command).await.expect(command);
    }

    fn connection(&self, user: &str) -> Arc<RedisConnection> {
        let url = self.services.redis_url().replace("redis://", &format!("redis://{user}"));
        let trust = Trust::load(None).expect("usable");
        let config = RedisConfig::parse(&SecretString::from(url), &trust).expect("a URL");
        Arc::new(RedisConnection::new(&config, "authpost"))
    }

    /// Why claims cannot be made by this user.
    async fn refusal(&self, user: &str) -> Option<String> {
        let claims = RedisClaims::new(self.connection(user), TERMS);
        claims.ready().await.err().map(Cow::into_owned)
    }
}

fn user() -> UserId {
    UserId::parse("user_1").expect("valid")
}

fn subject() -> Subject {
    let event = sandbox::events::event_of("1", "1", SystemClock.now());
    Subject { event: Arc::new(event), attempt: 1, gives_way: true }
}

/// Notes an event as an ingress does.
async fn note(connection: &Arc<RedisConnection>, event: &QueuedEvent) {
    let metrics = Arc::new(Metrics::new("test").expect("declared rightly"));
    let clock = Arc::new(SystemClock);
    let publish =
        NotingPublisher::new(Arc::new(Taken), Arc::clone(connection), clock, Arc::clone(&metrics));
    publish.publish(event).await.expect("published");
    // Notes are written in order, off the way of the answer: dropping the publisher ends the writer.
    drop(publish);
    eventually("the note is written", async || (Arc::strong_count(&metrics) == 1).then_some(()))
        .await;
    assert!(metrics.expose().contains("authpost_records_dropped_total 0"));
}

const TERMS: Terms = Terms {
    lease: Duration::from_secs(30),
    sending: Duration::from_secs(30),
    done: Duration::from_secs(600),
    user_limit: None,
    mail_limit: None,
};

#[tokio::test]
#[ignore = "needs Redis: ./scripts/test"]
async fn what_stands_in_the_way_of_claims_is_named() {
    let mut server = Server::start().await;
    assert_eq!(server.refusal("").await, None);
    server.order("CONFIG SET maxmemory 1").await;
    assert!(server.refusal("").await.expect("full").contains("memory of the server is full"));
    server.order("CONFIG SET maxmemory 0").await;
    server.order("ACL SETUSER elsewhere on >x ~other:* +@all").await;
    server.order("ACL SETUSER unable on >x ~* +@all -@scripting").await;
    for user in ["elsewhere:x@", "unable:x@"] {
        let refusal = server.refusal(user).await.expect(user);
        assert!(refusal.contains("lacks a permission"), "{refusal}");
    }
    assert!(server.refusal("nobody:x@").await.expect("refused").contains("password"));
    server.order("CONFIG SET requirepass hush").await;
    assert!(server.refusal("").await.expect("refused").contains("asks for a password"));
    // So many arguments are too many for somebody who is not known.
    let claims = RedisClaims::new(server.connection(""), TERMS);
    let refused = claims.claim(&subject(), Owners::new(1).next()).await.expect_err("refused");
    assert!(refused.detail.contains("asks for a password"), "{refused}");
    assert_eq!(server.refusal(":hush@").await, None);
}

#[tokio::test]
#[ignore = "needs Redis: ./scripts/test"]
async fn the_least_rights_are_enough() {
    let documented = include_str!("../../../docs/OPERATIONS.md").contains(LEAST);
    assert!(documented, "docs/OPERATIONS.md has other rights than {LEAST}");
    let mut server = Server::start().await;
    server.order(&format!("ACL SETUSER authpost on >x {LEAST}")).await;
    assert_eq!(server.refusal("authpost:x@").await, None);
    use_everything(server.connection("authpost:x@")).await;
}

/// Calls each script and command.
pub async fn use_everything(connection: Arc<RedisConnection>) {
    let user = user();
    let subject = subject();
    let claims = RedisClaims::new(Arc::clone(&connection), TERMS);
    let then = GivenBack::new(Next::DeadLetter, Reason::Ambiguous, "");
    let owners = Owners::new(1);
    for doubt in [true, false] {
        let claim = claims.claim(&subject, owners.next()).await.expect("answers");
        let Claim::Fresh(lease) = claim else { panic!("{claim:?}") };
        let sending = claims.sending(lease).await.expect("answers").sending().expect("ours");
        if doubt {
            claims.doubt(sending, &then).await.expect("answers");
        } else {
            claims.complete(&sending, "id").await.expect("answers");
        }
    }
    claims.withdraw(&subject).await.expect("answers");
    note(&connection, &subject.event).await;
    let records = RedisRecords::new(Arc::clone(&connection), Arc::new(SystemClock));
    let found = records.find(&RecordKey::User(user.clone())).await.expect("answers");
    assert!(
        matches!(found.as_slice(), [Record { progress: Progress::Sent { .. }, .. }]),
        "{found:?}"
    );
    let id = &subject.event.event_id;
    records.clear_doubt(id).await.expect("answers");
    records.lift_limit(id).await.expect("answers");
    records.redriven(std::slice::from_ref(id)).await.expect("answers");
    let nonces = RedisNonces::new(Arc::clone(&connection));
    assert_eq!(nonces.consume("nonce", Duration::from_secs(60)).await, Ok(true));
    assert_eq!(nonces.is_consumed("nonce").await, Ok(true));
    nonces.release("nonce").await.expect("answers");
    let languages = RedisLanguages::new(connection);
    let german = LanguageTag::parse("de").expect("a tag");
    languages.note(&user, &german).await.expect("answers");
    assert_eq!(languages.language(&user).await, Ok(Some(german)));
}
