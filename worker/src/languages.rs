//! Where the language of a person comes from. A mail goes out without it as well.

use std::{sync::Arc, time::Duration};

use domain::{
    ids::UserId,
    language::{LanguageTag, UserLanguages},
};
use futures_util::future::join_all;
use tokio::time::timeout;

/// Longest wait for one source, while the code is fetched.
const LIMIT: Duration = Duration::from_millis(800);

/// Sources of languages, the one to believe first.
#[derive(Clone, Default)]
pub struct LanguageSources(Vec<Arc<dyn UserLanguages>>);

impl LanguageSources {
    /// Asks these sources, all at once.
    pub fn new(sources: Vec<Arc<dyn UserLanguages>>) -> Self {
        Self(sources)
    }

    /// The languages of this person, the likeliest first.
    pub async fn of(&self, user: Option<&UserId>) -> Vec<LanguageTag> {
        let Some(user) = user else { return Vec::new() };
        let answers = self.0.iter().map(|source| timeout(LIMIT, source.language(user)));
        let mut languages = Vec::new();
        for answer in join_all(answers).await {
            match answer {
                Ok(Ok(language)) => languages.extend(language),
                Ok(Err(fault)) => {
                    tracing::debug!(user_id = %user, %fault, "cannot look up a user's language");
                }
                Err(_) => tracing::debug!(user_id = %user, "a user's language comes too late"),
            }
        }
        languages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use domain::fault::{Fault, Reason};
    use tokio::time::Instant;

    enum Source {
        Knows(&'static str),
        KnowsNothing,
        Fails,
        NeverAnswers,
    }

    #[async_trait]
    impl UserLanguages for Source {
        async fn language(&self, _: &UserId) -> Result<Option<LanguageTag>, Fault> {
            match self {
                Self::Knows(tag) => Ok(LanguageTag::parse(tag).ok()),
                Self::KnowsNothing => Ok(None),
                Self::Fails => Err(Fault::transient(Reason::WorkosUnavailable, "down")),
                Self::NeverAnswers => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_costs_the_language_and_no_time() {
        use Source::{Fails, Knows, KnowsNothing, NeverAnswers};
        let user = UserId::parse("user_1").expect("valid");
        for (sources, tags, took) in [
            (vec![Knows("de"), Knows("fr")], vec!["de", "fr"], 0),
            (vec![KnowsNothing, Knows("fr")], vec!["fr"], 0),
            (vec![Fails, Knows("fr")], vec!["fr"], 0),
            (vec![NeverAnswers, Knows("fr")], vec!["fr"], 800),
            (vec![NeverAnswers, NeverAnswers], vec![], 800),
        ] {
            let sources = sources.into_iter().map(|it| Arc::new(it) as Arc<dyn UserLanguages>);
            let (sources, begun) = (LanguageSources::new(sources.collect()), Instant::now());
            let found = sources.of(Some(&user)).await;
            let found: Vec<&str> = found.iter().map(LanguageTag::as_str).collect();
            assert_eq!((found, begun.elapsed().as_millis()), (tags, took));
        }
    }
}
