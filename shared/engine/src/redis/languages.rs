//! The languages of people's browsers, in Redis.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    clock::milliseconds,
    fault::Fault,
    ids::UserId,
    language::{LanguageTag, SeenLanguages, UserLanguages},
};

use super::{call::Call, connection::RedisConnection};
use crate::LANGUAGES_KEPT;

/// [`SeenLanguages`] in Redis: one key for each user.
pub struct RedisLanguages {
    connection: Arc<RedisConnection>,
}

impl RedisLanguages {
    /// Remembers the languages of users, over `connection`.
    pub fn new(connection: Arc<RedisConnection>) -> Self {
        Self { connection }
    }

    fn key<'a>(&'a self, user: &'a UserId) -> [&'a str; 3] {
        [self.connection.prefix(), ":language:", user.as_str()]
    }
}

#[async_trait]
impl UserLanguages for RedisLanguages {
    async fn language(&self, user: &UserId) -> Result<Option<LanguageTag>, Fault> {
        let get = Call::command("GET", self.key(user));
        let found: Option<String> = self.connection.call(&get).await?;
        Ok(found.and_then(|text| LanguageTag::parse(&text).ok()))
    }
}

#[async_trait]
impl SeenLanguages for RedisLanguages {
    async fn note(&self, user: &UserId, language: &LanguageTag) -> Result<(), Fault> {
        let mut set = Call::command("SET", self.key(user));
        set.arg(language.as_str()).arg("PX").arg(milliseconds(LANGUAGES_KEPT));
        self.connection.call(&set).await
    }
}
