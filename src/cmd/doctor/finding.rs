//! One fact, and what follows from it.

use std::borrow::Cow;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    kind: Kind,
    subject: &'static str,
    fact: Cow<'static, str>,
    advice: Option<Cow<'static, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Worth,
    Wrong,
}

impl Finding {
    /// As it must be.
    pub(super) fn good(subject: &'static str, fact: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Good, subject, fact: fact.into(), advice: None }
    }

    /// Not wrong, and worth knowing.
    pub(super) fn note(subject: &'static str, fact: impl Into<Cow<'static, str>>, advice: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Worth, subject, fact: fact.into(), advice: Some(advice.into()) }
    }

    /// To be mended.
    pub(super) fn wrong(subject: &'static str, fact: impl Into<Cow<'static, str>>, advice: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Wrong, subject, fact: fact.into(), advice: Some(advice.into()) }
    }

    pub(super) fn is_wrong(&self) -> bool {
        self.kind == Kind::Wrong
    }

    pub(super) fn line(&self) -> String {
        let word = match self.kind {
            Kind::Good => "ok   ",
            Kind::Worth => "note ",
            Kind::Wrong => "WRONG",
        };
        let advice = self.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
        format!("{word}  {:<14} {}{advice}", self.subject, self.fact)
    }
}
