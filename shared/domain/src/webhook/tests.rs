//! The verifier against vectors from WorkOS's own SDKs, and against what only an attacker would
//! send.

use proptest::prelude::*;
use serde::Deserialize;

use crate::webhook::*;

#[derive(Deserialize)]
struct Vector {
    name: String,
    secret: String,
    header: Option<String>,
    body: String,
    now_ms: i64,
    accept: bool,
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).expect("in range")
}

fn verdict(
    secrets: &[&str],
    header: Option<&str>,
    body: &str,
    now: Timestamp,
) -> Result<(), Rejection> {
    let secrets: Vec<SecretString> = secrets.iter().copied().map(secret).collect();
    let keys = WebhookKeys::new(&secrets).expect("no empty secret");
    let delivery = SignedDelivery {
        signature: header.map(str::as_bytes),
        body: Bytes::from(body.to_owned()),
        received_at: now,
    };
    delivery.verify(&keys).map(drop)
}

#[test]
fn agrees_with_every_vector() {
    let mut checked = 0;
    for line in include_str!("../../tests/data/signature_vectors.jsonl").lines() {
        let vector: Vector = serde_json::from_str(line).expect("a vector");
        // An empty secret is refused when the service starts, before any delivery.
        if vector.secret.is_empty() {
            assert!(WebhookKeys::new(&[secret("")]).is_err() && !vector.accept);
        } else {
            let verdict = verdict(
                &[&vector.secret],
                vector.header.as_deref(),
                &vector.body,
                at(vector.now_ms),
            );
            assert_eq!(verdict.is_ok(), vector.accept, "{}: {verdict:?}", vector.name);
        }
        checked += 1;
    }
    assert!(checked > 90, "only {checked} vectors were read");
}

#[test]
fn says_why_not() {
    let body = r#"{"id":"event_1"}"#;
    let good = sign(&secret("whsec_a"), at(1_000_000), body.as_bytes()).expect("not empty");
    let check =
        |header: Option<&str>, body: &str, now: i64| verdict(&["whsec_a"], header, body, at(now));
    assert_eq!(check(Some(&good), body, 1_000_000), Ok(()));
    assert_eq!(check(Some(&good), body, 1_180_000), Ok(()));
    assert_eq!(check(Some(&good), body, 820_000), Ok(()));
    assert_eq!(check(Some(&good), body, 1_180_001), Err(Rejection::Stale));
    assert_eq!(check(Some(&good), body, 819_999), Err(Rejection::Stale));
    assert_eq!(check(Some(&good), "{}", 1_000_000), Err(Rejection::Forged));
    assert_eq!(check(None, body, 1_000_000), Err(Rejection::Missing));
    for malformed in [
        "",
        "t=1",
        "v1=00",
        "t=1,t=1,v1=00",
        "t=+1000000",
        "garbage",
        &format!("{good}, junk"),
        &good[..good.len() - 1],
    ] {
        assert_eq!(
            check(Some(malformed), body, 1_000_000),
            Err(Rejection::Malformed),
            "{malformed}"
        );
    }
}

#[test]
fn a_forged_stale_delivery_is_forged() {
    let header = sign(&secret("other"), at(0), b"{}").expect("not empty");
    assert_eq!(verdict(&["whsec_a"], Some(&header), "{}", at(10_000_000)), Err(Rejection::Forged));
}

#[test]
fn any_live_secret_will_do() {
    let header = sign(&secret("new"), at(5), b"{}").expect("not empty");
    assert_eq!(verdict(&["old", "new"], Some(&header), "{}", at(5)), Ok(()));
    assert_eq!(verdict(&["old", "older"], Some(&header), "{}", at(5)), Err(Rejection::Forged));
}

#[test]
fn an_empty_secret_is_no_key() {
    assert!(WebhookKeys::new(&[]).is_err());
    assert!(WebhookKeys::new(&[secret("good"), secret("")]).is_err());
    assert_eq!(sign(&secret(""), at(0), b""), None);
}

#[test]
fn a_header_stuffed_with_signatures_is_refused() {
    let mut header = sign(&secret("s"), at(5), b"{}").expect("not empty");
    for _ in 0..MAX_SIGNATURES {
        header.extend([",v1=", &"0".repeat(64)]);
    }
    assert_eq!(verdict(&["s"], Some(&header), "{}", at(5)), Err(Rejection::Malformed));
}

#[test]
fn every_byte_is_a_digit_or_none() {
    for byte in 0..=u8::MAX {
        let mut text = [b'0'; 64];
        text[62] = byte;
        let value = char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let read = parse_hex(&text).map(|bytes| bytes[31]);
        assert_eq!(read, value.map(|value| value << 4), "{byte}");
    }
    assert_eq!(parse_hex(&[b'0'; 63]), None);
}

proptest! {
    #[test]
    fn no_header_panics_or_passes_by_chance(
        header in proptest::collection::vec(any::<u8>(), 0..300),
        body in ".{0,64}",
    ) {
        let keys = WebhookKeys::new(&[secret("s")]).expect("not empty");
        let delivery = SignedDelivery { signature: Some(&header), body: Bytes::from(body), received_at: at(0) };
        prop_assert!(delivery.verify(&keys).is_err());
    }

    #[test]
    fn header_like_text_never_panics(header in "(t=[0-9+ ]{0,20}|v1=[0-9a-fA-F]{0,70}|[,= ]){0,8}") {
        prop_assert!(verdict(&["s"], Some(&header), "body", at(0)).is_err());
    }

    #[test]
    fn what_we_sign_we_accept_in_any_order_and_case(
        body in ".{0,200}",
        key in ".{1,40}",
        t in 0i64..9_999_999_999_999,
    ) {
        let header = sign(&secret(&key), at(t), body.as_bytes()).expect("not empty");
        let (time, signature) = header.split_once(", v1=").expect("two parts");
        let turned = format!(" v1={} ,\t{time}, v2=later", signature.to_uppercase());
        prop_assert_eq!(verdict(&[&key], Some(&header), &body, at(t)), Ok(()));
        prop_assert_eq!(verdict(&[&key], Some(&turned), &body, at(t)), Ok(()));
    }

    #[test]
    fn one_changed_byte_is_noticed(body in "[a-z]{1,100}", index in any::<prop::sample::Index>()) {
        let header = sign(&secret("s"), at(0), body.as_bytes()).expect("not empty");
        let mut changed = body.clone().into_bytes();
        changed[index.index(body.len())] ^= 1;
        let changed = String::from_utf8(changed).expect("still ASCII");
        prop_assert_eq!(verdict(&["s"], Some(&header), &changed, at(0)), Err(Rejection::Forged));
    }
}
