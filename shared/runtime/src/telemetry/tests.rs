//! Unit tests of the parent module.

use tracing::Level;

use super::*;

#[test]
fn libraries_that_print_payloads_cannot_be_turned_up() {
    for (target, level) in CLAMPED.iter().filter(|(target, _)| *target != trace::TARGET) {
        for target in [(*target).to_owned(), format!("{target}::deep::inside")] {
            assert!(
                !clamp().would_enable(&target, &Level::TRACE)
                    && !clamp().would_enable(&target, &Level::DEBUG),
                "{target}"
            );
            let warns = clamp().would_enable(&target, &Level::WARN);
            assert_eq!(warns, *level != LevelFilter::OFF, "{target}");
        }
    }
    assert!(
        clamp().would_enable("authpost", &Level::TRACE)
            && clamp().would_enable("worker::consume", &Level::TRACE)
    );
}

#[test]
fn a_span_is_no_line_and_costs_a_look_at_a_flag_when_nobody_exports_it() {
    assert!(!clamp().would_enable(trace::TARGET, &Level::ERROR));
    let subscriber =
        tracing_subscriber::registry().with(vec![lines(LogFormat::Json, "trace").expect("levels")]);
    tracing::subscriber::with_default(subscriber, || {
        let span = trace::webhook(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert!(span.is_disabled());
        assert_eq!((trace::traceparent(&span), span.in_scope(trace::id)), (None, None));
    });
}

#[test]
fn levels_that_cannot_be_read_are_said() {
    assert!(start(LogFormat::Text, "=====").is_err());
}

#[test]
fn levels_are_for_everything_or_for_a_target() {
    let levels = wanted("info,worker=debug").expect("levels");
    assert!(levels.would_enable("worker::consume", &Level::DEBUG));
    assert!(!levels.would_enable("ingress", &Level::DEBUG));
    assert!(levels.would_enable("ingress", &Level::INFO));
    let nothing = wanted(" ").expect("levels");
    assert!(nothing.would_enable("worker", &Level::ERROR));
    assert!(!nothing.would_enable("worker", &Level::WARN));
    for span in ["worker[process]=debug", "[{event_id}]=trace", "info,worker[{event_id=1}]=debug"] {
        assert!(matches!(wanted(span), Err(TelemetryError::SpanFilter)), "{span}");
    }
}
