//! The options of the engine, from text to settings.

use domain::queue::Capacity;
use engine::{
    rabbitmq::{BrokerConfig, Names},
    redis::RedisConfig,
};
use runtime::tls::Trust;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{
    args,
    parse::Reader,
    settings::{DistributedSettings, EmbeddedSettings, EngineSettings},
};

/// RabbitMQ and Redis when either URL is set, the embedded engine otherwise.
pub(super) fn read(
    reader: &mut Reader,
    args: args::EngineOptions,
    trust: Option<&Trust>,
) -> Option<EngineSettings> {
    if args.is_distributed() {
        return distributed(reader, args, trust).map(EngineSettings::Distributed);
    }
    let capacity = capacity(reader, &args.queue_max, &args.dead_max)?;
    Some(EngineSettings::Embedded(EmbeddedSettings { data_dir: args.data_dir, capacity }))
}

/// Reads the options for RabbitMQ and Redis.
pub(super) fn distributed(
    reader: &mut Reader,
    args: args::EngineOptions,
    trust: Option<&Trust>,
) -> Option<DistributedSettings> {
    let args::EngineOptions {
        amqp_url,
        amqp_url_file,
        redis_url,
        redis_url_file,
        data_dir: _,
        queue_prefix: prefix,
        queue_max,
        dead_max,
    } = args;
    let amqp_url = reader.secret("AMQP_URL", amqp_url, amqp_url_file);
    let redis_url = reader.secret("REDIS_URL", redis_url, redis_url_file);
    require_both(reader, amqp_url.is_some(), redis_url.is_some());
    let amqp_url = amqp_url.and_then(|url| checked(reader, "AMQP_URL", url, &AMQP));
    let redis_url = redis_url.and_then(|url| checked(reader, "REDIS_URL", url, &REDIS));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(allowed) {
        reader.problem("AUTHPOST_QUEUE_PREFIX", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    }
    let capacity = capacity(reader, &queue_max, &dead_max);
    // Without trust, for a reason that was noted, nothing more can be found out.
    let trust = trust?;
    let redis = redis_url.and_then(|url| reader.note("REDIS_URL", RedisConfig::parse(&url, trust)));
    let broker = amqp_url.zip(capacity).and_then(|(url, capacity)| {
        reader.note("AMQP_URL", BrokerConfig::parse(&url, Names::new(&prefix, capacity), trust))
    });
    Some(DistributedSettings { broker: broker?, redis: redis?, prefix })
}

fn require_both(reader: &mut Reader, amqp: bool, redis: bool) {
    let both = "set both for RabbitMQ and Redis, or neither for the embedded engine";
    match (amqp, redis) {
        (true, true) => {}
        (true, false) => {
            reader.problem("REDIS_URL", format!("is not set although AMQP_URL is: {both}"));
        }
        (false, true) => {
            reader.problem("AMQP_URL", format!("is not set although REDIS_URL is: {both}"));
        }
        (false, false) => {
            reader.required("AMQP_URL", None::<()>);
            reader.required("REDIS_URL", None::<()>);
        }
    }
}

fn capacity(reader: &mut Reader, events: &str, dead_letters: &str) -> Option<Capacity> {
    let events = reader.within("AUTHPOST_QUEUE_MAX", events, 1, 10_000_000);
    let dead_letters = reader.within("AUTHPOST_DEAD_MAX", dead_letters, 1, 10_000_000);
    Some(Capacity { events: events?, dead_letters: dead_letters? })
}

/// What a URL may consist of.
struct Form {
    schemes: [&'static str; 2],
    /// The parameters that the library reads. It ignores others, so that a misspelt one would have
    /// no effect.
    parameters: &'static [&'static str],
}

const AMQP: Form = Form {
    schemes: ["amqp", "amqps"],
    parameters: &["auth_mechanism", "channel_max", "connection_timeout", "frame_max", "heartbeat"],
};

const REDIS: Form = Form { schemes: ["redis", "rediss"], parameters: &["protocol"] };

fn checked(
    reader: &mut Reader,
    variable: &'static str,
    url: SecretString,
    form: &Form,
) -> Option<SecretString> {
    let [plain, encrypted] = form.schemes;
    let parsed = Url::parse(url.expose_secret())
        .ok()
        .filter(|url| form.schemes.contains(&url.scheme()) && url.has_host())
        .ok_or_else(|| {
            format!("must be a URL that begins with {plain}:// or {encrypted}:// and names a host")
        });
    let parsed = reader.note(variable, parsed)?;
    let unknown = parsed.query_pairs().any(|(name, _)| !form.parameters.contains(&&*name));
    if unknown {
        let known = form.parameters.join(", ");
        reader.problem(variable, format!("has an unknown parameter; known are: {known}"));
        return None;
    }
    Some(url)
}
