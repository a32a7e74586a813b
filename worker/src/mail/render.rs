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
    login_code::LoginCode,
};
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
mod samples;
mod words;

pub use self::error::{NotMade, TemplateError};
use self::{
    environment::{HTML, SUBJECT, TEXT, environment},
    words::Words,
};

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
        let (environment, translated) = environment(directory)?;
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

    /// The variables of the templates.
    fn values(
        &self,
        Shown { code, asked_at, expires_at, minutes }: Shown<'_>,
        brand: &Brand,
        language: &Language,
    ) -> Result<Value, String> {
        let at = |time: Timestamp| time.strftime("%H:%M UTC").to_string();
        let (asked_at, expires_at) = (at(asked_at), at(expires_at));
        let times = [asked_at.clone(), expires_at.clone()];
        let languages = Arc::clone(&self.languages);
        let words = Words::new(languages, language.tag(), brand.name.clone(), times, minutes);
        let expires_in = words.say(words::MINUTES)?;
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
            t => Value::from_object(words),
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
        let failed = |what| Fault::permanent(Reason::RenderFailed, what);
        let language = self.language(asked.languages, asked.client);
        let language = language.ok_or_else(|| failed("the choice of a language failed"))?;
        let shown = Shown {
            code: code.code.expose(),
            asked_at: asked.at,
            expires_at: code.expires_at,
            minutes: minutes_left(now, code.expires_at),
        };
        let content = self.content(shown, brand, language)?;
        let made_for = Self::made_for(asked.event_id, brand);
        Ok(message::build(made_for, &self.sender, code, content, now)?)
    }

    fn made_for<'a>(event_id: &'a EventId, brand: &'a Brand) -> message::MadeFor<'a> {
        message::MadeFor {
            event_id,
            reply_to: brand.reply_to.as_ref(),
            logo: brand.logo.as_deref(),
        }
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

    /// The clients that have a brand of their own.
    pub fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.brands.clients()
    }

    /// Whether a brand sets where answers go.
    pub fn replies(&self) -> bool {
        self.brands.all().any(|brand| brand.reply_to.is_some())
    }

    fn content(
        &self,
        shown: Shown<'_>,
        brand: &Brand,
        language: &Language,
    ) -> Result<Content, Fault> {
        let failed = |what: &str| Fault::permanent(Reason::RenderFailed, format!("{what} failed"));
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
