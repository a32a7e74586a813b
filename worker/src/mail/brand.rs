//! `brand.toml`: the name, colour and logo of the mails, for all applications and for each client.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{address::EmailAddress, ids::ClientId, language::LanguageTag};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use self::color::{Color, Ground};

pub mod color;
pub mod logo;

pub use self::logo::Logo;

/// The file's name, within the directory of the templates.
pub const FILE: &str = "brand.toml";

/// How the mails of one application look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    pub name: String,
    /// Of the code and of links, on a light ground.
    pub color: Color,
    /// The same on a dark ground.
    pub color_dark: Color,
    /// Where people get help: `https:` or `mailto:`.
    pub support_url: Option<Url>,
    /// Where answers to the mails go.
    pub reply_to: Option<EmailAddress>,
    pub logo: Option<Arc<Logo>>,
    /// The language of people of whom none is known.
    pub locale: Option<LanguageTag>,
}

/// The brands by client ID, and the one of everybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brands {
    usual: Brand,
    clients: HashMap<ClientId, Brand>,
}

/// A `brand.toml` that cannot be used. Names the file and the line.
#[derive(Debug, thiserror::Error)]
pub enum BrandError {
    /// The file, or the logo it names, cannot be read.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        file: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A value of it cannot be used.
    #[error("{file}, line {line}: {why}")]
    Invalid {
        file: String,
        /// Line of the value, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrandFile {
    #[serde(default)]
    brand: Entry,
    #[serde(default)]
    clients: HashMap<Spanned<String>, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<Spanned<String>>,
    color: Option<Spanned<String>>,
    color_dark: Option<Spanned<String>>,
    support_url: Option<Spanned<String>>,
    reply_to: Option<Spanned<String>>,
    logo: Option<Spanned<String>>,
    locale: Option<Spanned<String>>,
}

impl Brands {
    /// One brand for everybody, in the usual colours.
    pub fn plain(name: &str) -> Self {
        let usual = Brand {
            name: name.to_owned(),
            color: Color::TEXT,
            color_dark: Color::TEXT_DARK,
            support_url: None,
            reply_to: None,
            logo: None,
            locale: None,
        };
        Self { usual, clients: HashMap::new() }
    }

    /// Reads `brand.toml` of `directory`, if there is one. `name` is the application's name where
    /// the file gives none.
    pub fn load(directory: Option<&Path>, name: &str) -> Result<Self, BrandError> {
        let plain = Self::plain(name);
        let Some(path) = directory.map(|directory| directory.join(FILE)).filter(|it| it.exists())
        else {
            return Ok(plain);
        };
        let text = std::fs::read_to_string(&path).map_err(|source| BrandError::Unreadable {
            file: path.display().to_string(),
            source,
        })?;
        Source { path: &path, text: &text }.brands(&plain.usual)
    }

    /// The brand of this client.
    pub fn of(&self, client: Option<&ClientId>) -> &Brand {
        client.and_then(|client| self.clients.get(client)).unwrap_or(&self.usual)
    }

    /// The clients that have a brand of their own.
    pub fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.clients.keys()
    }

    /// All of them, the one of everybody else first.
    pub fn all(&self) -> impl Iterator<Item = &Brand> {
        std::iter::once(&self.usual).chain(self.clients.values())
    }
}

/// The file, for errors that name a line of it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn invalid(&self, at: usize, why: String) -> BrandError {
        let line = self.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        BrandError::Invalid { file: self.path.display().to_string(), line, why }
    }

    /// Parses a value, if it is given.
    fn parsed<T, E: ToString>(
        &self,
        value: Option<&Spanned<String>>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, BrandError> {
        let parsed = value.map(|value| {
            parse(value.get_ref()).map_err(|why| self.invalid(value.span().start, why.to_string()))
        });
        parsed.transpose()
    }

    fn brands(&self, plain: &Brand) -> Result<Brands, BrandError> {
        let file: BrandFile = toml::from_str(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.invalid(at, error.message().to_owned())
        })?;
        let usual = self.brand(&file.brand, plain)?;
        let mut clients = HashMap::new();
        for (id, entry) in &file.clients {
            let client = ClientId::parse(id.get_ref().as_str())
                .map_err(|why| self.invalid(id.span().start, why.to_string()))?;
            clients.insert(client, self.brand(entry, &usual)?);
        }
        Ok(Brands { usual, clients })
    }

    /// An entry, and for what it does not say, `otherwise`.
    fn brand(&self, entry: &Entry, otherwise: &Brand) -> Result<Brand, BrandError> {
        let color = self.parsed(entry.color.as_ref(), |text| Ground::Light.color(text))?;
        let dark = self.parsed(entry.color_dark.as_ref(), |text| Ground::Dark.color(text))?;
        let derived = color.map(Color::lightened_for_dark);
        let otherwise = otherwise.clone();
        Ok(Brand {
            name: self.parsed(entry.name.as_ref(), name)?.unwrap_or(otherwise.name),
            color: color.unwrap_or(otherwise.color),
            color_dark: dark.or(derived).unwrap_or(otherwise.color_dark),
            support_url: self
                .parsed(entry.support_url.as_ref(), support_url)?
                .or(otherwise.support_url),
            reply_to: self
                .parsed(entry.reply_to.as_ref(), EmailAddress::parse)?
                .or(otherwise.reply_to),
            logo: self
                .parsed(entry.logo.as_ref(), |text| self.logo(text))?
                .map(Arc::new)
                .or(otherwise.logo),
            locale: self.parsed(entry.locale.as_ref(), LanguageTag::parse)?.or(otherwise.locale),
        })
    }

    fn logo(&self, text: &str) -> Result<Logo, String> {
        let path: PathBuf = self.path.with_file_name(text);
        Logo::read(&path).map_err(|why| format!("the logo {text:?} {why}"))
    }
}

/// A name that fits into a subject.
fn name(text: &str) -> Result<String, &'static str> {
    let fits = !text.trim().is_empty()
        && text.chars().count() <= 100
        && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or("a name has 1 to 100 characters on one line")
}

fn support_url(text: &str) -> Result<Url, &'static str> {
    const RULE: &str = "support_url must begin with https:// or mailto:";
    let url = Url::parse(text).map_err(|_| RULE)?;
    if matches!(url.scheme(), "https" | "mailto") { Ok(url) } else { Err(RULE) }
}

#[cfg(test)]
mod tests;
