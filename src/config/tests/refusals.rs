//! Settings that look right and would not work.

use std::time::Duration;

use clap::Parser as _;
use domain::claims::Limit;

use super::{super::read_serve, Line, read};

#[test]
fn the_samples_of_the_compose_file_are_for_the_emulator() {
    let with = |api: &str, secret: &str| {
        let (api, secret) =
            (format!("--workos-api-url={api}"), format!("--workos-webhook-secret={secret}"));
        let line = Line::parse_from([
            "serve",
            &api,
            &secret,
            "--workos-api-key=sk_test_default",
            "--smtp-url=smtps://user:hush-relay@relay.example",
            "--mail-from=login@acme.example",
        ]);
        read_serve(line.serve).map(drop).map_err(|problems| problems.to_string())
    };
    assert_eq!(with("http://127.0.0.1:4100", "whsec_sandbox"), Ok(()));
    let refused = with("https://api.workos.com", "whsec_own, whsec_sandbox").expect_err("refused");
    for variable in ["WORKOS_WEBHOOK_SECRET is the sample", "WORKOS_API_KEY is the sample"] {
        assert!(refused.contains(variable), "{refused}");
    }
}

#[test]
fn urls_of_services_say_what_they_cannot_mean() {
    let engine = |amqp: &str, redis: &str| {
        let flags = [format!("--amqp-url={amqp}"), format!("--redis-url={redis}")];
        read(&flags.each_ref().map(String::as_str)).map(drop)
    };
    assert_eq!(engine("amqp://h/%2f?heartbeat=10&frame_max=131072", "redis://h/3"), Ok(()));
    for (amqp, redis, says) in [
        ("amqp://h?heartbeat=x", "redis://h", "AMQP_URL must be a URL"),
        ("amqp://h?hartbeat=10", "redis://h", "AMQP_URL has an unknown parameter"),
        ("amqp://h", "redis://h/x", "REDIS_URL must be a URL"),
        ("amqp://h", "redis://h/-1", "REDIS_URL must be a URL"),
        ("amqp://h", "redis://h/99999999999999999999", "REDIS_URL must be a URL"),
        ("amqp://h", "redis://h?db=1", "REDIS_URL has an unknown parameter"),
    ] {
        let error = engine(amqp, redis).expect_err("refused");
        assert!(error.contains(says), "{amqp} {redis}: {error}");
    }
}

#[test]
fn the_limit_on_a_user_is_a_number_and_a_period_or_off() {
    let limit = |text: &str| {
        read(&[&format!("--person-limit={text}")]).map(|(_, worker, _, _)| worker.user_limit)
    };
    let ten = Limit { most: 10, period: Duration::from_secs(600) };
    assert_eq!(read(&[]).expect("complete").1.user_limit, Some(ten));
    assert_eq!(limit("10 / 10 minutes"), Ok(Some(ten)));
    assert_eq!(limit("off"), Ok(None));
    for text in ["", "10", "0/1 min", "10/", "/1 min", "10/2 days", "ten/1 min", "-1/1 min"] {
        assert!(limit(text).is_err_and(|why| why.contains("AUTHPOST_PERSON_LIMIT")), "{text}");
    }
}
