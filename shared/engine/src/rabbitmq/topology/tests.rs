//! Unit tests of the parent module.

use super::*;

#[test]
fn every_name_bears_the_prefix() {
    let names = Names::new("acme", Capacity { events: 10, dead_letters: 5 });
    let all = [
        names.events(),
        names.fallback(),
        names.work(),
        names.late(),
        names.unrouted(),
        names.dead(),
        names.retry(Stage::S30),
    ];
    assert_eq!(
        all,
        [
            "acme.events",
            "acme.fallback",
            "acme.work",
            "acme.late",
            "acme.unrouted",
            "acme.dead",
            "acme.retry.30s"
        ]
    );
}

#[test]
fn every_queue_we_publish_to_under_load_is_bounded_and_refuses() {
    let names = Names::new("acme", Capacity { events: 10, dead_letters: 5 });
    for arguments in
        [work_arguments(&names), late_arguments(&names), retry_arguments(&names, Stage::S2)]
    {
        assert!(arguments.contains_key("x-max-length") && arguments.contains_key("x-overflow"));
    }
}
