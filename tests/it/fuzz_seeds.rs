//! The committed inputs of the fuzz targets, finds included, through the same properties on the
//! ordinary compiler.

#[path = "../../fuzz/src/properties.rs"]
mod properties;
#[path = "../../fuzz/src/requests.rs"]
mod requests;

fn replay(target: &str, property: fn(&[u8])) {
    let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for seed in std::fs::read_dir(&folder).expect("committed seeds") {
        property(&std::fs::read(seed.expect("a file").path()).expect("readable"));
        seeds += 1;
    }
    assert!(seeds > 0, "{folder} is empty");
}

#[test]
fn signature() {
    replay("signature", properties::signature);
}

#[test]
fn event() {
    replay("event", properties::event);
}

#[test]
fn queued_event() {
    replay("queued_event", properties::queued_event);
}

#[test]
fn workos_answer() {
    replay("workos_answer", properties::workos_answer);
}

#[test]
fn smtp_answer() {
    replay("smtp_answer", properties::smtp_answer);
}

#[test]
fn address() {
    replay("address", properties::address);
}

#[test]
fn cookies() {
    replay("cookies", requests::cookies);
}

#[test]
fn forwarded() {
    replay("forwarded", requests::forwarded);
}

#[test]
fn origin() {
    replay("origin", requests::origin);
}

#[test]
fn token_claims() {
    replay("token_claims", requests::token_claims);
}
