//! The options for what mails look like, from text to templates.

use std::time::Duration;

use domain::language::LanguageTag;
use runtime::tls::Trust;
use url::Host;
use worker::mail::{
    message::Sender,
    render::{TemplateError, TemplateOptions, Templates},
    smtp::RelayConfig,
};

use super::{Problems, args, parse::Reader, process, relays};

/// The sender of samples if none is configured.
const NOBODY: &str = "Example <login@example.com>";

/// `authpost mail preview` and `lint`: the templates, whoever sends them.
pub fn read_templates(mut args: args::MailOptions) -> Result<Templates, Problems> {
    let mut reader = Reader::default();
    args.mail_from.get_or_insert_with(|| NOBODY.to_owned());
    let sender = sender(&mut reader, &args);
    let templates = sender.and_then(|sender| templates(&mut reader, &args, &sender));
    reader.finish(templates)
}

/// What a sample needs on its way.
pub struct SampleSettings {
    pub templates: Templates,
    /// In order of preference; at least one.
    pub relays: Vec<RelayConfig>,
    /// A relay that takes longer to be ready gets the next one beside it.
    pub hedge: Duration,
    /// The certificate authorities to trust.
    pub trust: Trust,
}

/// `authpost mail send`: the templates and the relays of a worker.
pub fn read_sample(args: &args::SampleArgs) -> Result<SampleSettings, Problems> {
    let mut reader = Reader::default();
    let trust = process::trust(&mut reader, &args.outgoing);
    let sender = sender(&mut reader, &args.worker.mails);
    let templates =
        sender.as_ref().and_then(|sender| templates(&mut reader, &args.worker.mails, sender));
    let relays = relays::read(&mut reader, &args.worker, sender.as_ref(), trust.as_ref());
    refuse_two_reply_tos(&mut reader, templates.as_ref(), relays.as_deref());
    let hedge = relays::hedge(&mut reader, &args.worker);
    let settings = templates.zip(relays).zip(hedge).zip(trust);
    reader.finish(settings.map(|(((templates, relays), hedge), trust)| SampleSettings {
        templates,
        relays,
        hedge,
        trust,
    }))
}

/// The sender of the mails.
pub(super) fn sender(reader: &mut Reader, args: &args::MailOptions) -> Option<Sender> {
    let text = reader.required("MAIL_FROM", args.mail_from.as_deref())?;
    reader.sender("MAIL_FROM", text)
}

/// The templates, tried with a sample.
pub(super) fn templates(
    reader: &mut Reader,
    args: &args::MailOptions,
    sender: &Sender,
) -> Option<Templates> {
    let app_name = app_name(reader, args.app_name.clone(), sender)?;
    let locale = LanguageTag::parse(&args.locale);
    let locale = reader.note("AUTHPOST_LOCALE", locale)?;
    let code_domain = match args.code_domain.as_deref() {
        Some(text) => Some(code_domain(reader, text)?),
        None => None,
    };
    let templates = Templates::load(TemplateOptions {
        directory: args.template_dir.as_deref(),
        app_name: &app_name,
        sender: sender.clone(),
        locale,
        code_domain: code_domain.as_deref(),
    });
    if let Err(TemplateError::NoLanguage { .. }) = templates {
        let templates = templates.map_err(|why| why.to_string());
        return reader.note("AUTHPOST_LOCALE", templates);
    }
    reader.note("AUTHPOST_TEMPLATE_DIR", templates.map_err(|why| format!("cannot be used: {why}")))
}

/// A host name in ASCII, as in `example.com`.
fn code_domain(reader: &mut Reader, text: &str) -> Option<String> {
    let host = Host::parse(text).ok().filter(|host| matches!(host, Host::Domain(_)));
    let domain = host.map(|host| host.to_string()).ok_or("must be a domain such as example.com");
    reader.note("AUTHPOST_CODE_DOMAIN", domain)
}

fn app_name(reader: &mut Reader, name: Option<String>, sender: &Sender) -> Option<String> {
    let name =
        name.or_else(|| sender.name.clone()).unwrap_or_else(|| sender.address.domain().to_owned());
    let valid = !name.trim().is_empty()
        && name.chars().count() <= 100
        && !name.chars().any(char::is_control);
    reader.note(
        "AUTHPOST_APP_NAME",
        valid.then_some(name).ok_or("must be 1 to 100 characters on one line"),
    )
}

/// A mail has one Reply-To field.
pub(super) fn refuse_two_reply_tos(
    reader: &mut Reader,
    templates: Option<&Templates>,
    relays: Option<&[RelayConfig]>,
) {
    let by_relays = relays
        .is_some_and(|relays| relays.iter().any(|relay| relay.headers().contains("Reply-To:")));
    if by_relays && templates.is_some_and(Templates::replies) {
        let twice = "sets reply_to in brand.toml, and so does AUTHPOST_RELAYS_FILE: set one";
        reader.problem("AUTHPOST_TEMPLATE_DIR", twice);
    }
}
