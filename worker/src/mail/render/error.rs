//! Why there are no templates, and why there is no mail.

use std::io;

use domain::{fault::Fault, language::LanguageTag};

use crate::mail::{brand::BrandError, languages::LanguageError};

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
    /// The words of a language cannot be used.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// The brand cannot be used.
    #[error(transparent)]
    Brand(#[from] BrandError),
    /// There are no words of the language that is the default.
    #[error("there are no words of the language {language}: put a {language}.ftl into locales/")]
    NoLanguage {
        /// The tag of the language.
        language: LanguageTag,
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
