//! The login page: a way to see the sign-in half work, and a frontend for those who have none.
//! Plain files, no build.

use hyper::{
    StatusCode,
    header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
};
use runtime::http::{self, Answer};

/// The files that the sign-in page consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The page with the "Log in" button.
    Login,
    /// Where AuthKit sends the browser back to. A GET of it does nothing: its script posts what is
    /// in the address.
    Callback,
    /// The style sheet of both pages.
    Style,
    /// The script of the first.
    LoginScript,
    /// The script of the second.
    CallbackScript,
}

/// The pages run their own scripts and talk to their own origin; nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn page_answer(page: Page) -> Answer {
    let (kind, text) = match page {
        Page::Login => ("text/html; charset=utf-8", include_str!("page/login.html")),
        Page::Callback => ("text/html; charset=utf-8", include_str!("page/callback.html")),
        Page::Style => ("text/css; charset=utf-8", include_str!("page/page.css")),
        Page::LoginScript => ("text/javascript; charset=utf-8", include_str!("page/login.js")),
        Page::CallbackScript => {
            ("text/javascript; charset=utf-8", include_str!("page/callback.js"))
        }
    };
    let mut answer = http::answer(StatusCode::OK, kind, text);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // The callback's address holds a code.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}
