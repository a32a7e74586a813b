//! What every store of nonces must do.

use std::{sync::Arc, time::Duration};

use domain::{clock::Clock as _, nonces::NonceStore};
use engine::{embedded::EmbeddedNonces, redis::RedisNonces, sqlite::Store};
use runtime::clock::SystemClock;
use sandbox::clock::ManualClock;

use super::redis;
use crate::harness::eventually;

/// One store under test. Redis keeps its own time; nonces of the embedded engine expire by the
/// clock.
struct Subject {
    store: Arc<dyn NonceStore>,
    clock: Option<Arc<ManualClock>>,
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let store = EmbeddedNonces::new(Store::open(folder.path()).expect("opens"), clock.clone());
        Self { store: Arc::new(store), clock: Some(clock), _folder: Some(folder) }
    }

    fn redis() -> Self {
        let store = RedisNonces::new(Arc::new(redis()));
        Self { store: Arc::new(store), clock: None, _folder: None }
    }

    async fn consume(&self, nonce: &str) -> bool {
        self.store.consume(nonce, KEEP).await.expect("answers")
    }
}

const KEEP: Duration = Duration::from_millis(1500);

async fn one_of_many_consumes_it(subject: Subject) {
    let consumed = futures_util::future::join_all((0..50).map(|_| subject.consume("nonce"))).await;
    assert_eq!(consumed.iter().filter(|first| **first).count(), 1);
}

async fn nonces_do_not_meet(subject: Subject) {
    assert_eq!(subject.store.is_consumed("one").await, Ok(false));
    assert!(subject.consume("one").await && subject.consume("two").await);
    assert!(!subject.consume("one").await && !subject.consume("two").await);
    assert_eq!(
        (subject.store.is_consumed("one").await, subject.store.is_consumed("three").await),
        (Ok(true), Ok(false))
    );
}

async fn a_released_nonce_can_be_consumed_again(subject: Subject) {
    assert_eq!(subject.store.release("nonce").await, Ok(()), "there was none");
    assert!(subject.consume("nonce").await && subject.consume("other").await);
    assert_eq!(subject.store.release("nonce").await, Ok(()));
    assert_eq!(subject.store.is_consumed("nonce").await, Ok(false));
    assert!(subject.consume("nonce").await && !subject.consume("other").await);
}

async fn a_nonce_is_forgotten_in_the_end(subject: Subject) {
    assert!(subject.consume("nonce").await);
    if let Some(clock) = &subject.clock {
        clock.advance(jiff::SignedDuration::try_from(KEEP).expect("short"));
    }
    eventually("it is no longer remembered", async || {
        (subject.store.is_consumed("nonce").await == Ok(false)).then_some(())
    })
    .await;
    // A failed attempt to consume it must not make it live longer.
    eventually("the nonce is forgotten", async || subject.consume("nonce").await.then_some(()))
        .await;
}

macro_rules! contract {
    ($($name:ident,)*) => {
        mod on_file {
            $(#[tokio::test]
            async fn $name() { super::$name(super::Subject::embedded()).await; })*
        }
        mod on_redis {
            $(#[tokio::test]
            #[ignore = "needs Redis: ./scripts/test"]
            async fn $name() { super::$name(super::Subject::redis()).await; })*
        }
    };
}

contract! {
    one_of_many_consumes_it,
    nonces_do_not_meet,
    a_released_nonce_can_be_consumed_again,
    a_nonce_is_forgotten_in_the_end,
}
