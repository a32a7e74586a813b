//! What a sign-in may be started with, from a JSON body or a query, and the address at AuthKit that
//! it becomes (<https://workos.com/docs/reference/authkit/authentication/get-authorization-url>).

use std::borrow::Cow;

use domain::sign_in::state::{Attempt, BrowserKey, challenge};
use serde_json::{Map, Value};
use url::Url;

use super::service::SignInService;

/// Longest value that is passed on, in bytes.
const MAX_VALUE: usize = 512;

type Check = fn(&str) -> bool;

/// The parameters that are passed on to AuthKit, and what each may be.
const PASSED_ON: &[(&str, Check)] = &[
    ("connection_id", is_word),
    ("domain_hint", is_text),
    ("invitation_token", is_word),
    ("login_hint", is_text),
    ("max_age", is_number),
    ("organization_id", is_word),
    ("prompt", is_word),
    ("provider", is_word),
    ("screen_hint", is_screen),
];

fn is_text(value: &str) -> bool {
    !value.chars().any(char::is_control)
}

pub(super) fn is_word(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

fn is_number(value: &str) -> bool {
    value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_screen(value: &str) -> bool {
    matches!(value, "sign-in" | "sign-up")
}

/// A wish to sign in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Where AuthKit sends the browser back to.
    pub(super) redirect_url: Option<String>,
    /// Where the person goes once signed in.
    pub(super) return_to: Option<String>,
    passed_on: Vec<(&'static str, String)>,
}

impl Wish {
    /// Reads a JSON object. A member that is `null` is one that is not there.
    pub(super) fn from_json(members: Map<String, Value>) -> Result<Self, String> {
        let text = |(name, value): (String, Value)| match value {
            Value::Null => None,
            Value::String(text) => Some(Ok((name, text))),
            Value::Number(number) if name == "max_age" => Some(Ok((name, number.to_string()))),
            _ => Some(Err(format!("{} is not text.", shown(&name)))),
        };
        let pairs: Vec<_> = members.into_iter().filter_map(text).collect::<Result<_, _>>()?;
        Self::from_pairs(pairs)
    }

    /// Reads the pairs of a query.
    pub(super) fn from_query(query: &str) -> Result<Self, String> {
        Self::from_pairs(url::form_urlencoded::parse(query.as_bytes()).into_owned())
    }

    fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut wish = Self::default();
        for (name, value) in pairs {
            let given_before = match name.as_str() {
                "redirect_url" => wish.redirect_url.replace(value).is_some(),
                "return_to" => wish.return_to.replace(value).is_some(),
                name => wish.pass_on(name, value)?,
            };
            if given_before {
                return Err(format!("{name} is given more than one time."));
            }
        }
        Ok(wish)
    }

    /// Whether it was given before.
    fn pass_on(&mut self, name: &str, value: String) -> Result<bool, String> {
        let Some((name, fits)) = PASSED_ON.iter().find(|(known, _)| *known == name) else {
            return Err(not_known(name));
        };
        if value.is_empty() || value.len() > MAX_VALUE || !fits(&value) {
            return Err(format!("{name} has a value that it cannot have."));
        }
        let given_before = self.value(name).is_some();
        self.passed_on.push((name, value));
        Ok(given_before)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.passed_on.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The organization that is asked for.
    pub(super) fn organization(&self) -> Option<&str> {
        self.value("organization_id")
    }
}

/// Refuses a member of a body, or a parameter of a query, by its name.
pub(super) fn not_known(name: &str) -> String {
    format!("{} is not known here: see /openapi.json.", shown(name))
}

/// A name of the client's, short and on one line.
fn shown(name: &str) -> Cow<'_, str> {
    let plain = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Cow::Borrowed(name) } else { Cow::Borrowed("A member") }
}

/// The address at AuthKit for this attempt.
pub(super) fn address(
    service: &SignInService,
    wish: &Wish,
    attempt: &Attempt,
    key: &BrowserKey,
) -> Url {
    let state_key = &service.config.state_key;
    let mut url = browser_url(&service.config.browser_base, "/user_management/authorize");
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", &service.config.client_id);
    query.append_pair("redirect_uri", &attempt.redirect_url);
    query.append_pair("response_type", "code");
    // One selector is needed; a connection is one of its own.
    if wish.value("provider").or(wish.value("connection_id")).is_none() {
        query.append_pair("provider", "authkit");
    }
    query.append_pair("state", &state_key.seal(attempt, key));
    query.append_pair("code_challenge", &challenge(&state_key.verifier(attempt, key)));
    query.append_pair("code_challenge_method", "S256");
    query.extend_pairs(&wish.passed_on);
    drop(query);
    url
}

/// A URL at WorkOS for a browser.
pub(super) fn browser_url(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from_json(body: Value) -> Result<Wish, String> {
        let Value::Object(members) = body else { panic!("an object") };
        Wish::from_json(members)
    }

    #[test]
    fn what_authkit_takes_is_passed_on_and_nothing_else() {
        let body = json!({
            "redirect_url": "https://app.example.com/cb", "return_to": null,
            "login_hint": "alice@example.com", "max_age": 0, "invitation_token": "Z1uX3RbwcIl5",
        });
        let wish = from_json(body).expect("known");
        assert_eq!(wish.redirect_url.as_deref(), Some("https://app.example.com/cb"));
        assert_eq!(
            (wish.value("max_age"), wish.value("invitation_token")),
            (Some("0"), Some("Z1uX3RbwcIl5"))
        );
        let query = "organization_id=org_1&return_to=%2Forders%3Fid%3D7&screen_hint=sign-up";
        let wish = Wish::from_query(query).expect("known");
        assert_eq!(
            (wish.organization(), wish.return_to.as_deref()),
            (Some("org_1"), Some("/orders?id=7"))
        );
    }

    #[test]
    fn what_cannot_be_passed_on_is_named() {
        for (query, says) in [
            ("organisation_id=org_1", "organisation_id is not known"),
            ("organization_id=org_1&organization_id=org_2", "organization_id is given more"),
            ("redirect_url=a&redirect_url=b", "redirect_url is given more"),
            ("organization_id=a%26b", "organization_id has a value"),
            ("screen_hint=both", "screen_hint has a value"),
            ("login_hint=a%0Ab", "login_hint has a value"),
            ("max_age=-1", "max_age has a value"),
            ("login_hint=", "login_hint has a value"),
            ("state=x", "state is not known"),
            ("%0A=x", "A member is not known"),
        ] {
            let error = Wish::from_query(query).expect_err(query);
            assert!(error.contains(says), "{query}: {error}");
        }
        assert!(
            from_json(json!({ "login_hint": ["a"] }))
                .is_err_and(|why| why == "login_hint is not text.")
        );
    }
}
