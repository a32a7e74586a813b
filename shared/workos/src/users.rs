//! The language of a person, as WorkOS knows it
//! (<https://workos.com/docs/reference/authkit/user>). A mail can do without it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    fault::{Fault, Reason},
    ids::UserId,
    language::{LanguageTag, UserLanguages},
};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::{
    answer,
    api::{self, Api},
    gate::Gate,
};

/// Longest wait for WorkOS: a person waits for the code, not for its language.
const LIMIT: Duration = Duration::from_millis(800);

/// How long nothing is read after a failure. Otherwise an API that is slow in this alone would
/// delay every mail.
const PAUSE: Duration = Duration::from_secs(30);

/// Most answers that are remembered.
const MOST: usize = 20_000;

/// Reads people's languages, within what the codes leave of the rate limit.
pub struct WorkosUsers {
    api: Arc<Api>,
    gate: Arc<Gate>,
    remembered: Duration,
    known: Mutex<HashMap<UserId, (Instant, Option<LanguageTag>)>>,
    paused_until: Mutex<Instant>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    locale: serde_json::Value,
}

impl WorkosUsers {
    pub(super) fn new(api: Arc<Api>, gate: Arc<Gate>, remembered: Duration) -> Self {
        let (known, paused_until) = (Mutex::default(), Mutex::new(Instant::now()));
        Self { api, gate, remembered, known, paused_until }
    }

    async fn read(&self, user: &UserId) -> Result<Option<LanguageTag>, Fault> {
        // The alphabet of ids needs no escaping.
        let response = self.api.get(&format!("/user_management/users/{user}")).await?;
        let refused = answer::refusal(response.status(), None);
        if let Some(fault) = refused {
            return Err(fault);
        }
        let user: User = serde_json::from_slice(&api::body(response).await?)
            .map_err(|_| Fault::doubtful(Reason::WorkosBadAnswer, "the answer is not a user"))?;
        // Free text: what is no language is as good as none.
        Ok(user.locale.as_str().and_then(|text| LanguageTag::parse(text).ok()))
    }

    fn remember(&self, user: &UserId, language: Option<&LanguageTag>) {
        let (mut known, now) = (self.known.lock(), Instant::now());
        if known.len() >= MOST {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(user.clone(), (now + self.remembered, language.cloned()));
    }
}

#[async_trait]
impl UserLanguages for WorkosUsers {
    async fn language(&self, user: &UserId) -> Result<Option<LanguageTag>, Fault> {
        let now = Instant::now();
        if let Some((_, language)) = self.known.lock().get(user).filter(|(until, _)| *until > now) {
            return Ok(language.clone());
        }
        if now < *self.paused_until.lock() || !self.gate.enter_if_quiet() {
            return Ok(None);
        }
        let read = timeout(LIMIT, self.read(user)).await;
        match read.unwrap_or_else(|_| Err(answer::unreachable("no answer in time"))) {
            Ok(language) => {
                self.remember(user, language.as_ref());
                Ok(language)
            }
            // Deleted since, or of another environment.
            Err(fault) if fault.reason == Reason::NotFound => {
                self.remember(user, None);
                Ok(None)
            }
            Err(fault) => {
                *self.paused_until.lock() = Instant::now() + PAUSE;
                Err(fault)
            }
        }
    }
}
