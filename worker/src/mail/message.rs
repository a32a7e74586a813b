//! Putting a mail together: headers, two alternatives, and an id that every copy shares.

use std::time::SystemTime;

use jiff::Timestamp;
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use sha2::{Digest as _, Sha256};
use shared::{
    address::EmailAddress,
    fault::{Fault, Reason},
    ids::EventId,
    login_code::LoginCode,
};
use zeroize::Zeroizing;

use super::Mail;

/// What the templates made.
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// Who the mail is from.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The name people see, if any.
    pub name: Option<String>,
    /// The address, in the header and in the envelope.
    pub address: EmailAddress,
}

/// Headers that say "a machine wrote this, do not answer it" (RFC 3834; Microsoft's [MS-OXCMAIL] 2.1.3.2.20). `All` is
/// not asked for: it would suppress the bounces too.
const AUTOMATIC: &[(&str, &str)] = &[("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "OOF, AutoReply, RN, NRN, DR")];

/// Builds the message. The same event, code and second give the same bytes.
pub(super) fn build(event_id: &EventId, sender: &Sender, code: &LoginCode, content: Content, now: Timestamp) -> Result<Mail, Fault> {
    let LoginCode { recipient, expires_at, .. } = code;
    let key = digest(event_id);
    let message_id = format!("<{key}@{}>", sender.address.domain());
    let mut builder = Message::builder()
        .from(Mailbox::new(sender.name.clone(), address(&sender.address)?))
        // The bare address: a display name would be somebody else's text in our header.
        .to(Mailbox::new(None, address(recipient)?))
        .subject(content.subject)
        .message_id(Some(message_id.clone()))
        .date(SystemTime::from(now));
    for (name, value) in AUTOMATIC {
        let name = HeaderName::new_from_ascii((*name).to_owned()).map_err(|_| unbuildable("a header name"))?;
        builder = builder.raw_header(HeaderValue::new(name, (*value).to_owned()));
    }
    let parts = MultiPart::alternative()
        .boundary(format!("authpost-{key}"))
        .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(content.text))
        .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(content.html));
    let message = builder.multipart(parts).map_err(|_| unbuildable("the message"))?;
    let bytes = Zeroizing::new(message.formatted());
    Ok(Mail { recipient: recipient.clone(), sender: sender.address.clone(), bytes, message_id, expires_at: *expires_at })
}

/// 32 hex digits that name the event without repeating its id.
fn digest(event_id: &EventId) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(32);
    for byte in Sha256::digest(event_id.as_str()).iter().take(16) {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// lettre has rules of its own about addresses; one that breaks them cannot be mailed by us.
pub(crate) fn address(address: &EmailAddress) -> Result<lettre::Address, Fault> {
    lettre::Address::new(address.expose_local(), address.domain())
        .map_err(|_| Fault::permanent(Reason::UnsupportedAddress, "the address is not one that SMTP can carry"))
}

fn unbuildable(what: &'static str) -> Fault {
    Fault::permanent(Reason::RenderFailed, format!("{what} could not be built"))
}
