//! The options of the worker, from text to settings.

use std::time::Duration;

use domain::claims::Limit;
use engine::local_sent_cache::OnStoreOutage;
use runtime::{live::Live, tls::Trust};
use worker::OnAmbiguity;
use workos::ApiConfig;

use super::{args, mails, parse::Reader, relays, settings::WorkerSettings};

/// How long the language of a user at WorkOS is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);

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
    let sender = mails::sender(reader, &args.mails);
    let user_locale = reader.word(
        "AUTHPOST_USER_LOCALE",
        &args.user_locale,
        &[("on", Some(REMEMBERED)), ("off", None)],
    );
    let templates =
        sender.as_ref().and_then(|sender| mails::templates(reader, &args.mails, sender));
    let hedge = relays::hedge(reader, args);
    let relays = relays::read(reader, args, sender.as_ref(), trust);
    mails::refuse_two_reply_tos(reader, templates.as_ref(), relays.as_deref());
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
