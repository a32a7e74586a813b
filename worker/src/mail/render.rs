//! Renders mails.
//!
//! The templates, words and brand are compiled in; a directory of the operator can replace any of
//! them. Every template is rendered in every language and brand while the configuration is read, so
//! that a broken one is an error at start and not a lost code.

use std::{fmt, io, path::Path, sync::Arc};

use domain::{
    fault::{Fault, Reason},
    ids::{ClientId, EventId},
    language::LanguageTag,
    login_code::{Code, LoginCode},
};
use fluent_bundle::FluentArgs;
use jiff::Timestamp;
use minijinja::{Environment, Value, context};
use url::Url;

use super::{
    Mail,
    brand::{Brand, Brands},
    languages::{Language, Languages},
    message::{self, Content, Sender},
};

mod environment;
mod error;
mod words;

use self::environment::{BUILT_IN, HTML, SUBJECT, TEXT, environment};
pub use self::error::{NotMade, TemplateError};

/// Longest rendered part, in bytes.
const MAX_PART: usize = 256 * 1024;

/// What mails are made of, apart from the code.
#[derive(Debug, Clone)]
pub struct TemplateOptions<'a> {
    /// Own templates, words and brand.
    pub directory: Option<&'a Path>,
    /// The application's name where `brand.toml` gives none.
    pub app_name: &'a str,
    pub sender: Sender,
    /// The language of people of whom none is known.
    pub locale: LanguageTag,
    /// The domain that the code may be entered at, for programs that fill it in.
    pub code_domain: Option<&'a str>,
}

impl<'a> TemplateOptions<'a> {
    /// The built-in mail in English.
    pub fn plain(app_name: &'a str, sender: Sender) -> Self {
        let locale = LanguageTag::english();
        Self { directory: None, app_name, sender, locale, code_domain: None }
    }
}

/// The request that a code belongs to, as far as the mail depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub event_id: &'a EventId,
    /// When the code was asked for.
    pub at: Timestamp,
    /// The application it was asked for at, if WorkOS said so.
    pub client: Option<&'a ClientId>,
    /// Languages that the person reads, the likeliest first.
    pub languages: &'a [LanguageTag],
}

impl<'a> Asked<'a> {
    /// A request of which no more is known.
    pub fn plain(event_id: &'a EventId, at: Timestamp) -> Self {
        Self { event_id, at, client: None, languages: &[] }
    }
}

/// Renders mails for one sender.
pub struct Templates {
    environment: Environment<'static>,
    languages: Arc<Languages>,
    brands: Brands,
    sender: Sender,
    locale: LanguageTag,
    code_domain: Option<String>,
    /// Whether the templates take their words from the language; own ones may be in one language.
    translated: bool,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("app_name", &self.brands.of(None).name)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// A code as a mail shows it, and its times.
#[derive(Clone, Copy)]
struct Shown<'a> {
    code: &'a str,
    asked_at: Timestamp,
    expires_at: Timestamp,
    minutes: i64,
}

impl Templates {
    /// Loads the words, the brand and the templates: each file of that name in the directory, or
    /// else the one that is compiled in.
    pub fn load(options: TemplateOptions<'_>) -> Result<Self, TemplateError> {
        let TemplateOptions { directory, app_name, sender, locale, code_domain } = options;
        if let Some(directory) = directory
            && !directory.is_dir()
        {
            return Err(TemplateError::NotADirectory { path: directory.display().to_string() });
        }
        let languages = Arc::new(Languages::load(directory)?);
        let (environment, translated) = environment(directory, &languages)?;
        let templates = Self {
            environment,
            languages,
            brands: Brands::load(directory, app_name)?,
            sender,
            locale,
            code_domain: code_domain.map(str::to_owned),
            translated,
        };
        templates.render_samples()?;
        Ok(templates)
    }

    fn render_samples(&self) -> Result<(), TemplateError> {
        let defaults = self.brands.all().filter_map(|brand| brand.locale.as_ref());
        for language in defaults.chain([&self.locale]) {
            if self.languages.lookup(language).is_none() {
                return Err(TemplateError::NoLanguage { language: language.clone() });
            }
        }
        for brand in self.brands.all() {
            for language in self.languages.all() {
                for minutes in [1, 10] {
                    self.render_sample(brand, language, minutes)?;
                }
            }
        }
        Ok(())
    }

    fn render_sample(
        &self,
        brand: &Brand,
        language: &Language,
        minutes: i64,
    ) -> Result<(), TemplateError> {
        let (asked_at, expires_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let shown = Shown { code: "246813", asked_at, expires_at, minutes };
        for (name, _) in BUILT_IN {
            let broken = |why| TemplateError::Broken { file: name.to_owned(), why };
            let values = self.values(shown, brand, language).map_err(broken)?;
            let rendered = self.render(name, values).map_err(broken)?;
            if name != SUBJECT && !rendered.contains(shown.code) {
                return Err(TemplateError::NoCode { file: name.to_owned() });
            }
        }
        Ok(())
    }

    /// The variables of the templates.
    fn values(
        &self,
        Shown { code, asked_at, expires_at, minutes }: Shown<'_>,
        brand: &Brand,
        language: &Language,
    ) -> Result<Value, String> {
        let at = |time: Timestamp| time.strftime("%H:%M UTC").to_string();
        let mut values = FluentArgs::new();
        values.set(words::MINUTES, minutes);
        let expires_in = language.say("minutes", &values)?;
        let (asked_at, expires_at) = (at(asked_at), at(expires_at));
        let logo = brand.logo.as_ref().map(|logo| {
            let src = format!("cid:{}", message::logo_id(&self.sender));
            context! { src, width => logo.width, height => logo.height }
        });
        // Without the scheme, as people read it.
        let support = brand.support_url.as_ref().map(|url| {
            let text = url.as_str();
            let short = text.strip_prefix("mailto:").or_else(|| text.strip_prefix("https://"));
            short.unwrap_or(text).trim_end_matches('/')
        });
        Ok(context! {
            app => brand.name.as_str(),
            lang => language.tag(),
            dir => language.direction(),
            brand => context! {
                color => brand.color.to_string(),
                color_dark => brand.color_dark.to_string(),
                support_url => brand.support_url.as_ref().map(Url::as_str),
                support,
                logo,
            },
            code_domain => self.code_domain.as_deref(),
            code, asked_at, expires_in, expires_at, minutes,
        })
    }

    fn render(&self, name: &str, values: Value) -> Result<String, String> {
        let template = self.environment.get_template(name).map_err(|error| error.to_string())?;
        let mut part = Part(Vec::new());
        let rendered = template.render_captured_to(values, &mut part);
        if part.0.len() > MAX_PART {
            return Err(format!("over {MAX_PART} bytes"));
        }
        rendered.map_err(|error| error.to_string())?;
        String::from_utf8(part.0).map_err(|error| error.to_string())
    }

    /// Renders the mail for a code that has not expired at `now`. There is no other way to make a
    /// mail.
    pub fn login_code(
        &self,
        asked: Asked<'_>,
        code: &LoginCode,
        now: Timestamp,
    ) -> Result<Mail, NotMade> {
        if now >= code.expires_at {
            return Err(NotMade::Expired);
        }
        let brand = self.brands.of(asked.client);
        let content = self.content(asked, &code.code, brand, [now, code.expires_at])?;
        let (reply_to, logo) = (brand.reply_to.as_ref(), brand.logo.as_deref());
        let made_for = message::MadeFor { event_id: asked.event_id, reply_to, logo };
        Ok(message::build(made_for, &self.sender, code, content, now)?)
    }

    /// The language of the mail: the first that the person reads and there are words of, or else
    /// the brand's or the default. Templates with words of their own are in the default language.
    pub fn language(&self, wanted: &[LanguageTag], client: Option<&ClientId>) -> Option<&Language> {
        let wanted = if self.translated { wanted } else { &[] };
        let brand = self.brands.of(client);
        let mut tags = wanted.iter().chain(&brand.locale).chain([&self.locale]);
        tags.find_map(|tag| self.languages.lookup(tag))
    }

    /// All languages that there are words of.
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// Whether a brand sets where answers go.
    pub fn replies(&self) -> bool {
        self.brands.all().any(|brand| brand.reply_to.is_some())
    }

    fn content(
        &self,
        asked: Asked<'_>,
        code: &Code,
        brand: &Brand,
        [now, expires_at]: [Timestamp; 2],
    ) -> Result<Content, Fault> {
        let failed = |what: &str| Fault::permanent(Reason::RenderFailed, format!("{what} failed"));
        let language = self.language(asked.languages, asked.client);
        let language = language.ok_or_else(|| failed("the choice of a language"))?;
        let minutes = minutes_left(now, expires_at);
        let shown = Shown { code: code.expose(), asked_at: asked.at, expires_at, minutes };
        let values = self.values(shown, brand, language).map_err(|_| failed("a message"))?;
        let render = |name| {
            // minijinja's message may quote a value, so only the file is named.
            self.render(name, values.clone()).map_err(|_| failed(&format!("the template {name}")))
        };
        Ok(Content {
            subject: render(SUBJECT)?.trim().to_owned(),
            text: render(TEXT)?,
            html: render(HTML)?,
        })
    }
}

/// What a template has written. Takes a little more than a part may have, and then no more.
struct Part(Vec<u8>);

impl io::Write for Part {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let room = (MAX_PART + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(&text[..text.len().min(room)]);
        if text.len() > room { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The minutes that a code still works: rounded, and never zero.
fn minutes_left(now: Timestamp, expires_at: Timestamp) -> i64 {
    ((expires_at.duration_since(now).as_secs() + 30) / 60).max(1)
}

#[cfg(test)]
mod tests;
