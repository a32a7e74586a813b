//! Unit tests of the parent module.

use super::*;

#[test]
fn owners_differ_within_a_process_and_between_processes() {
    let (one, other) = (Owners::new(7), Owners::new(8));
    let owners =
        [one.next(), one.next(), other.next(), other.next()].map(|owner| owner.to_string());
    assert_eq!(
        owners,
        ["0000000000000007-1", "0000000000000007-2", "0000000000000008-1", "0000000000000008-2"]
    );
}
