//! Unit tests of the parent module.

use std::time::Duration;

use jiff::Timestamp;

use super::*;

#[test]
fn every_series_exists_before_anything_happens() {
    let exposition = Metrics::new("1.2.3").expect("declared rightly").expose();
    for line in [
        "authpost_build_info{version=\"1.2.3\"} 1",
        "authpost_webhooks_total{result=\"forged\"} 0",
        "authpost_outcomes_total{outcome=\"dead\",reason=\"not_found\"} 0",
        "authpost_outcomes_total{outcome=\"sent\",reason=\"none\"} 0",
        "authpost_delivery_seconds_count 0",
        "authpost_queue_depth{queue=\"dead\"} 0",
    ] {
        assert!(exposition.contains(line), "no {line} in\n{exposition}");
    }
}

#[test]
fn names_and_help_follow_the_conventions() {
    let metrics = Metrics::new("1.2.3").expect("declared rightly");
    for family in metrics.registry.gather() {
        let name = family.name();
        assert!(name.starts_with("authpost_") || name.starts_with("process_"), "{name}");
        let counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
        assert_eq!(counter, name.ends_with("_total"), "{name}");
        assert!(
            family.help().ends_with('.') || name.starts_with("process_"),
            "{name}: {}",
            family.help()
        );
    }
}

#[test]
fn an_age_is_never_negative() {
    let metrics = Metrics::new("1.2.3").expect("declared rightly");
    let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(9).expect("in range"));
    assert_eq!(metrics.age(early, late), Duration::from_secs(9));
    assert_eq!(metrics.age(late, early), Duration::ZERO);
    assert!(metrics.expose().contains("authpost_clock_skew_total 1"));
}
