//! The pages of the stand-in's AuthKit: one that asks for the address, one that takes the code, and
//! the redirect back. The code comes by mail, so asking for one posts the webhook.

use std::collections::HashMap;

use hyper::{
    Method, StatusCode,
    header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY},
};
use minijinja::{Environment, context};
use runtime::http::{self, Answer};
use url::Url;

use super::{Asked, Shared, authenticate};
use crate::workos::{self, MagicAuth, post};

const FRAME: &str = include_str!("page.html");

/// Has no `form-action`: browsers would apply it to the redirect back as well.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// The page that is shown.
enum Step<'a> {
    Address { problem: &'a str },
    Code { email: &'a str, id: &'a str, problem: &'a str },
    LoggedOut,
}

/// Answers what belongs to the pages; `None` for everything else.
pub(super) async fn answer(shared: &Shared, asked: &Asked) -> Option<Answer> {
    Some(match (&asked.method, asked.path.as_str()) {
        (&Method::GET, "/user_management/authorize") => show(asked, &Step::Address { problem: "" }),
        (&Method::POST, "/user_management/authorize") => submitted(shared, asked).await,
        (&Method::GET, "/user_management/sessions/logout") => log_out(shared, asked),
        _ => return None,
    })
}

fn show(asked: &Asked, step: &Step<'_>) -> Answer {
    let (name, email, id, problem) = match step {
        Step::Address { problem } => ("address", "", "", *problem),
        Step::Code { email, id, problem } => ("code", *email, *id, *problem),
        Step::LoggedOut => ("logged_out", "", "", ""),
    };
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
    let values = context! {
        step => name, email, id, problem,
        hint => query.get("login_hint"),
        action => format!("?{}", asked.query),
    };
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    let page = environment.render_str(FRAME, values).unwrap_or_else(|error| error.to_string());
    let mut answer = http::answer(StatusCode::OK, "text/html; charset=utf-8", page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

async fn submitted(shared: &Shared, asked: &Asked) -> Answer {
    let form: HashMap<String, String> =
        url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
    let field = |name: &str| form.get(name).map(|value| value.trim()).unwrap_or_default();
    let (email, id) = (field("email"), field("id"));
    if id.is_empty() {
        return match ask(shared, email).await {
            Ok(made) => show(asked, &Step::Code { email, id: &made.id, problem: "" }),
            Err(problem) => show(asked, &Step::Address { problem }),
        };
    }
    let right = shared
        .codes
        .lock()
        .get(id)
        .is_some_and(|made| made.is_for(email, field("code"), shared.clock.now()));
    if !right {
        let problem = "That is not the code, or it has expired.";
        return show(asked, &Step::Code { email, id, problem });
    }
    shared.codes.lock().remove(id);
    let authorize =
        Url::parse(&format!("http://{}/user_management/authorize?{}", shared.address, asked.query))
            .ok();
    let back = authorize.and_then(|url| shared.authkit.approve(&url, email, shared.clock.now()));
    back.map_or_else(
        || show(asked, &Step::Address { problem: "There is no redirect_uri to go back to." }),
        |url| redirect(&url),
    )
}

/// Makes a code, and posts its webhook.
async fn ask(shared: &Shared, email: &str) -> Result<MagicAuth, &'static str> {
    if domain::address::EmailAddress::parse(email).is_err() {
        return Err("That is not an address mail can be sent to.");
    }
    let made = workos::make_code(shared, email, workos::LIFE);
    let webhooks = shared.authkit.webhooks.lock().clone();
    if let Some(webhooks) = webhooks {
        let posted = post(&webhooks.url, &webhooks.secret, &made.event(), shared.clock.now()).await;
        if !posted.is_ok_and(|posted| posted.status == 200) {
            return Err("The webhook was not accepted.");
        }
    }
    Ok(made)
}

fn log_out(shared: &Shared, asked: &Asked) -> Answer {
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
    authenticate::end(shared, query.get("session_id").map(String::as_str).unwrap_or_default());
    let back = query.get("return_to").and_then(|url| url.parse().ok());
    back.map_or_else(|| show(asked, &Step::LoggedOut), |url| redirect(&url))
}

fn redirect(url: &Url) -> Answer {
    let mut answer = http::answer(StatusCode::SEE_OTHER, "text/plain", "");
    if let Ok(location) = HeaderValue::from_str(url.as_str()) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}
