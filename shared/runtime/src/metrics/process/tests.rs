//! Unit tests of the parent module.

use prometheus::{Registry, TextEncoder};

use super::*;

const UNITS: Units = Units { ticks_per_second: 100.0, page_bytes: 4096.0, boot_seconds: 1e9 };

#[test]
fn a_line_is_read_by_the_numbers_of_the_manual_whatever_the_program_is_called() {
    let line =
        "42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 7 0 12300 8192000 250 184 0";
    let usage = parse(line, &UNITS, [5.0, 1024.0]).expect("a line");
    assert_eq!(
        usage,
        Usage {
            cpu_seconds: 2.0,
            gauges: [5.0, 1024.0, 8_192_000.0, 1_024_000.0, 1_000_000_123.0, 7.0],
        }
    );
    for broken in ["", "42 (a) S 1", "42 (a) S x x x x x x x x x x x x x x x x x x x x x x x"] {
        assert_eq!(parse(broken, &UNITS, [0.0; 2]), None, "{broken}");
    }
}

#[test]
fn this_process_is_exposed() {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::new().expect("declared"))).expect("registered");
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a series").trim().parse().expect("a number")
    };
    assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= 3.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert!(value("process_threads") >= 1.0 && value("process_start_time_seconds") > 1.6e9);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(text.contains("# TYPE process_cpu_seconds_total counter"), "{text}");
}
