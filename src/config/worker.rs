//! The options of the worker, from text to settings.

use std::time::Duration;

use domain::{claims::Limit, language::LanguageTag};
use engine::local_sent_cache::OnStoreOutage;
use runtime::{live::Live, tls::Trust};
use url::Host;
use worker::{
    OnAmbiguity,
    mail::{
        message::Sender,
        render::{TemplateError, TemplateOptions, Templates},
        smtp::RelayConfig,
    },
};
use workos::ApiConfig;

use super::{args, parse::Reader, relays, settings::WorkerSettings};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long the claim store must be unavailable before `AUTHPOST_REDIS_OUTAGE=send` takes effect.
const SEND_AFTER: Duration = Duration::from_secs(20);

pub(super) fn read(
    reader: &mut Reader,
    args: &args::WorkerOptions,
    api: Option<ApiConfig>,
    trust: Option<&Trust>,
) -> Option<WorkerSettings> {
    let api_rate = reader.within("AUTHPOST_WORKOS_RATE", &args.workos_rate, 0, 100_000);
    let concurrency = reader.within("AUTHPOST_CONCURRENCY", &args.concurrency, 1, 1000);
    let dedupe_ttl = reader.duration(
        "AUTHPOST_DEDUPE_TTL",
        &args.dedupe_ttl,
        Duration::from_secs(600),
        90 * DAY,
    );
    let user_limit = limit(reader, "AUTHPOST_PERSON_LIMIT", &args.person_limit, 1000);
    let mail_limit = limit(reader, "AUTHPOST_MAIL_LIMIT", &args.mail_limit, 10_000_000);
    let outages = [("hold", OnStoreOutage::Hold), ("send", OnStoreOutage::SendAfter(SEND_AFTER))];
    let on_store_outage = reader.word("AUTHPOST_REDIS_OUTAGE", &args.redis_outage, &outages);
    let ambiguities = [("resend", OnAmbiguity::Resend), ("dead-letter", OnAmbiguity::DeadLetter)];
    let on_ambiguity = reader.word("AUTHPOST_ON_AMBIGUITY", &args.on_ambiguity, &ambiguities);
    let reconcile =
        reader.word("AUTHPOST_RECONCILE", &args.reconcile, &[("on", true), ("off", false)]);
    let sender = reader
        .required("MAIL_FROM", args.mail_from.as_deref())
        .and_then(|text| reader.sender("MAIL_FROM", text));
    let user_locale =
        reader.word("AUTHPOST_USER_LOCALE", &args.user_locale, &[("on", true), ("off", false)]);
    let templates = sender.as_ref().and_then(|sender| templates(reader, args, sender));
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(30));
    let hedge = reader.duration("AUTHPOST_RELAY_HEDGE", &args.relay_hedge, least, most);
    let relays = relays::read(reader, args, sender.as_ref(), trust);
    refuse_two_reply_tos(reader, templates.as_ref(), relays.as_deref());
    Some(WorkerSettings {
        api: api?,
        api_rate: u32::try_from(api_rate?).ok()?,
        relays: relays?,
        relay_hedge: hedge?,
        templates: Live::new(templates?),
        user_locale: user_locale?,
        concurrency: u16::try_from(concurrency?).ok()?,
        dedupe_ttl: dedupe_ttl?,
        user_limit,
        mail_limit,
        on_store_outage: on_store_outage?,
        on_ambiguity: on_ambiguity?,
        reconcile: reconcile?,
    })
}

/// A mail has one Reply-To field.
fn refuse_two_reply_tos(
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

/// Parses a number and a period, as in `10/10 min`, or `off`. `None` also if the text is wrong: that
/// is noted, and no settings come of it.
fn limit(reader: &mut Reader, variable: &'static str, text: &str, most: u64) -> Option<Limit> {
    if text.trim() == "off" {
        return None;
    }
    let parts =
        text.split_once('/').ok_or("must be a number and a period, as in 10/10 min, or off");
    let (count, period) = reader.note(variable, parts)?;
    let count = reader.within(variable, count, 1, most);
    let period = reader.duration(variable, period, Duration::from_secs(1), DAY);
    Some(Limit { most: u32::try_from(count?).ok()?, period: period? })
}

fn templates(
    reader: &mut Reader,
    args: &args::WorkerOptions,
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
