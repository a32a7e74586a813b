//! The languages of people's browsers, in Redis.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    clock::milliseconds,
    fault::Fault,
    ids::UserId,
    language::{LanguageTag, SeenLanguages, UserLanguages},
};

use super::connection::RedisConnection;
use crate::LANGUAGES_KEPT;

/// [`SeenLanguages`] in Redis: one key for each user.
pub struct RedisLanguages {
    connection: Arc<RedisConnection>,
    prefix: String,
}

impl RedisLanguages {
    /// Remembers over `connection`, under keys that begin with `prefix`.
    pub fn new(connection: Arc<RedisConnection>, prefix: &str) -> Self {
        Self { connection, prefix: prefix.to_owned() }
    }

    fn key(&self, user: &UserId) -> String {
        format!("{}:language:{user}", self.prefix)
    }
}

#[async_trait]
impl UserLanguages for RedisLanguages {
    async fn language(&self, user: &UserId) -> Result<Option<LanguageTag>, Fault> {
        let mut get = redis::cmd("GET");
        get.arg(self.key(user));
        let found: Option<String> = self.connection.command(&get).await?;
        Ok(found.and_then(|text| LanguageTag::parse(&text).ok()))
    }
}

#[async_trait]
impl SeenLanguages for RedisLanguages {
    async fn note(&self, user: &UserId, language: &LanguageTag) -> Result<(), Fault> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(user)).arg(language.as_str()).arg("PX").arg(milliseconds(LANGUAGES_KEPT));
        self.connection.command(&set).await
    }
}
