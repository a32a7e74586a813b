//! The languages of people's browsers, in the embedded engine's file.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    clock::{Clock, milliseconds_after},
    fault::Fault,
    ids::UserId,
    language::{LanguageTag, SeenLanguages, UserLanguages},
};
use rusqlite::{OptionalExtension as _, params};

use crate::{LANGUAGES_KEPT, sqlite::Store};

/// [`SeenLanguages`] in the SQLite file.
pub struct EmbeddedLanguages {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedLanguages {
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl UserLanguages for EmbeddedLanguages {
    async fn language(&self, user: &UserId) -> Result<Option<LanguageTag>, Fault> {
        let (key, now) = (user.to_string(), self.clock.now().as_millisecond());
        let sql = "SELECT tag FROM languages WHERE user_id = ?1 AND gone_ms > ?2";
        let found: Option<String> = self
            .store
            .run(move |connection| {
                let mut statement = connection.prepare_cached(sql)?;
                statement.query_row(params![key, now], |row| row.get(0)).optional()
            })
            .await?;
        Ok(found.and_then(|text| LanguageTag::parse(&text).ok()))
    }
}

#[async_trait]
impl SeenLanguages for EmbeddedLanguages {
    async fn note(&self, user: &UserId, language: &LanguageTag) -> Result<(), Fault> {
        let (key, tag, now) = (user.to_string(), language.to_string(), self.clock.now());
        let gone = milliseconds_after(now.as_millisecond(), LANGUAGES_KEPT);
        let sql = "INSERT INTO languages (user_id, tag, gone_ms) VALUES (?1, ?2, ?3)
                   ON CONFLICT (user_id) DO UPDATE SET tag = ?2, gone_ms = ?3";
        self.store
            .run(move |connection| {
                connection.prepare_cached(sql)?.execute(params![key, tag, gone]).map(drop)
            })
            .await
    }
}
