//! Makes text of remote parties safe to show on a terminal. A relay, a broker or whoever may write
//! to a queue chooses such text: it must not move the cursor, change the title, turn text round or
//! forge a line (ECMA-48, Unicode Standard Annex 9).

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

/// Whether a terminal obeys this character instead of showing it, or shows nothing for it.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn replace(
    text: &str,
    hidden: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if hidden(c) { write(&mut shown, c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

fn as_escape(shown: &mut String, c: char) {
    shown.extend(c.escape_unicode());
}

/// One line: line breaks, and everything else that a terminal would obey, as `\u{…}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    replace(text, is_hidden, as_escape)
}

/// Several lines of our own: as [`escape`], but line breaks stay.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| c != '\n' && is_hidden(c), as_escape)
}

/// A JSON document: as [`escape_lines`], in JSON's own notation (RFC 8259, 7), so that it means the
/// same as before. Valid JSON has such characters within strings only.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    replace(
        json,
        |c| c != '\n' && is_hidden(c),
        |shown, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string cannot fail.
                write!(shown, "\\u{unit:04x}").unwrap_or_default();
            }
        },
    )
}

/// Standard error for log lines: every write is one line, of which the last line break is ours.
pub(crate) struct Lines(pub(crate) fn(&str) -> Cow<'_, str>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = (self.0)(text.strip_suffix('\n').unwrap_or(&text));
        io::stderr().lock().write_all(format!("{shown}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests;
