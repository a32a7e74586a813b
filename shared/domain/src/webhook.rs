//! Webhook signatures: from bytes that anybody may have sent to a body that WorkOS did send.
//!
//! The header is `WorkOS-Signature: t=<milliseconds>, v1=<hex HMAC-SHA256 of "<t>.<raw body>">`
//! (<https://workos.com/docs/events/data-syncing/webhooks>). The raw bytes are checked before
//! anything looks into them. Several secrets may be live at once, so that a secret can be changed
//! without losing a delivery.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use crate::payload::{self, Unreadable, VerifiedEvent};

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "workos-signature";

/// How far `t` may be from our clock, in either direction. WorkOS's own SDKs use the same three
/// minutes.
pub const TOLERANCE: SignedDuration = SignedDuration::from_secs(180);

/// Most `v1` values looked at in one header. Each costs a comparison only, but a header is the
/// sender's to fill.
const MAX_SIGNATURES: usize = 8;

/// Why a delivery is rejected. The variants are metric labels; the sender learns only "401".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No signature header at all.
    #[error("no WorkOS-Signature header")]
    Missing,
    /// A header that is not of the documented form.
    #[error("a WorkOS-Signature header that is not of the form t=…, v1=…")]
    Malformed,
    /// No live secret makes this signature: another sender, another secret, or a changed body.
    #[error("a signature that none of the configured secrets makes")]
    Forged,
    /// A genuine signature, too far from now: a replay, or a clock that is off.
    #[error("a genuine signature whose time is more than three minutes from ours")]
    Stale,
}

/// The secrets that a delivery may be signed with. Never empty, none of them empty: with an empty
/// key anybody could sign.
#[derive(Clone)]
pub struct WebhookKeys(Vec<Hmac<Sha256>>);

/// An empty list of secrets, or an empty secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook secret is empty")]
pub struct EmptySecret;

impl WebhookKeys {
    /// Keyed once here, so that a request costs no key set-up.
    pub fn new(secrets: &[SecretString]) -> Result<Self, EmptySecret> {
        if secrets.is_empty() {
            return Err(EmptySecret);
        }
        secrets
            .iter()
            .map(|secret| keyed(secret).ok_or(EmptySecret))
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    /// The header value that WorkOS would send for `body` at `at`, by the first secret: for a probe
    /// of our own.
    pub fn sign(&self, at: Timestamp, body: &[u8]) -> Option<String> {
        self.0.first().and_then(|key| signed(key.clone(), at, body))
    }
}

impl fmt::Debug for WebhookKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookKeys({} keys)", self.0.len())
    }
}

fn keyed(secret: &SecretString) -> Option<Hmac<Sha256>> {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return None;
    }
    // HMAC takes keys of any length (RFC 2104); the Result is the trait's, not the algorithm's.
    Hmac::new_from_slice(secret.as_bytes()).ok()
}

/// A delivery as received: nothing in it is trusted yet.
#[derive(Debug)]
pub struct SignedDelivery<'a> {
    /// The value of `WorkOS-Signature`, if there was one.
    pub signature: Option<&'a [u8]>,
    /// The body, byte for byte as received.
    pub body: Bytes,
    pub received_at: Timestamp,
}

impl SignedDelivery<'_> {
    /// Checks the signature, then its age.
    pub fn verify(self, keys: &WebhookKeys) -> Result<AuthenticBody, Rejection> {
        let header =
            parse_header(self.signature.ok_or(Rejection::Missing)?).ok_or(Rejection::Malformed)?;
        if !header.matches(keys, &self.body) {
            return Err(Rejection::Forged);
        }
        // After the comparison, so that only genuine deliveries are counted as stale.
        let now = i128::from(self.received_at.as_millisecond());
        if (now - i128::from(header.milliseconds)).abs() > TOLERANCE.as_millis() {
            return Err(Rejection::Stale);
        }
        Ok(AuthenticBody { body: self.body, received_at: self.received_at })
    }
}

/// A body that WorkOS signed and sent just now. Made only by [`SignedDelivery::verify`].
#[derive(Debug)]
pub struct AuthenticBody {
    body: Bytes,
    received_at: Timestamp,
}

impl AuthenticBody {
    /// Reads the event from the authentic body.
    pub fn read(self) -> Result<VerifiedEvent, Unreadable> {
        payload::parse_event(&self.body, self.received_at)
    }
}

struct Header<'a> {
    /// `t` as it stands in the header: these bytes are signed, not the number.
    t: &'a [u8],
    milliseconds: u64,
    signatures: Vec<[u8; 32]>,
}

impl Header<'_> {
    /// Every key is tried on every signature, whatever matched before, so that timing does not
    /// reveal which one did.
    fn matches(&self, keys: &WebhookKeys, body: &[u8]) -> bool {
        let mut matched = Choice::from(0);
        for key in &keys.0 {
            let mut mac = key.clone();
            mac.update(self.t);
            mac.update(b".");
            mac.update(body);
            let expected = mac.finalize().into_bytes();
            for signature in &self.signatures {
                matched |= expected.ct_eq(signature);
            }
        }
        matched.into()
    }
}

/// Parts in any order, exactly one `t` of 1 to 16 digits, one to eight `v1`; unknown parts are
/// ignored, so that a future `v2` does not stop the mail.
fn parse_header(header: &[u8]) -> Option<Header<'_>> {
    let mut t = None;
    let mut signatures = Vec::with_capacity(1);
    for part in
        header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
    {
        let at = part.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (part[..at].trim_ascii(), part[at + 1..].trim_ascii());
        match key {
            b"t" if t.is_some() => return None,
            b"t" => t = Some((value, parse_milliseconds(value)?)),
            b"v1" if signatures.len() == MAX_SIGNATURES => return None,
            b"v1" => signatures.push(parse_hex(value)?),
            _ => {}
        }
    }
    let (t, milliseconds) = t?;
    (!signatures.is_empty()).then_some(Header { t, milliseconds, signatures })
}

/// Digits only: `u64::from_str` would take a leading `+`.
fn parse_milliseconds(digits: &[u8]) -> Option<u64> {
    let plain = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

fn parse_hex(text: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    let mut invalid = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| DIGITS[usize::from(digit)]);
        invalid |= (high | low) & NO_DIGIT;
        *byte = (high << 4) | low;
    }
    (invalid == 0).then_some(bytes)
}

/// The mark of what is no hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// The values of hexadecimal digits, which strangers can have us read in each request.
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The header value that WorkOS would send for `body` at `at`: for `authpost sign`, the sandbox and
/// the tests. `None` for an empty secret.
pub fn sign(secret: &SecretString, at: Timestamp, body: &[u8]) -> Option<String> {
    signed(keyed(secret)?, at, body)
}

fn signed(mut mac: Hmac<Sha256>, at: Timestamp, body: &[u8]) -> Option<String> {
    use std::fmt::Write as _;
    let t = at.as_millisecond().to_string();
    mac.update(t.as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut header = format!("t={t}, v1=");
    for byte in mac.finalize().into_bytes() {
        // Writing to a String cannot fail.
        write!(header, "{byte:02x}").ok()?;
    }
    Some(header)
}

#[cfg(test)]
mod tests;
