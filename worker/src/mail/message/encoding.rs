//! The bodies of a mail's parts, in lines that every relay takes.
//!
//! Which encoding a text gets is lettre's choice; quoted-printable, which most get, is made here, in
//! one pass over the text and with one allocation.

use lettre::message::{Body, header::ContentTransferEncoding};

/// Longest line, without its end (RFC 2045, 6.7).
const LONGEST: usize = 76;

/// Encodes a text. Its line breaks become CRLF.
pub(super) fn body(text: String) -> Body {
    match encoding(&text) {
        ContentTransferEncoding::QuotedPrintable => Body::dangerous_pre_encoded(
            quoted_printable(&text),
            ContentTransferEncoding::QuotedPrintable,
        ),
        // Short, or of few letters that could be read unencoded.
        _ => Body::new(text),
    }
}

/// What lettre would choose: nothing for short lines of ASCII, base64 where it is shorter.
fn encoding(text: &str) -> ContentTransferEncoding {
    let bytes = text.as_bytes();
    let beyond_ascii = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    if beyond_ascii > bytes.len() / 3 {
        ContentTransferEncoding::Base64
    } else if beyond_ascii > 0 || text.lines().any(|line| line.len() > LONGEST) {
        ContentTransferEncoding::QuotedPrintable
    } else {
        ContentTransferEncoding::SevenBit
    }
}

/// Encodes as quoted-printable (RFC 2045, 6.7).
fn quoted_printable(text: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len() + text.len() / 8 + 128);
    for line in text.split_inclusive('\n') {
        let (line, broken) = match line.strip_suffix('\n') {
            Some(line) => (line.strip_suffix('\r').unwrap_or(line), true),
            None => (line, false),
        };
        append_line(line.as_bytes(), &mut encoded);
        if broken {
            encoded.extend_from_slice(b"\r\n");
        }
    }
    encoded
}

/// Appends what was a line, in as many as it takes.
fn append_line(line: &[u8], encoded: &mut Vec<u8>) {
    // White space at the end of a line would be taken for padding.
    let (mut rest, last) = match line {
        [rest @ .., last @ (b' ' | b'\t')] => (rest, Some(*last)),
        _ => (line, None),
    };
    let mut column = 0;
    while let Some(first) = rest.first() {
        // The `=` of a soft line break always has a place.
        let room = LONGEST - 1 - column;
        let run = rest.iter().take(room).take_while(|byte| IS_LITERAL[usize::from(**byte)]).count();
        if run > 0 {
            let (literal, after) = rest.split_at(run);
            encoded.extend_from_slice(literal);
            (column, rest) = (column + run, after);
        } else if IS_LITERAL[usize::from(*first)] {
            encoded.extend_from_slice(b"=\r\n");
            column = 0;
        } else {
            column = append_escaped(*first, column, encoded);
            rest = &rest[1..];
        }
    }
    if let Some(last) = last {
        append_escaped(last, column, encoded);
    }
}

/// Appends a byte that may not stand for itself; the column after it.
fn append_escaped(byte: u8, column: usize, encoded: &mut Vec<u8>) -> usize {
    let escaped = [b'=', hex(byte >> 4), hex(byte & 15)];
    if column + escaped.len() < LONGEST {
        encoded.extend_from_slice(&escaped);
        return column + escaped.len();
    }
    encoded.extend_from_slice(b"=\r\n");
    encoded.extend_from_slice(&escaped);
    escaped.len()
}

fn hex(digit: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(digit)]
}

/// The bytes that may stand for themselves: visible ASCII but `=`, and white space within a line.
const IS_LITERAL: [bool; 256] = {
    let mut literal = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        literal[byte as usize] = byte != b'=';
        byte += 1;
    }
    literal[b'\t' as usize] = true;
    literal
};

#[cfg(test)]
mod tests {
    use lettre::message::{SinglePart, header::ContentType};
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    use super::*;

    /// The text as a mail program reads it.
    fn read(text: &str) -> String {
        let part =
            SinglePart::builder().header(ContentType::TEXT_PLAIN).body(body(text.to_owned()));
        let mail = part.formatted();
        let parsed = MessageParser::new().parse(&mail).expect("a mail");
        parsed.body_text(0).expect("a text").into_owned()
    }

    #[test]
    fn lines_are_broken_and_bytes_escaped_where_they_must_be() {
        let long = "a".repeat(80);
        for (text, encoded) in [
            ("a=b\u{e9}\n", "a=3Db=C3=A9\r\n".to_owned()),
            ("ends in a space \r\nand a tab\t", "ends in a space=20\r\nand a tab=09".to_owned()),
            (long.as_str(), format!("{}=\r\n{}", "a".repeat(75), "a".repeat(5))),
            (&long[..75], "a".repeat(75)),
            (&format!("{}=", &long[..73]), format!("{}=\r\n=3D", "a".repeat(73))),
            (&format!("{}=", &long[..72]), format!("{}=3D", "a".repeat(72))),
            ("", String::new()),
            ("\n\n", "\r\n\r\n".to_owned()),
        ] {
            assert_eq!(
                String::from_utf8(quoted_printable(text)).expect("ASCII"),
                encoded,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_encoding_is_the_one_that_lettre_would_choose() {
        let long = "a".repeat(100);
        for text in ["short\n", &long, "gr\u{fc}n", "\u{65e5}\u{672c}\u{8a9e}"] {
            assert_eq!(
                body(text.to_owned()).encoding(),
                Body::new(text.to_owned()).encoding(),
                "{text}"
            );
        }
    }

    proptest! {
        // The dot: white space at the end of a whole body is nobody's.
        #[test]
        fn a_mail_program_reads_the_text(text in "([a-z=. \t]|\u{e9}|\u{1f4ec}|\n|[!-~]{60,90}){0,60}[.]") {
            let encoded = body(text.clone());
            let read = read(&text).replace("\r\n", "\n");
            prop_assert_eq!(read.trim_end(), text);
            for line in encoded.into_vec().split(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                prop_assert!(line.len() <= LONGEST && line.is_ascii());
            }
        }
    }
}
