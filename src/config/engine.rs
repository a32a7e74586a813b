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
    relay_login::identity,
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
    let prefix = args.queue_prefix;
    let amqp_url = reader.secret("AMQP_URL", args.amqp_url, args.amqp_url_file);
    let redis_url = reader.secret("REDIS_URL", args.redis_url, args.redis_url_file);
    require_both(reader, amqp_url.is_some(), redis_url.is_some());
    let amqp_url = amqp_url.and_then(|urls| checked_amqp(reader, urls));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(allowed) {
        reader.problem("AUTHPOST_QUEUE_PREFIX", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    }
    let capacity = capacity(reader, &args.queue_max, &args.dead_max);
    let files = (args.amqp_client_cert.as_ref(), args.amqp_client_key.as_ref());
    let at_rabbitmq = identity(reader, AMQP_CERT, files);
    let files = (args.redis_client_cert.as_ref(), args.redis_client_key.as_ref());
    let at_redis = identity(reader, REDIS_CERT, files);
    // Without trust, for a reason that was noted, nothing more can be found out.
    let trust = trust?;
    let redis = redis_url.and_then(|url| reader.note("REDIS_URL", RedisConfig::parse(&url, trust)));
    let redis = redis.zip(at_redis).and_then(|(redis, identity)| match identity {
        None => Some(redis),
        Some((cert, key)) => reader.note(REDIS_CERT, redis.with_identity(trust, (&cert, &key))),
    });
    let broker = amqp_url.zip(capacity).and_then(|(url, capacity)| {
        reader.note("AMQP_URL", BrokerConfig::parse(&url, Names::new(&prefix, capacity), trust))
    });
    let broker = broker.zip(at_rabbitmq).and_then(|(broker, identity)| match identity {
        None => Some(broker),
        Some((cert, key)) => reader.note(AMQP_CERT, broker.with_identity(trust, (&cert, &key))),
    });
    Some(DistributedSettings { broker: broker?, redis: redis?, prefix })
}

const AMQP_CERT: &str = "AUTHPOST_AMQP_CLIENT_CERT";
const REDIS_CERT: &str = "AUTHPOST_REDIS_CLIENT_CERT";

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
            reader.required_secret("AMQP_URL", None::<()>);
            reader.required_secret("REDIS_URL", None::<()>);
        }
    }
}

fn capacity(reader: &mut Reader, events: &str, dead_letters: &str) -> Option<Capacity> {
    let events = reader.within("AUTHPOST_QUEUE_MAX", events, 1, 10_000_000);
    let dead_letters = reader.within("AUTHPOST_DEAD_MAX", dead_letters, 1, 10_000_000);
    Some(Capacity { events: events?, dead_letters: dead_letters? })
}

/// The parameters that the library reads. It ignores others, so that a misspelt one would have no
/// effect.
const AMQP_PARAMETERS: [&str; 5] =
    ["auth_mechanism", "channel_max", "connection_timeout", "frame_max", "heartbeat"];

/// URLs of RabbitMQ, each of which the library will understand as it is meant.
fn checked_amqp(reader: &mut Reader, urls: SecretString) -> Option<SecretString> {
    const VARIABLE: &str = "AMQP_URL";
    for url in urls.expose_secret().split_ascii_whitespace() {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| ["amqp", "amqps"].contains(&url.scheme()) && url.has_host())
            .ok_or("must be a URL that begins with amqp:// or amqps:// and names a host");
        let parsed = reader.note(VARIABLE, parsed)?;
        if parsed.query_pairs().any(|(name, _)| !AMQP_PARAMETERS.contains(&&*name)) {
            let known = AMQP_PARAMETERS.join(", ");
            reader.problem(VARIABLE, format!("has an unknown parameter; known are: {known}"));
            return None;
        }
    }
    Some(urls)
}
