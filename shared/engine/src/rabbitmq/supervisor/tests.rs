//! Unit tests of the parent module.

use domain::queue::Capacity;

use super::*;

#[test]
fn defaults_do_not_override_the_operator() {
    assert_eq!(with_defaults("amqp://h/%2f"), "amqp://h/%2f?heartbeat=10&frame_max=16384");
    assert_eq!(with_defaults("amqp://h?heartbeat=30"), "amqp://h?heartbeat=30&frame_max=16384");
}

#[test]
fn a_slow_broker_is_given_more_time_with_each_failure() {
    let limits: Vec<u64> =
        [0, 1, 2, 3, 4, 40].map(|failures| step_limit(failures).as_secs()).to_vec();
    assert_eq!(limits, [8, 16, 30, 30, 30, 30]);
}

#[test]
fn a_url_that_cannot_be_used_is_refused_and_never_printed() {
    let trust = Trust::load(None).expect("usable");
    let parse = |url: &str| {
        BrokerConfig::parse(
            &SecretString::from(url.to_owned()),
            Names::new("a", Capacity::default()),
            &trust,
        )
    };
    for url in ["", "http://h", "amqp://u:secret@h?heartbeat=soon"] {
        assert_eq!(parse(url).map(drop), Err(InvalidAmqpUrl), "{url}");
    }
    assert!(!format!("{:?}", parse("amqps://u:secret@h/%2f").expect("a URL")).contains("secret"));
}
