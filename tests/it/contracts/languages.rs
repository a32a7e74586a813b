//! What every memory of browsers' languages must do.

use std::sync::Arc;

use domain::{
    clock::Clock as _,
    ids::UserId,
    language::{LanguageTag, SeenLanguages, UserLanguages as _},
};
use engine::{embedded::EmbeddedLanguages, redis::RedisLanguages, sqlite::Store};
use jiff::SignedDuration;
use runtime::clock::SystemClock;
use sandbox::clock::ManualClock;

use super::redis;

fn user(id: &str) -> UserId {
    UserId::parse(id).expect("valid")
}

fn tag(text: &str) -> LanguageTag {
    LanguageTag::parse(text).expect("a tag")
}

async fn the_last_language_of_each_person(memory: &dyn SeenLanguages) {
    assert_eq!(memory.language(&user("user_1")).await, Ok(None));
    for language in ["de-AT", "pt-BR"] {
        assert_eq!(memory.note(&user("user_1"), &tag(language)).await, Ok(()));
    }
    assert_eq!(memory.note(&user("user_2"), &tag("fr")).await, Ok(()));
    assert_eq!(memory.language(&user("user_1")).await, Ok(Some(tag("pt-BR"))));
    assert_eq!(memory.language(&user("user_2")).await, Ok(Some(tag("fr"))));
}

#[tokio::test]
async fn in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let store = Store::open(folder.path()).expect("opens");
    let memory = EmbeddedLanguages::new(store, clock.clone());
    the_last_language_of_each_person(&memory).await;
    clock.advance(SignedDuration::from_hours(90 * 24));
    assert_eq!(memory.language(&user("user_1")).await, Ok(None), "after 90 days");
}

#[tokio::test]
#[ignore = "needs Redis: ./scripts/test"]
async fn in_redis() {
    the_last_language_of_each_person(&RedisLanguages::new(Arc::new(redis()))).await;
}
