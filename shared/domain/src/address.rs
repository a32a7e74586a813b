//! An e-mail address that prints masked.
//!
//! The full address is needed in two places only, the envelope and the `To` header, and both ask
//! for it by name ([`EmailAddress::expose`]). Everything else, `{}` and `{:?}` included, shows
//! `a***@example.com`.

use std::fmt;

/// Longest address accepted, in bytes (RFC 5321, 4.5.3.1.3: a path of 256 octets with its
/// brackets).
pub const MAX_ADDRESS_BYTES: usize = 254;

/// Why a text is not an address that mail can be sent to. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// No `@`, or nothing on one side of it.
    #[error("not of the form local@domain")]
    Shape,
    /// Longer than [`MAX_ADDRESS_BYTES`], which SMTP does not carry.
    #[error("longer than {MAX_ADDRESS_BYTES} bytes")]
    TooLong,
    /// A control character, a space, or a bracket: the material of header and command injection.
    #[error("has a character that no mailable address has")]
    Character,
    /// The domain cannot be written in the form SMTP speaks (IDNA, RFC 5890).
    #[error("the domain is not a valid name")]
    Domain,
}

/// An address that can stand in an SMTP envelope. The domain is in its ASCII (IDNA) form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    local: String,
    domain: String,
}

impl EmailAddress {
    /// The only way to make one.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(InvalidAddress::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidAddress::Shape)?;
        if local.is_empty() || domain.is_empty() {
            return Err(InvalidAddress::Shape);
        }
        let forbidden = |c: char| {
            c.is_control()
                || c.is_whitespace()
                || matches!(c, '<' | '>' | '"' | '(' | ')' | ',' | ';' | ':' | '\\' | '@')
        };
        if local.contains(forbidden) || domain.contains(forbidden) {
            return Err(InvalidAddress::Character);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidAddress::Domain)?;
        if domain.is_empty() || domain.starts_with('.') || domain.ends_with('.') {
            return Err(InvalidAddress::Domain);
        }
        // The form that SMTP speaks can be longer than the one that was typed.
        if local.len() + 1 + domain.len() > MAX_ADDRESS_BYTES {
            return Err(InvalidAddress::TooLong);
        }
        Ok(Self { local: local.to_owned(), domain })
    }

    /// The whole address. For the envelope and the `To` header; never for a log line.
    pub fn expose(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// The part before the `@`. As private as the whole.
    pub fn expose_local(&self) -> &str {
        &self.local
    }

    /// The part after the `@`, in ASCII.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// Masked: the first character, three stars whatever the length, the domain.
impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.local.chars().next().filter(|_| self.local.chars().count() > 1);
        match first {
            Some(first) => write!(f, "{first}***@{}", self.domain),
            None => write!(f, "***@{}", self.domain),
        }
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
