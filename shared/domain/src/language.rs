//! Tags of languages, as browsers and WorkOS send them.

use std::fmt;

use async_trait::async_trait;

use crate::{fault::Fault, ids::UserId};

/// Longest tag accepted, in bytes.
const MAX_TAG_BYTES: usize = 35;

/// Most languages of an `Accept-Language` header that are looked at.
const MAX_ACCEPTED: usize = 20;

/// Why a text is not the tag of a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the tag of a language, such as de or pt-BR")]
pub struct InvalidLanguage;

/// A language, and perhaps a script and a region (BCP 47): letters, digits and hyphens only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LanguageTag(String);

impl LanguageTag {
    /// Reads a tag. Takes the names of POSIX as well (`pt_BR.UTF-8`), and leaves out extensions
    /// (`ja-u-ca-japanese`).
    pub fn parse(text: &str) -> Result<Self, InvalidLanguage> {
        let text = text.trim();
        let name = text.split(['.', '@']).next().unwrap_or_default();
        if name.len() > MAX_TAG_BYTES {
            return Err(InvalidLanguage);
        }
        let parts: Vec<&str> = name.split(['-', '_']).take_while(|part| part.len() != 1).collect();
        let subtag = |part: &&str| {
            (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let language = parts.first().is_some_and(|part| {
            (2..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphabetic())
        });
        if language && parts.iter().all(subtag) {
            Ok(Self(parts.join("-")))
        } else {
            Err(InvalidLanguage)
        }
    }

    /// The tag that an `Accept-Language` header likes best (RFC 9110, 12.5.4). `None` if it names
    /// none.
    pub fn preferred(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for item in header.split(',').take(MAX_ACCEPTED) {
            let mut parts = item.split(';').map(str::trim);
            let Some(tag) = parts.next().and_then(|text| Self::parse(text).ok()) else { continue };
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            let quality = quality.map_or(Some(1.0), |text| text.parse::<f32>().ok());
            let Some(quality) = quality.filter(|quality| *quality > 0.0) else { continue };
            if best.as_ref().is_none_or(|(so_far, _)| quality > *so_far) {
                best = Some((quality, tag));
            }
        }
        best.map(|(_, tag)| tag)
    }

    /// The language of the product itself.
    pub fn english() -> Self {
        Self("en".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A source of the languages that people read.
#[async_trait]
pub trait UserLanguages: Send + Sync {
    /// The language of this person; `None` if it is not known.
    async fn language(&self, user: &UserId) -> Result<Option<LanguageTag>, Fault>;
}

/// A memory of the languages that people's browsers asked for when they signed in.
#[async_trait]
pub trait SeenLanguages: UserLanguages {
    /// Remembers the language of this person.
    async fn note(&self, user: &UserId, language: &LanguageTag) -> Result<(), Fault>;
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_as_people_write_them() {
        for (text, tag) in [
            ("de", Some("de")),
            (" pt_BR.UTF-8 ", Some("pt-BR")),
            ("zh-Hant-TW", Some("zh-Hant-TW")),
            ("es-419", Some("es-419")),
            ("ja-JP-u-ca-japanese", Some("ja-JP")),
            ("de-AT@euro", Some("de-AT")),
            ("", None),
            ("*", None),
            ("C", None),
            ("419", None),
            ("de-", None),
            ("de\r\nX: 1", None),
            ("German", None),
            ("x-klingon", None),
        ] {
            let parsed = LanguageTag::parse(text).ok();
            assert_eq!(parsed.as_ref().map(LanguageTag::as_str), tag, "{text:?}");
        }
        assert!(LanguageTag::parse(&"de-".repeat(100)).is_err());
    }

    #[test]
    fn a_browser_says_what_it_likes_best() {
        for (header, tag) in [
            ("de-AT,de;q=0.9,en;q=0.8", Some("de-AT")),
            ("en;q=0.5, fr ;q=0.9", Some("fr")),
            ("*;q=0.5", None),
            ("en;q=0, nl;q=0.1", Some("nl")),
            ("de;q=high, it;q=0.2", Some("it")),
            ("", None),
        ] {
            let preferred = LanguageTag::preferred(header);
            assert_eq!(preferred.as_ref().map(LanguageTag::as_str), tag, "{header:?}");
        }
    }
}
