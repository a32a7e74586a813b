//! Unit tests of the parent module.

use domain::fault::Severity;

use super::*;

fn read(status: u16, body: &str) -> Result<Token, Fault> {
    super::read(StatusCode::from_u16(status).expect("one"), body.as_bytes(), Instant::now())
}

#[test]
fn answers_of_token_endpoints() {
    for (body, life) in [
        (r#"{"access_token":"t","token_type":"Bearer","expires_in":3599}"#, 3599),
        (r#"{"access_token":"t","expires_in":"3600"}"#, 3600),
        (r#"{"access_token":"t","expires_in":null}"#, DEFAULT_LIFE),
        (r#"{"access_token":"t","expires_in":99999999}"#, 86_400),
    ] {
        let token = read(200, body).unwrap_or_else(|fault| panic!("{body}: {fault}"));
        assert_eq!(token.life.as_secs(), life, "{body}");
    }
    let transient = Severity::Transient { retry_after: None };
    for (status, body, severity, says) in [
        (401, r#"{"error":"invalid_client"}"#, Severity::Misconfigured, "401: invalid_client"),
        (400, r#"{"error":"BAD\n"}"#, Severity::Misconfigured, "400: an unknown error"),
        (200, "{}", Severity::Misconfigured, "without a token"),
        (404, "<html>", Severity::Misconfigured, "404"),
        (503, "", transient, "503"),
        (429, r#"{"error":"slow_down"}"#, transient, "429"),
    ] {
        let Err(fault) = read(status, body) else { panic!("{body} is no token") };
        assert_eq!(fault.severity, severity, "{status} {body}");
        assert!(fault.detail.contains(says), "{fault}");
    }
}

#[test]
fn initial_responses() {
    let token = read(200, r#"{"access_token":"vF9dft4qmT"}"#).expect("a token");
    let decoded = |text: Zeroizing<String>| {
        String::from_utf8(STANDARD.decode(text.as_bytes()).expect("Base64")).expect("text")
    };
    let xoauth2 = decoded(token.xoauth2("login@example.com"));
    assert_eq!(xoauth2, "user=login@example.com\x01auth=Bearer vF9dft4qmT\x01\x01");
    let bearer = decoded(token.oauthbearer("a,b=c@example.com", "relay.example", 587));
    let expected = "n,a=a=2Cb=3Dc@example.com,\x01host=relay.example\x01port=587\x01auth=Bearer vF9dft4qmT\x01\x01";
    assert_eq!(bearer, expected);
}
