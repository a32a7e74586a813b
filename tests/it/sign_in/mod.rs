//! Signing in, over real sockets: from "Log in" to a session, and every way it can end otherwise.

mod endings;
mod floods;
mod languages;
pub mod openapi;
mod privacy;
mod refreshes;
mod refusals;
mod replicas;
mod sessions;
mod starts;
mod tokens;
mod visitor;

use serde_json::json;
use url::Url;

use self::visitor::{Answered, Visitor};
use crate::harness::{
    app::{App, Setup},
    settings::ORIGIN,
};

const LOGIN_URL: &str = "/v2/user/workos_login_url/";
const CALLBACK: &str = "/v2/user/workos_signin_callback/";

/// An app where people can sign in.
async fn app() -> App {
    Setup::embedded().sign_in(|_| {}).start().await
}

/// A browser in which Alice has signed in.
async fn signed_in(app: &App) -> Visitor {
    let mut alice = app.visitor();
    assert_eq!(alice.sign_in(app, "alice@example.com").await.kind(), "LOGIN_SUCCESSFUL");
    alice
}

/// Where a browser is sent.
fn redirect_url() -> String {
    format!("{ORIGIN}/en/callback")
}

impl Visitor {
    /// Asks for the AuthKit URL, as a click on "Log in" does.
    async fn leave(&mut self, organization: Option<&str>) -> Url {
        let answered = self
            .post(
                LOGIN_URL,
                &json!({ "redirect_url": redirect_url(), "organization_id": organization }),
            )
            .await;
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.body["url"].as_str().expect("a URL").parse().expect("a URL")
    }

    /// Brings back what AuthKit put into the address.
    async fn come_back(&mut self, back: &Url) -> Answered {
        let fields: serde_json::Map<_, _> =
            back.query_pairs().map(|(name, value)| (name.into_owned(), json!(value))).collect();
        self.post(CALLBACK, &fields.into()).await
    }

    /// Signs in from the first click to the session.
    async fn sign_in(&mut self, app: &App, email: &str) -> Answered {
        let authorize = self.leave(None).await;
        let back = app.workos.approve(&authorize, email).expect("somewhere to go");
        self.come_back(&back).await
    }
}

impl App {
    fn visitor(&self) -> Visitor {
        Visitor::new(self.public)
    }

    fn sign_ins(&self, result: &str) -> u64 {
        self.exposition().count(&format!("authpost_signins_total{{result=\"{result}\"}}"))
    }

    fn states_refused(&self, reason: &str) -> u64 {
        self.exposition()
            .count(&format!("authpost_signin_states_refused_total{{reason=\"{reason}\"}}"))
    }
}

/// A parameter of an address.
fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// The same address with another value.
fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<_> = url.query_pairs().into_owned().filter(|(known, _)| known != name).collect();
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, value);
    url
}
