//! A login code, its recipient, and when it expires.

use std::fmt;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::address::EmailAddress;

/// Longest code accepted, in characters. WorkOS's have six digits.
const MAX_CODE_CHARS: usize = 16;

/// Why a text is not a login code. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code is 4 to {MAX_CODE_CHARS} letters or digits")]
pub struct InvalidCode;

/// The digits a person types. No `Display`, no `Serialize`; `{:?}` shows `***`; the memory is wiped
/// on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// Letters and digits only, so that a code can never bring markup or a line break into a mail.
    pub fn parse(text: String) -> Result<Self, InvalidCode> {
        let text = Zeroizing::new(text);
        let plain = (4..=MAX_CODE_CHARS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { Ok(Self(text)) } else { Err(InvalidCode) }
    }

    /// A code that is valid nowhere, and says so.
    pub fn sample() -> Self {
        Self(Zeroizing::new("SAMPLE1".to_owned()))
    }

    /// The code as text. For the mail only; never for a log line.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a `CodeSource` answers: the code, its recipient as WorkOS knows it, and when it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginCode {
    pub code: Code,
    /// The recipient. From WorkOS's answer, never from the event.
    pub recipient: EmailAddress,
    /// When the code stops working.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_never_prints() {
        let code = LoginCode {
            code: Code::parse("012345".to_owned()).expect("valid"),
            recipient: EmailAddress::parse("alice@example.com").expect("valid"),
            expires_at: Timestamp::UNIX_EPOCH,
        };
        let shown = format!("{code:?}");
        assert!(!shown.contains("012345") && !shown.contains("alice@"), "{shown}");
        assert_eq!(code.code.expose(), "012345");
    }

    #[test]
    fn a_code_is_letters_and_digits() {
        for text in ["", "123", "12 456", "12345\n", "<b>123</b>", "1234567890123456x"] {
            assert_eq!(Code::parse(text.to_owned()), Err(InvalidCode), "{text:?}");
        }
    }
}
