//! A mail as a mail program shows it: decoded headers, text and HTML.

use mail_parser::{MessageParser, MimeHeaders as _};
use serde::Serialize;

/// What a mail program would show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readable {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// With its angle brackets stripped.
    pub message_id: String,
}

/// Decodes a raw mail; `None` if it is invalid or lacks one of the two alternatives.
pub fn read(raw: &[u8]) -> Option<Readable> {
    let message = MessageParser::default().parse(raw)?;
    let part = |subtype: &str| {
        let fits = |part: &&mail_parser::MessagePart<'_>| {
            part.content_type()
                .and_then(|kind| kind.subtype())
                .is_some_and(|found| found == subtype)
        };
        message.parts.iter().find(fits).and_then(|part| part.text_contents()).map(str::to_owned)
    };
    Some(Readable {
        subject: message.subject()?.to_owned(),
        text: part("plain")?,
        html: part("html")?,
        message_id: message.message_id()?.to_owned(),
    })
}

/// The code in the text of a mail: the first word of a line, of letters and digits.
pub fn code(text: &str) -> Option<&str> {
    text.lines().filter_map(|line| line.split_ascii_whitespace().next()).find(|word| {
        (4..=16).contains(&word.len())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && word.bytes().any(|byte| byte.is_ascii_digit())
    })
}

impl Readable {
    /// The code in its text.
    pub fn code(&self) -> Option<&str> {
        code(&self.text)
    }
}
