//! An e-mail address that prints masked.
//!
//! The full address is needed in two places only, the envelope and the `To` header, and both ask
//! for it by name ([`EmailAddress::expose`]). Everything else, `{}` and `{:?}` included, shows
//! `a***@example.com`.

use std::{borrow::Cow, fmt};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

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
    /// A control character, or outside quotation marks a space or a bracket: the material of header
    /// and command injection.
    #[error("has a character that no mailable address has")]
    Character,
    /// The domain cannot be written in the form SMTP speaks (IDNA, RFC 5890).
    #[error("the domain is not a valid name")]
    Domain,
}

/// The ASCII that no domain of an address has. `_` is in names that exist, though not in those of
/// hosts.
const NOT_IN_A_DOMAIN: AsciiDenyList = AsciiDenyList::new(true, " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// An address that can stand in an SMTP envelope. The domain is in its ASCII (IDNA) form; the part
/// before the `@` is quoted where SMTP wants that (RFC 5321, 4.1.2), as in `"a..b"@example.com`.
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
        let (local, domain) = (local_part(local)?, ascii_domain(domain)?);
        // The form that SMTP speaks can be longer than the one that was typed.
        if local.len() + 1 + domain.len() > MAX_ADDRESS_BYTES {
            return Err(InvalidAddress::TooLong);
        }
        Ok(Self { local, domain })
    }

    /// The whole address. For the envelope and the `To` header; never for a log line.
    pub fn expose(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// The part before the `@`, quoted where SMTP wants that. As private as the whole.
    pub fn expose_local(&self) -> &str {
        &self.local
    }

    /// The part after the `@`, in ASCII.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// The part before the `@` in the form of SMTP: bare if it can be, else quoted. Mail hosts hand out
/// addresses such as `a..b@` and `a.@`, which cannot stand there bare.
fn local_part(text: &str) -> Result<String, InvalidAddress> {
    let meant = match text.strip_prefix('"') {
        Some(rest) => Cow::Owned(unquoted(rest)?),
        None if text.contains(|c: char| {
            c.is_whitespace()
                || matches!(c, '<' | '>' | '"' | '(' | ')' | ',' | ';' | ':' | '\\' | '@')
        }) =>
        {
            return Err(InvalidAddress::Character);
        }
        None => Cow::Borrowed(text),
    };
    let unsafe_in_a_line = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if meant.is_empty() {
        return Err(InvalidAddress::Shape);
    }
    if meant.contains(unsafe_in_a_line) {
        return Err(InvalidAddress::Character);
    }
    let is_atom = |atom: &str| !atom.is_empty() && atom.chars().all(is_atom_character);
    if meant.split('.').all(is_atom) {
        return Ok(meant.into_owned());
    }
    let escaped = meant.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("\"{escaped}\""))
}

/// `atext` of RFC 5322, 3.2.3, with what RFC 6532 adds.
fn is_atom_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

/// What a quoted string stands for. `rest` is without the first quote.
fn unquoted(rest: &str) -> Result<String, InvalidAddress> {
    let mut meant = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(meant),
            Some('\\') => meant.push(characters.next().ok_or(InvalidAddress::Character)?),
            Some('"') | None => return Err(InvalidAddress::Character),
            Some(c) => meant.push(c),
        }
    }
}

/// The domain in ASCII, without the dot of the root.
fn ascii_domain(text: &str) -> Result<String, InvalidAddress> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(InvalidAddress::Shape);
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>')) {
        return Err(InvalidAddress::Character);
    }
    let ascii = Uts46::new().to_ascii(
        text.as_bytes(),
        NOT_IN_A_DOMAIN,
        Hyphens::CheckFirstLast,
        DnsLength::Verify,
    );
    ascii.map(Cow::into_owned).map_err(|_| InvalidAddress::Domain)
}

/// Masked: the first character, three stars whatever the length, the domain.
impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.local.trim_start_matches('"');
        let first = bare.chars().next().filter(|_| bare.chars().count() > 1);
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
