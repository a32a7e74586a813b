//! The content of a mail as SMTP carries it: no line of it is taken for its end (RFC 5321, 4.5.2).

use memchr::memmem;
use zeroize::Zeroizing;

/// The end of the content, after a line break.
const END: &[u8] = b".\r\n";

/// The parts in one piece, with another dot before each that begins a line, and the final dot.
///
/// A dot after a bare line feed is doubled, too: there are none in our mails, and relays differ in
/// what they take for a line.
pub(super) fn transparent(parts: [&[u8]; 2]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Room for some doubled dots: growing would leave a copy behind.
    let mut content = Zeroizing::new(Vec::with_capacity(length + length / 32 + 64));
    for part in parts {
        append(part, &mut content);
    }
    if !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    content.extend_from_slice(END);
    content
}

fn append(part: &[u8], content: &mut Vec<u8>) {
    let begins_a_line = content.last().is_none_or(|byte| *byte == b'\n');
    if begins_a_line && part.starts_with(b".") {
        content.push(b'.');
    }
    let mut from = 0;
    for line_break in memmem::find_iter(part, b"\n.") {
        content.extend_from_slice(&part[from..=line_break]);
        content.push(b'.');
        from = line_break + 1;
    }
    content.extend_from_slice(&part[from..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(parts: [&str; 2]) -> String {
        String::from_utf8(transparent(parts.map(str::as_bytes)).to_vec()).expect("text")
    }

    #[test]
    fn only_the_last_line_is_a_single_dot() {
        for (parts, content) in [
            (["", "a\r\n"], "a\r\n.\r\n"),
            (["", "a"], "a\r\n.\r\n"),
            (["", ""], "\r\n.\r\n"),
            (["", ".\r\n"], "..\r\n.\r\n"),
            (["", "a\r\n.\r\n.b\r\n"], "a\r\n..\r\n..b\r\n.\r\n"),
            (["X: 1\r\n", ".a\r\n"], "X: 1\r\n..a\r\n.\r\n"),
            (["X: 1", ".a"], "X: 1.a\r\n.\r\n"),
            (["", "a\n.\n"], "a\n..\n\r\n.\r\n"),
        ] {
            assert_eq!(text(parts), content, "{parts:?}");
        }
    }

    proptest! {
        /// What a relay does: read lines until the single dot, and take one dot off the others.
        #[test]
        fn a_relay_reads_what_was_sent(lines in prop::collection::vec("[.a ]{0,4}", 1..20), at: prop::sample::Index) {
            let sent = lines.join("\r\n") + "\r\n";
            let (first, second) = sent.split_at(at.index(sent.len() + 1));
            let content = text([first, second]);
            let mut read = String::new();
            let mut rest = content.split("\r\n");
            for line in rest.by_ref().take_while(|line| *line != ".") {
                read.push_str(line.strip_prefix('.').unwrap_or(line));
                read.push_str("\r\n");
            }
            prop_assert_eq!(read, sent);
            prop_assert_eq!(rest.collect::<Vec<_>>(), vec![""]);
        }
    }
}
