//! From a code to the words around it.
//!
//! The templates are compiled in; a directory of the operator's can replace any of them. They are tried with a sample
//! when the process starts, so that a broken one is a start-up error and not a lost code.

use std::path::Path;

use jiff::Timestamp;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use shared::{
    fault::{Fault, Reason},
    ids::EventId,
    login_code::{Code, LoginCode},
};

use super::{
    Mail,
    message::{self, Content, Sender},
};

/// The three files of a login code's mail, by name, with what is compiled in.
const BUILT_IN: [(&str, &str); 3] = [
    (SUBJECT, include_str!("../../templates/login_code.subject.txt")),
    (TEXT, include_str!("../../templates/login_code.txt")),
    (HTML, include_str!("../../templates/login_code.html")),
];
const SUBJECT: &str = "login_code.subject.txt";
const TEXT: &str = "login_code.txt";
const HTML: &str = "login_code.html";

/// Longest rendered part, in bytes. A template that loops is stopped here and by its fuel.
const MAX_PART: usize = 256 * 1024;

/// A template that cannot be used. Shown at start.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The directory is none.
    #[error("{path} is not a folder")]
    NoFolder {
        /// Which.
        path: String,
    },
    /// It cannot be read.
    #[error("the mail template {file} cannot be read: {source}")]
    Unreadable {
        /// Which.
        file: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// It is not a template, or fails with a sample code.
    #[error("the mail template {file} is broken: {why}")]
    Broken {
        /// Which.
        file: String,
        /// minijinja's word.
        why: String,
    },
    /// It renders without the code in it.
    #[error("the mail template {file} does not show the code: put {{{{ code }}}} into it")]
    NoCode {
        /// Which.
        file: String,
    },
}

/// Why there is no mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    /// The code does not work any more.
    #[error("the code has expired")]
    Expired,
    /// It could not be rendered or addressed.
    #[error(transparent)]
    Failed(#[from] Fault),
}

/// Makes mails.
pub struct Templates {
    environment: Environment<'static>,
    app_name: String,
    sender: Sender,
}

impl Templates {
    /// The compiled-in templates, each replaced by the file of its name in `directory` if there is one.
    pub fn load(directory: Option<&Path>, app_name: &str, sender: Sender) -> Result<Self, TemplateError> {
        if let Some(directory) = directory
            && !directory.is_dir()
        {
            return Err(TemplateError::NoFolder { path: directory.display().to_string() });
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            let html = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
            if html { AutoEscape::Html } else { AutoEscape::None }
        });
        for (name, built_in) in BUILT_IN {
            let source = match directory.map(|directory| directory.join(name)) {
                Some(file) if file.exists() => {
                    let unreadable = |source| TemplateError::Unreadable { file: file.display().to_string(), source };
                    std::fs::read_to_string(&file).map_err(unreadable)?
                }
                _ => built_in.to_owned(),
            };
            let broken = |error: minijinja::Error| TemplateError::Broken { file: name.to_owned(), why: error.to_string() };
            environment.add_template_owned(name, source).map_err(broken)?;
        }
        let templates = Self { environment, app_name: app_name.to_owned(), sender };
        templates.try_out()?;
        Ok(templates)
    }

    fn try_out(&self) -> Result<(), TemplateError> {
        let sample = "246813";
        for (name, _) in BUILT_IN {
            let rendered = self.render(name, sample, "10 minutes", "12:10 UTC");
            let rendered = rendered.map_err(|why| TemplateError::Broken { file: name.to_owned(), why })?;
            if name != SUBJECT && !rendered.contains(sample) {
                return Err(TemplateError::NoCode { file: name.to_owned() });
            }
        }
        Ok(())
    }

    fn render(&self, name: &str, code: &str, expires_in: &str, expires_at: &str) -> Result<String, String> {
        let template = self.environment.get_template(name).map_err(|error| error.to_string())?;
        let values = context! { app => self.app_name.as_str(), code, expires_in, expires_at };
        let rendered = template.render(values).map_err(|error| error.to_string())?;
        if rendered.len() > MAX_PART { Err(format!("over {MAX_PART} bytes")) } else { Ok(rendered) }
    }

    /// The mail for a code, if that is alive at `now`: there is no other way to make one.
    pub fn login_code(&self, event_id: &EventId, code: &LoginCode, now: Timestamp) -> Result<Mail, NotMade> {
        if now >= code.expires_at {
            return Err(NotMade::Expired);
        }
        let content = self.content(&code.code, now, code.expires_at)?;
        Ok(message::build(event_id, &self.sender, code, content, now)?)
    }

    fn content(&self, code: &Code, now: Timestamp, expires_at: Timestamp) -> Result<Content, Fault> {
        let (in_words, at) = (in_words(now, expires_at), expires_at.strftime("%H:%M UTC").to_string());
        let render = |name| {
            // minijinja's message may quote a value: only the file is named.
            self.render(name, code.expose(), &in_words, &at)
                .map_err(|_| Fault::permanent(Reason::RenderFailed, format!("the template {name} failed")))
        };
        Ok(Content { subject: render(SUBJECT)?.trim().to_owned(), text: render(TEXT)?, html: render(HTML)? })
    }
}

/// "10 minutes", "one minute": rounded to the nearest, never to zero.
fn in_words(now: Timestamp, expires_at: Timestamp) -> String {
    match (expires_at.duration_since(now).as_secs() + 30) / 60 {
        ..=1 => "one minute".to_owned(),
        minutes @ 2..=90 => format!("{minutes} minutes"),
        minutes => format!("{} hours", (minutes + 30) / 60),
    }
}

#[cfg(test)]
mod tests;
