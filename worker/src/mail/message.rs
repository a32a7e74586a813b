//! Assembles a mail: headers, two alternatives, and a Message-ID that every copy shares.

use std::time::SystemTime;

use domain::{
    address::EmailAddress,
    fault::{Fault, Reason},
    ids::EventId,
    login_code::LoginCode,
};
use jiff::Timestamp;
use lettre::{
    Message,
    address::Envelope,
    message::{
        Attachment, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Mail, brand::Logo};

mod encoding;

/// The rendered parts of a mail.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// The sender of the mails.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The name that recipients see, if any.
    pub name: Option<String>,
    /// The address in the header and in the envelope.
    pub address: EmailAddress,
}

/// Headers that mark the mail as automatic (RFC 3834; Microsoft's [MS-OXCMAIL] 2.1.3.2.20). Not
/// `All`, which would suppress bounces too.
const AUTOMATIC: [(HeaderName, &str); 2] = [
    (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"),
    (HeaderName::new_from_ascii_str("X-Auto-Response-Suppress"), "OOF, AutoReply, RN, NRN, DR"),
];

/// What a mail is made for, apart from its code.
pub(super) struct MadeFor<'a> {
    pub(super) event_id: &'a EventId,
    pub(super) reply_to: Option<&'a EmailAddress>,
    pub(super) logo: Option<&'a Logo>,
}

/// The Content-ID of the logo, without its angle brackets.
pub(super) fn logo_id(sender: &Sender) -> String {
    format!("logo@{}", sender.address.domain())
}

/// Builds the message. The same event, code and second yield the same bytes.
pub(super) fn build(
    MadeFor { event_id, reply_to, logo }: MadeFor<'_>,
    sender: &Sender,
    code: &LoginCode,
    content: Content,
    now: Timestamp,
) -> Result<Mail, Fault> {
    let LoginCode { recipient, expires_at, .. } = code;
    let key = digest(event_id);
    let message_id = format!("<{key}@{}>", sender.address.domain());
    // lettre makes one from the headers, by its own rules, if there is none.
    let envelope =
        Envelope::new(None, vec![address(recipient)]).map_err(|_| cannot_build("the envelope"))?;
    let mut builder = Message::builder()
        .envelope(envelope)
        .from(Mailbox::new(sender.name.clone(), address(&sender.address)))
        // The bare address: a display name would put foreign text into our header.
        .to(Mailbox::new(None, address(recipient)))
        .subject(content.subject)
        .message_id(Some(message_id.clone()))
        .date(SystemTime::from(now));
    for (name, value) in AUTOMATIC {
        builder = builder.raw_header(header(name, value.to_owned()));
    }
    for (name, value) in of_its_own(&key, sender.address.domain(), *expires_at) {
        builder = builder.raw_header(header(HeaderName::new_from_ascii_str(name), value));
    }
    if let Some(reply_to) = reply_to {
        builder = builder.reply_to(Mailbox::new(None, address(reply_to)));
    }
    let parts = MultiPart::alternative().boundary(format!("authpost-{key}")).singlepart(
        SinglePart::builder().header(ContentType::TEXT_PLAIN).body(encoding::body(content.text)),
    );
    let html =
        SinglePart::builder().header(ContentType::TEXT_HTML).body(encoding::body(content.html));
    let parts = match logo {
        None => parts.singlepart(html),
        Some(logo) => parts.multipart(with_logo(html, logo, &key, sender)),
    };
    let message = builder.multipart(parts).map_err(|_| cannot_build("the message"))?;
    let bytes = Zeroizing::new(message.formatted());
    Ok(Mail {
        recipient: recipient.clone(),
        sender: sender.address.clone(),
        bytes,
        message_id,
        event_digest: key,
        expires_at: *expires_at,
        unanswered_sends: 0,
    })
}

/// The HTML and the image that it shows (RFC 2387).
fn with_logo(html: SinglePart, logo: &Logo, key: &str, sender: &Sender) -> MultiPart {
    let png = ContentType::parse("image/png").unwrap_or(ContentType::TEXT_PLAIN);
    let image = Attachment::new_inline_with_name(logo_id(sender), "logo.png".to_owned());
    MultiPart::related()
        .boundary(format!("authpost-related-{key}"))
        .singlepart(html)
        .singlepart(image.body(logo.png.clone(), png))
}

/// Header fields that tell this mail from the one before. Gmail folds mails that look alike into one
/// conversation, and hides the newer one.
fn of_its_own(key: &str, domain: &str, expires_at: Timestamp) -> [(&'static str, String); 5] {
    [
        // Some relays replace the Message-ID.
        ("X-Authpost-Event", key.to_owned()),
        ("X-Entity-Ref-ID", key.to_owned()),
        // Of no mail that exists: a conversation of its own.
        ("References", format!("<{key}.conversation@{domain}>")),
        // Of no use to anybody after that (RFC 4021, 2.1.50).
        ("Expires", expires_at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()),
        // What Google's Postmaster Tools group complaints by; the last field names the sender.
        ("Feedback-ID", "login-code:magic-auth:email:authpost".to_owned()),
    ]
}

/// A header of ASCII without a space to fold at: lettre need not look for what to encode.
fn header(name: HeaderName, value: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value)
}

/// 32 hex digits that identify the event without revealing its id.
fn digest(event_id: &EventId) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(32);
    for byte in Sha256::digest(event_id.as_str()).iter().take(16) {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// The address as lettre's, whose own rules do not know all that exist: ours is in the form of SMTP
/// already.
fn address(address: &EmailAddress) -> lettre::Address {
    lettre::Address::new_dangerous(address.expose_local(), address.domain())
}

fn cannot_build(what: &'static str) -> Fault {
    Fault::permanent(Reason::RenderFailed, format!("cannot build {what}"))
}
