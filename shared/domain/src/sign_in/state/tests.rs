//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

fn now() -> Timestamp {
    "2026-01-15T12:00:00Z".parse().expect("valid")
}

fn key() -> StateKey {
    StateKey::new(&SecretString::from("secret".to_owned())).expect("not empty")
}

fn browser() -> BrowserKey {
    BrowserKey::new([7; 32])
}

fn attempt() -> Attempt {
    let redirect_url = "https://app.example.com/en/callback".to_owned();
    let nonce = "0123456789abcdef".to_owned();
    let started_at = now();
    Attempt { nonce, started_at, redirect_url, return_to: None, organization_id: None }
}

const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Opens a state and compares the browser.
fn open(
    key: &StateKey,
    state: &str,
    browser: Option<BrowserKey>,
    now: Timestamp,
) -> Result<(Attempt, BrowserKey), BadState> {
    key.open(state, LIFE.unsigned_abs(), now).and_then(|opened| opened.by(browser))
}

#[test]
fn comes_back_as_it_went() {
    let state = key().seal(&attempt(), &browser());
    assert_eq!(open(&key(), &state, Some(browser()), now()), Ok((attempt(), browser())));
    let organization = Attempt {
        organization_id: Some("org_1".to_owned()),
        return_to: Some("https://app.example.com/en/orders?id=7".to_owned()),
        ..attempt()
    };
    assert_eq!(organization.flow(), "0123456789ab");
    assert_eq!(
        open(&key(), &key().seal(&organization, &browser()), Some(browser()), now() + LIFE),
        Ok((organization, browser()))
    );
    assert!(
        state.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        "{state} needs no escaping"
    );
}

#[test]
fn is_of_one_browser_one_key_and_one_time() {
    let state = key().seal(&attempt(), &browser());
    let second = SignedDuration::from_secs(1);
    assert_eq!(
        open(&key(), &state, Some(BrowserKey::new([8; 32])), now()),
        Err(BadState::OtherBrowser)
    );
    assert_eq!(open(&key(), &state, None, now()), Err(BadState::OtherBrowser));
    assert_eq!(
        open(&key(), &state, Some(browser()), now() + LIFE + second),
        Err(BadState::Expired)
    );
    assert_eq!(
        open(&key(), &state, Some(browser()), now() - SKEW - second),
        Err(BadState::Expired)
    );
    // Whoever is late is told so, even if the cookie is gone.
    assert_eq!(open(&key(), &state, None, now() + LIFE + second), Err(BadState::Expired));
    let other = StateKey::new(&SecretString::from("other".to_owned())).expect("not empty");
    assert_eq!(open(&other, &state, Some(browser()), now()), Err(BadState::Forged));
    assert!(StateKey::new(&SecretString::from(String::new())).is_none());
}

#[test]
fn the_verifier_follows_from_attempt_and_browser() {
    let verifier = key().verifier(&attempt(), &browser());
    assert_eq!(verifier.len(), 43);
    assert_eq!(verifier, key().verifier(&attempt(), &browser()));
    assert_ne!(verifier, key().verifier(&attempt(), &BrowserKey::new([8; 32])));
    assert_ne!(
        verifier,
        key().verifier(&Attempt { nonce: "01K".to_owned(), ..attempt() }, &browser())
    );
    // RFC 7636, appendix B.
    assert_eq!(
        challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
}

#[test]
fn a_browser_key_is_32_bytes_or_none() {
    assert_eq!(BrowserKey::parse(browser().expose()), Some(browser()));
    for cookie in ["", "abc", "=", &"A".repeat(44), &"A".repeat(42)] {
        assert_eq!(BrowserKey::parse(cookie), None, "{cookie}");
    }
    assert_eq!(format!("{:?} {:?}", browser(), key()), "BrowserKey(***) StateKey(***)");
}

proptest! {
    #[test]
    fn no_changed_state_is_believed(at in 0usize..400, byte in 0u8..=127) {
        let state = key().seal(&attempt(), &browser());
        let mut changed = state.clone().into_bytes();
        let at = at % changed.len();
        changed[at] = byte;
        let changed = String::from_utf8(changed).expect("ASCII");
        prop_assume!(changed != state);
        prop_assert!(open(&key(), &changed, Some(browser()), now()).is_err());
    }

    #[test]
    fn no_text_panics(state in "\\PC{0,300}") {
        prop_assert!(open(&key(), &state, Some(browser()), now()).is_err());
    }
}
