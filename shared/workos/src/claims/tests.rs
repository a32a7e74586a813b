//! Unit tests of the parent module.

use serde_json::json;

use super::*;

const CLIENT: &str = "client_01OURS";
const NOW: i64 = 1_768_478_400;

/// The result for a good token with these claims instead, or in addition.
fn check(changed: &Value) -> Result<TokenClaims, UntrustedToken> {
    let mut claims = json!({
        "sub": "user_1", "sid": "session_1", "iss": "https://api.workos.com", "exp": NOW + 300,
    });
    for (name, value) in changed.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let rules = Rules {
        client_id: CLIENT.to_owned(),
        issuers: vec!["https://api.workos.com/".to_owned(), "https://auth.example.com".to_owned()],
    };
    let now = Timestamp::from_second(NOW).expect("in range");
    rules.check(claims.as_object().expect("an object"), now)
}

#[test]
fn what_a_template_may_set_keeps_nobody_out() {
    for changed in [
        json!({}),
        json!({ "role": { "slug": "admin" }, "permissions": "all" }),
        json!({ "permissions": null, "role": null, "org_id": null, "nbf": null }),
        json!({ "permissions": [1, { "a": [] }], "role": ["admin"], "roles": 7 }),
        json!({ "exp": 1_768_478_700.75, "iat": 0.5, "auth_time": "yesterday" }),
        json!({ "aud": CLIENT, "client_id": CLIENT, "azp": CLIENT }),
        json!({ "aud": ["other", CLIENT] }),
        json!({ "aud": null, "azp": null, "sub_type": null, "sub_profile": "user" }),
        json!({ "iss": "https://api.workos.com/" }),
        json!({ "iss": "https://auth.example.com/" }),
        json!({ "exp": NOW - 30, "nbf": NOW + 30 }),
    ] {
        let claims = check(&changed).expect("a person's session");
        assert_eq!(
            (claims.sub.as_str(), claims.sid.as_str()),
            ("user_1", "session_1"),
            "{changed}"
        );
    }
    let claims = check(&json!({ "org_id": "org_1", "role": "admin", "permissions": ["a"] }));
    let claims = claims.expect("a person's session");
    assert_eq!(claims.org_id.as_deref(), Some("org_1"));
    assert_eq!((claims.role, claims.permissions), (json!("admin"), json!(["a"])));
}

#[test]
fn tokens_that_are_not_for_us_or_of_nobody_are_refused() {
    use UntrustedToken::{Audience, Expired, Kind, Malformed};
    let issuer = |text: &str| UntrustedToken::Issuer(text.to_owned());
    for (changed, why) in [
        (json!({ "sub": "" }), Malformed),
        (json!({ "sub": null }), Malformed),
        (json!({ "sub": 7 }), Malformed),
        (json!({ "sid": ["session_1"] }), Malformed),
        (json!({ "sid": "" }), Malformed),
        (json!({ "exp": "1768478700" }), Malformed),
        (json!({ "exp": null }), Malformed),
        (json!({ "iss": ["https://api.workos.com"] }), Malformed),
        (json!({ "iss": "https://api.workos.com//" }), issuer("https://api.workos.com//")),
        (json!({ "iss": "https://login.example.org" }), issuer("https://login.example.org")),
        (json!({ "iss": "x".repeat(500) }), issuer(&"x".repeat(200))),
        (json!({ "aud": "client_01OTHER" }), Audience),
        (json!({ "aud": [] }), Audience),
        (json!({ "aud": ["client_01OTHER"] }), Audience),
        (json!({ "aud": { "client": CLIENT } }), Audience),
        (json!({ "azp": "client_01OTHER", "aud": CLIENT }), Audience),
        (json!({ "client_id": "" }), Audience),
        (json!({ "sub_type": "agent" }), Kind),
        (json!({ "sub_type": "user" }), Kind),
        (json!({ "sub_profile": "widget" }), Kind),
        (json!({ "sub_profile": ["user"] }), Kind),
        (json!({ "exp": NOW - 31 }), Expired),
        (json!({ "exp": -1e300 }), Expired),
        (json!({ "nbf": NOW + 31 }), Expired),
    ] {
        assert_eq!(check(&changed), Err(why), "{changed}");
    }
}
