//! Parses single values, and collects what is wrong with them.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use domain::{address::EmailAddress, webhook::WebhookKeys};
use jiff::{Span, SpanRelativeTo};
use secrecy::{ExposeSecret as _, SecretString};
use worker::mail::message::Sender;

use super::Problems;

/// What a secret must not begin or end with: it was copied with the text around it.
fn wrapping(text: &str) -> Option<&'static str> {
    if text.starts_with('\u{feff}') {
        return Some("begins with a byte order mark: save the file as UTF-8 without one");
    }
    let text = text.trim();
    (text.starts_with(is_quote) && text.ends_with(is_quote)).then_some(QUOTED)
}

const QUOTED: &str = "has quotation marks that are not part of it";

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}')
}

/// The flag of a variable, as all options are named.
pub(super) fn flag(variable: &str) -> String {
    let name = variable.strip_prefix("AUTHPOST_").unwrap_or(variable);
    format!("--{}", name.to_ascii_lowercase().replace('_', "-"))
}

/// Collects problems. Each method returns `None` after noting one, so that all are found in one
/// pass.
#[derive(Default)]
pub(super) struct Reader {
    problems: Vec<(&'static str, String)>,
}

impl Reader {
    pub(super) fn problem(&mut self, variable: &'static str, why: impl Into<String>) {
        self.problems.push((variable, why.into()));
    }

    /// The settings if no problem was noted.
    pub(super) fn finish<T>(self, settings: Option<T>) -> Result<T, Problems> {
        match settings {
            Some(settings) if self.problems.is_empty() => Ok(settings),
            _ => Err(Problems(self.problems)),
        }
    }

    pub(super) fn note<T, E: ToString>(
        &mut self,
        variable: &'static str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|why| self.problem(variable, why.to_string())).ok()
    }

    /// Parses a value; notes the rule when it is violated.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        variable: &'static str,
        text: &str,
        rule: &'static str,
    ) -> Option<T> {
        self.note(variable, text.trim().parse().map_err(|_| rule))
    }

    pub(super) fn within(
        &mut self,
        variable: &'static str,
        text: &str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
        self.note(
            variable,
            number.ok_or_else(|| format!("must be a whole number from {least} to {most}")),
        )
    }

    /// Parses "90 s", "3 days" or "PT5M"; a day has 24 hours.
    pub(super) fn duration(
        &mut self,
        variable: &'static str,
        text: &str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let span = text.trim().parse::<Span>().ok();
        let duration = span
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
            .and_then(|signed| Duration::try_from(signed).ok());
        let fitting = duration.filter(|duration| (least..=most).contains(duration));
        self.note(
            variable,
            fitting.ok_or_else(|| {
                format!(
                    "must be a duration such as \"30 s\" or \"3 days\", from {least:?} to {most:?}"
                )
            }),
        )
    }

    /// Parses one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        variable: &'static str,
        text: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let found = words
            .iter()
            .find(|(word, _)| text.trim().eq_ignore_ascii_case(word))
            .map(|(_, value)| *value);
        let rule = || {
            format!(
                "must be one of: {}",
                words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
            )
        };
        self.note(variable, found.ok_or_else(rule))
    }

    /// Reads a secret from its variable or its file. `None` without a problem when neither is set.
    pub(super) fn secret(
        &mut self,
        variable: &'static str,
        value: Option<SecretString>,
        file: Option<PathBuf>,
    ) -> Option<SecretString> {
        let secret = match (value, file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.problem(variable, "is set both directly and as a file: set one of them");
                return None;
            }
            (Some(secret), None) => secret,
            (None, Some(file)) => self.file(variable, &file).and_then(|bytes| {
                let text = String::from_utf8(bytes).map_err(|_| "names a file that is not text");
                self.note(variable, text).map(SecretString::from)
            })?,
        };
        // Files end in a line break that is not part of the secret.
        let text = secret.expose_secret().trim_end_matches(['\r', '\n']);
        if text.trim().is_empty() {
            self.problem(variable, "is empty");
            return None;
        }
        if let Some(why) = wrapping(text) {
            self.problem(variable, why);
            return None;
        }
        Some(SecretString::from(text.to_owned()))
    }

    /// Reads a secret that WorkOS has made: visible ASCII, or several of them between commas.
    pub(super) fn workos_secret(
        &mut self,
        variable: &'static str,
        value: Option<SecretString>,
        file: Option<PathBuf>,
    ) -> Option<SecretString> {
        let secret = self.secret(variable, value, file)?;
        let mut each = secret.expose_secret().split(',').map(str::trim_ascii);
        let why = each.find_map(|text| {
            let wrong = text.chars().find(|c| is_quote(*c) || !c.is_ascii_graphic())?;
            Some(match wrong {
                quote if is_quote(quote) => QUOTED,
                white if white.is_whitespace() => "has white space inside",
                _ => "has a character that is not ASCII",
            })
        });
        let text = SecretString::from(secret.expose_secret().trim_ascii());
        self.note(variable, why.map_or(Ok(text), Err))
    }

    pub(super) fn required<T>(&mut self, variable: &'static str, value: Option<T>) -> Option<T> {
        self.given(variable, value, || format!("is not set (option {})", flag(variable)))
    }

    /// Like [`Reader::required`]; recommends the file, as other users of a machine can read command
    /// lines.
    pub(super) fn required_secret<T>(
        &mut self,
        variable: &'static str,
        value: Option<T>,
    ) -> Option<T> {
        self.given(variable, value, || format!("is not set (option {}-file)", flag(variable)))
    }

    /// The value. Notes why there must be one, unless a value was given and its problem noted.
    pub(super) fn given<T>(
        &mut self,
        variable: &'static str,
        value: Option<T>,
        why: impl FnOnce() -> String,
    ) -> Option<T> {
        if value.is_none() && !self.problems.iter().any(|(noted, _)| *noted == variable) {
            self.problem(variable, why());
        }
        value
    }

    pub(super) fn file(&mut self, variable: &'static str, path: &Path) -> Option<Vec<u8>> {
        let read = std::fs::read(path).map_err(|error| {
            format!("names the file {}, which cannot be read: {}", path.display(), error.kind())
        });
        self.note(variable, read)
    }

    /// Parses webhook secrets, separated by commas.
    pub(super) fn webhook_keys(
        &mut self,
        variable: &'static str,
        secrets: &SecretString,
    ) -> Option<WebhookKeys> {
        let each = secrets
            .expose_secret()
            .split(',')
            .map(|secret| SecretString::from(secret.trim().to_owned()));
        let keys = WebhookKeys::new(&each.collect::<Vec<_>>());
        self.note(variable, keys.map_err(|_| "has an empty secret between its commas"))
    }

    /// Parses `login@example.com` or `Example <login@example.com>`.
    pub(super) fn sender(&mut self, variable: &'static str, text: &str) -> Option<Sender> {
        let text = text.trim();
        let (name, address) = match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
            Some((name, address)) => (name.trim().trim_matches('"'), address),
            None => ("", text),
        };
        if name.chars().any(char::is_control) {
            self.problem(variable, "has a control character in its name");
            return None;
        }
        let address = self.note(
            variable,
            EmailAddress::parse(address).map_err(|why| format!("is not a sender: {why}")),
        )?;
        Some(Sender { name: (!name.is_empty()).then(|| name.to_owned()), address })
    }
}
