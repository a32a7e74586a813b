//! The options of the engine, from text to settings.

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
    let queue_max = queue_max(reader, &args.queue_max)?;
    Some(EngineSettings::Embedded(EmbeddedSettings { data_dir: args.data_dir, queue_max }))
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
    } = args;
    let amqp_url = reader.secret("AMQP_URL", amqp_url, amqp_url_file);
    let redis_url = reader.secret("REDIS_URL", redis_url, redis_url_file);
    require_both(reader, amqp_url.is_some(), redis_url.is_some());
    let amqp_url = amqp_url.and_then(|url| with_scheme(reader, "AMQP_URL", url, ["amqp", "amqps"]));
    let redis_url =
        redis_url.and_then(|url| with_scheme(reader, "REDIS_URL", url, ["redis", "rediss"]));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(allowed) {
        reader.problem("AUTHPOST_QUEUE_PREFIX", "must be 1 to 64 letters, digits, '-', '_' or '.'");
    }
    let queue_max = self::queue_max(reader, &queue_max);
    // Without trust, for a reason that was noted, nothing more can be found out.
    let trust = trust?;
    let redis = redis_url.and_then(|url| reader.note("REDIS_URL", RedisConfig::parse(&url, trust)));
    let broker = amqp_url.zip(queue_max).and_then(|(url, queue_max)| {
        reader.note("AMQP_URL", BrokerConfig::parse(&url, Names::new(&prefix, queue_max), trust))
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

fn queue_max(reader: &mut Reader, text: &str) -> Option<u64> {
    reader.within("AUTHPOST_QUEUE_MAX", text, 1, 10_000_000)
}

fn with_scheme(
    reader: &mut Reader,
    variable: &'static str,
    url: SecretString,
    schemes: [&str; 2],
) -> Option<SecretString> {
    let parsed = Url::parse(url.expose_secret())
        .ok()
        .filter(|url| schemes.contains(&url.scheme()) && url.has_host());
    let rule = || {
        format!(
            "must be a URL that begins with {}:// or {}:// and names a host",
            schemes[0], schemes[1]
        )
    };
    reader.note(variable, parsed.ok_or_else(rule)).map(|_| url)
}
