//! Where phones find a code: in the rule that Android publishes for notifications (AOSP,
//! `NotificationOtpDetectionHelper`), which is the strictest that is public.

/// How much of a subject and a text is searched, in characters.
const SEARCHED: usize = 600;

/// The first code of `text`, if a phone would find one: 5 to 8 ASCII letters or digits, at least
/// one of them a digit, after the beginning, white space, `(` or `:`, and before anything that is
/// no word.
pub fn first_code(text: &str) -> Option<&str> {
    let end = text.char_indices().nth(SEARCHED).map_or(text.len(), |(at, _)| at);
    let text = &text[..end];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let length = bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
        let word = &text[at..at + length];
        let before = at.checked_sub(1).map(|before| bytes[before]);
        // Java's white space: no non-breaking space is among it.
        let begins = before.is_none_or(|byte| matches!(byte, b'\t'..=b'\r' | b' ' | b'(' | b':'));
        let is_code = (5..=8).contains(&length)
            && !word.contains('_')
            && word.bytes().any(|byte| byte.is_ascii_digit());
        if begins && is_code {
            return Some(word);
        }
        at += length;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_where_a_phone_finds_it() {
        for (text, code) in [
            ("123456 is your code", Some("123456")),
            ("Code:123456.", Some("123456")),
            ("(AB12C)", Some("AB12C")),
            ("你的 123456 登录", Some("123456")),
            ("123456が", Some("123456")),
            ("G-123456", None),
            ("\u{a0}123456", None),
            ("は123456", None),
            ("1234", None),
            ("123456789", None),
            ("letters", None),
            ("123_456", None),
            ("at 12:00 UTC", None),
        ] {
            assert_eq!(first_code(text), code, "{text:?}");
        }
        assert_eq!(first_code(&format!("{} 123456", "x ".repeat(300))), None);
    }
}
