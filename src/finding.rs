//! What an examination found: one fact, and what to do about it.

use std::borrow::Cow;

use runtime::terminal::escape;

/// One fact that `doctor` established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    kind: Kind,
    subject: &'static str,
    fact: Cow<'static, str>,
    advice: Option<Cow<'static, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    Note,
    Wrong,
}

impl Finding {
    /// The subject is as it must be.
    pub fn good(subject: &'static str, fact: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Good, subject, fact: fact.into(), advice: None }
    }

    /// Not wrong, but worth knowing.
    pub fn note(
        subject: &'static str,
        fact: impl Into<Cow<'static, str>>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind: Kind::Note, subject, fact: fact.into(), advice: Some(advice.into()) }
    }

    /// A fact that must be fixed, with the advice how.
    pub fn wrong(
        subject: &'static str,
        fact: impl Into<Cow<'static, str>>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind: Kind::Wrong, subject, fact: fact.into(), advice: Some(advice.into()) }
    }

    /// The finding about a number of dead letters.
    pub fn dead_letters(count: u64) -> Self {
        match count {
            0 => Self::good("dead letters", "none"),
            _ => Self::note("dead letters", count.to_string(), "see `authpost dead list`"),
        }
    }

    /// Whether it must be fixed.
    pub fn is_wrong(&self) -> bool {
        self.kind == Kind::Wrong
    }

    /// One line for a terminal.
    pub fn line(&self) -> String {
        let word = match self.kind {
            Kind::Good => "ok   ",
            Kind::Note => "note ",
            Kind::Wrong => "WRONG",
        };
        let advice = self.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
        format!("{word}  {:<14} {}{}", self.subject, escape(&self.fact), escape(&advice))
    }
}
