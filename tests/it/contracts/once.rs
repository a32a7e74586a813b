//! What every store of spent words must do.

use std::{sync::Arc, time::Duration};

use sandbox::clock::ManualClock;
use secrecy::SecretString;
use shared::{
    clock::{Clock as _, SystemClock},
    dedupe::{
        once::{EmbeddedOnce, Once, RedisOnce},
        redis_link::RedisLink,
    },
    sqlite::Store,
};

use crate::harness::{app, eventually, services::Services};

/// One store under test. Redis keeps its own time; the embedded engine's words end by the clock.
struct Subject {
    store: Arc<dyn Once>,
    clock: Option<Arc<ManualClock>>,
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let store = EmbeddedOnce::new(Store::open(folder.path()).expect("opens"), clock.clone());
        Self { store: Arc::new(store), clock: Some(clock), _folder: Some(folder) }
    }

    fn redis() -> Self {
        let url = SecretString::from(Services::shared().redis_url().to_owned());
        let store = RedisOnce::new(Arc::new(RedisLink::new(&url, None).expect("a URL")), &app::fresh_prefix());
        Self { store: Arc::new(store), clock: None, _folder: None }
    }

    async fn spend(&self, word: &str) -> bool {
        self.store.spend(word, KEEP).await.expect("answers")
    }
}

const KEEP: Duration = Duration::from_millis(1500);

async fn one_of_many_spends_it(subject: Subject) {
    let spent = futures_util::future::join_all((0..50).map(|_| subject.spend("word"))).await;
    assert_eq!(spent.iter().filter(|spent| **spent).count(), 1);
}

async fn words_do_not_meet(subject: Subject) {
    assert_eq!(subject.store.is_spent("one").await, Ok(false));
    assert!(subject.spend("one").await && subject.spend("two").await);
    assert!(!subject.spend("one").await && !subject.spend("two").await);
    assert_eq!((subject.store.is_spent("one").await, subject.store.is_spent("three").await), (Ok(true), Ok(false)));
}

async fn a_word_is_forgotten_in_the_end(subject: Subject) {
    assert!(subject.spend("word").await);
    if let Some(clock) = &subject.clock {
        clock.advance(jiff::SignedDuration::try_from(KEEP).expect("short"));
    }
    eventually("it is no longer spent", async || (subject.store.is_spent("word").await == Ok(false)).then_some(())).await;
    // Each look that finds it spent must not make it live longer.
    eventually("the word is forgotten", async || subject.spend("word").await.then_some(())).await;
}

macro_rules! contract {
    ($($name:ident,)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $name() { super::$name(super::Subject::embedded()).await; })*
        }
        mod redis {
            $(#[tokio::test]
            #[ignore = "needs Redis: ./scripts/test"]
            async fn $name() { super::$name(super::Subject::redis()).await; })*
        }
    };
}

contract! {
    one_of_many_spends_it,
    words_do_not_meet,
    a_word_is_forgotten_in_the_end,
}
