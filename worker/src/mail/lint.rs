//! What is wrong with a mail before anybody gets it: size, remote content, contrast, CSS that mail
//! programs do not know, and where phones find the code.

use std::sync::Arc;

use super::{brand::Logo, detector::first_code};

mod contrast;
mod css;
mod html;

use self::html::Document;

/// Largest mail, in bytes, without its logo. Gmail cuts off what is over 102 KB.
const MAX_MAIL: usize = 20 * 1024;

/// A rendered mail with a sample code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// The code that text and HTML show.
    pub code: String,
    /// The whole message, as it goes to the relay.
    pub message: Vec<u8>,
    /// The image that the message carries, if any.
    pub logo: Option<Arc<Logo>>,
}

/// Whether a mail can go out like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It looks worse in some mail programs.
    Warning,
    /// It can mislead, or cannot be read.
    Error,
}

/// Something that is wrong with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// A sentence about it, without a full stop.
    pub what: String,
}

impl Problem {
    fn error(what: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into() }
    }

    fn warning(what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into() }
    }
}

/// All that is wrong with a mail, errors first.
pub fn lint(sample: &Sample) -> Vec<Problem> {
    let document = Document::parse(&sample.html);
    let mut problems = Vec::new();
    problems.extend(size(sample));
    problems.extend(code(sample));
    problems.extend(document.remote.iter().map(|what| {
        Problem::error(format!("fetches {what} from the network: mail programs block or log that"))
    }));
    problems.extend(contrast::problems(&document));
    problems.extend(css::problems(&document));
    problems.extend(structure(sample, &document));
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    problems.dedup();
    problems
}

fn size(sample: &Sample) -> Option<Problem> {
    // In base64, as it is within the message.
    let logo = sample.logo.as_ref().map_or(0, |logo| logo.png.len().div_ceil(3) * 4);
    let bytes = sample.message.len().saturating_sub(logo);
    (bytes > MAX_MAIL)
        .then(|| Problem::error(format!("has {bytes} bytes without its logo, over {MAX_MAIL}")))
}

/// Where a person, a phone and a program find the code.
fn code(Sample { subject, text, html, code, .. }: &Sample) -> Vec<Problem> {
    let mut problems = Vec::new();
    match first_code(&format!("{subject}\n{text}")) {
        Some(found) if found == code => {}
        Some(found) => problems.push(Problem::error(format!(
            "a phone takes {found:?} for the code: it comes before the code and looks like one"
        ))),
        None => problems.push(Problem::error(
            "a phone finds no code in the text: put it at the beginning of a line, and nothing \
             directly after it",
        )),
    }
    if subject.contains(code.as_str()) {
        problems.push(Problem::warning(
            "the code is in the subject, which lock screens and the logs of relays show",
        ));
    }
    if html.matches(code.as_str()).count() > 1 {
        problems.push(Problem::warning("the HTML has the code more than once: copying may fail"));
    }
    problems
}

fn structure(sample: &Sample, document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut expect = |there: bool, what: &str| {
        if !there {
            problems.push(Problem::warning(what));
        }
    };
    expect(!sample.text.trim().is_empty(), "the text part is empty");
    expect(document.lang.is_some(), "<html> has no lang: screen readers guess the language");
    expect(document.has_color_scheme, "no <meta name=\"color-scheme\">: dark mode inverts colours");
    expect(document.images_have_alt, "an image has no alt text");
    problems
}

#[cfg(test)]
mod tests;
