//! Renders mails.
//!
//! The templates are compiled in; a directory of the operator can replace any of them. They are
//! rendered with a sample while the configuration is read, so that a broken one is an error at
//! start and not a lost code.

use std::{fmt, io, path::Path};

use domain::{
    fault::{Fault, Reason},
    ids::EventId,
    login_code::{Code, LoginCode},
};
use jiff::Timestamp;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::{
    Mail,
    message::{self, Content, Sender},
};

/// The three templates of the mail with a login code, by file name.
const BUILT_IN: [(&str, &str); 3] = [
    (SUBJECT, include_str!("../../templates/login_code.subject.txt")),
    (TEXT, include_str!("../../templates/login_code.txt")),
    (HTML, include_str!("../../templates/login_code.html")),
];
const SUBJECT: &str = "login_code.subject.txt";
const TEXT: &str = "login_code.txt";
const HTML: &str = "login_code.html";

/// Longest rendered part, in bytes.
const MAX_PART: usize = 256 * 1024;

/// Most instructions of a template that one part may take: a mail of ours takes about a hundred,
/// and as many as this are done in a fraction of a second.
const MAX_INSTRUCTIONS: u64 = 500_000;

/// A template cannot be used. Shown at start.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The path is not a directory.
    #[error("{path} is not a directory")]
    NotADirectory { path: String },
    /// The file cannot be read.
    #[error("the mail template {file} cannot be read: {source}")]
    Unreadable {
        /// File name of the template.
        file: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// It is not a template, or it fails with the sample.
    #[error("the mail template {file} is broken: {why}")]
    Broken {
        /// File name of the template.
        file: String,
        /// minijinja's message, which names the line.
        why: String,
    },
    /// It does not show the code.
    #[error("the mail template {file} does not show the code: put {{{{ code }}}} into it")]
    NoCode {
        /// File name of the template.
        file: String,
    },
}

/// Why no mail was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMade {
    /// The code has expired by the time of rendering.
    #[error("the code has expired")]
    Expired,
    /// The mail could not be rendered or addressed.
    #[error(transparent)]
    Failed(#[from] Fault),
}

/// Renders mails for one application and sender.
pub struct Templates {
    environment: Environment<'static>,
    app_name: String,
    sender: Sender,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates")
            .field("app_name", &self.app_name)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// The times of a code, as a mail says them.
#[derive(Clone, Copy)]
struct Times<'a> {
    asked_at: &'a str,
    expires_in: &'a str,
    expires_at: &'a str,
}

impl Templates {
    /// Loads the templates: each file of that name in `directory`, or else the one that is compiled
    /// in.
    pub fn load(
        directory: Option<&Path>,
        app_name: &str,
        sender: Sender,
    ) -> Result<Self, TemplateError> {
        if let Some(directory) = directory
            && !directory.is_dir()
        {
            return Err(TemplateError::NotADirectory { path: directory.display().to_string() });
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(MAX_INSTRUCTIONS));
        environment.set_auto_escape_callback(|name| {
            let html = Path::new(name)
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("html"));
            if html { AutoEscape::Html } else { AutoEscape::None }
        });
        for (name, built_in) in BUILT_IN {
            let source = match directory.map(|directory| directory.join(name)) {
                Some(file) if file.exists() => {
                    let unreadable = |source| TemplateError::Unreadable {
                        file: file.display().to_string(),
                        source,
                    };
                    std::fs::read_to_string(&file).map_err(unreadable)?
                }
                _ => built_in.to_owned(),
            };
            let broken = |error: minijinja::Error| TemplateError::Broken {
                file: name.to_owned(),
                why: error.to_string(),
            };
            environment.add_template_owned(name, source).map_err(broken)?;
        }
        let templates = Self { environment, app_name: app_name.to_owned(), sender };
        templates.render_sample()?;
        Ok(templates)
    }

    fn render_sample(&self) -> Result<(), TemplateError> {
        let sample = "246813";
        for (name, _) in BUILT_IN {
            let times =
                Times { asked_at: "12:00 UTC", expires_in: "10 minutes", expires_at: "12:10 UTC" };
            let rendered = self.render(name, sample, times);
            let rendered =
                rendered.map_err(|why| TemplateError::Broken { file: name.to_owned(), why })?;
            if name != SUBJECT && !rendered.contains(sample) {
                return Err(TemplateError::NoCode { file: name.to_owned() });
            }
        }
        Ok(())
    }

    fn render(
        &self,
        name: &str,
        code: &str,
        Times { asked_at, expires_in, expires_at }: Times<'_>,
    ) -> Result<String, String> {
        let template = self.environment.get_template(name).map_err(|error| error.to_string())?;
        let app = self.app_name.as_str();
        let values = context! { app, code, asked_at, expires_in, expires_at };
        let mut part = Part(Vec::new());
        let rendered = template.render_captured_to(values, &mut part);
        if part.0.len() > MAX_PART {
            return Err(format!("over {MAX_PART} bytes"));
        }
        rendered.map_err(|error| error.to_string())?;
        String::from_utf8(part.0).map_err(|error| error.to_string())
    }

    /// Renders the mail for a code that was asked for at `asked_at` and has not expired at `now`.
    /// There is no other way to make a mail.
    pub fn login_code(
        &self,
        event_id: &EventId,
        code: &LoginCode,
        asked_at: Timestamp,
        now: Timestamp,
    ) -> Result<Mail, NotMade> {
        if now >= code.expires_at {
            return Err(NotMade::Expired);
        }
        let content = self.content(&code.code, [asked_at, now, code.expires_at])?;
        Ok(message::build(event_id, &self.sender, code, content, now)?)
    }

    fn content(
        &self,
        code: &Code,
        [asked_at, now, expires_at]: [Timestamp; 3],
    ) -> Result<Content, Fault> {
        let at = |time: Timestamp| time.strftime("%H:%M UTC").to_string();
        let (asked_at, left, expires_at) =
            (at(asked_at), time_left(now, expires_at), at(expires_at));
        let times = Times { asked_at: &asked_at, expires_in: &left, expires_at: &expires_at };
        let render = |name| {
            // minijinja's message may quote a value, so only the file is named.
            self.render(name, code.expose(), times).map_err(|_| {
                Fault::permanent(Reason::RenderFailed, format!("the template {name} failed"))
            })
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

/// "10 minutes", "one minute": rounded, never to zero.
fn time_left(now: Timestamp, expires_at: Timestamp) -> String {
    match (expires_at.duration_since(now).as_secs() + 30) / 60 {
        ..=1 => "one minute".to_owned(),
        minutes @ 2..=90 => format!("{minutes} minutes"),
        minutes => format!("{} hours", (minutes + 30) / 60),
    }
}

#[cfg(test)]
mod tests;
