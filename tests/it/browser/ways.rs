//! Ways into the application that are not a click on "Log in": two tabs, a link, an invitation, a
//! colleague who acts as a customer; and a callback page that is loaded again.

use serde_json::{Value, json};

use super::{ALICE, DESK, PHONE, app, ask_for_a_code, login_page, type_the_code};
use crate::{browser::driver::Browser, harness::app::App};

const ENTER: char = '\u{E007}';

impl Browser {
    /// Opens another tab, and goes there.
    async fn another_tab(&self) -> fantoccini::wd::WindowHandle {
        let first = self.client.window().await.expect("a tab");
        let second = self.client.new_window(true).await.expect("a tab").handle;
        self.client.switch_to_window(second).await.expect("the other tab");
        first
    }

    /// Types the address at AuthKit, then the code from the newest mail.
    async fn sign_in_here(&self, app: &App, mails: u64) {
        self.heading("Sign in").await;
        self.type_keys(&format!("{ALICE}{ENTER}")).await;
        self.heading("Enter your code").await;
        type_the_code(self, app, mails).await;
    }

    async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("an address");
        url[url::Position::BeforePath..].to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn two_tabs_of_a_first_visit_both_come_in() {
    let app = app().await;
    let browser = Browser::open(DESK).await;
    ask_for_a_code(&browser, &login_page(&app), "tabs").await;
    app.mails(1).await;
    let first = browser.another_tab().await;
    ask_for_a_code(&browser, &login_page(&app), "tabs").await;
    type_the_code(&browser, &app, 2).await;
    browser.heading("Signed in").await;
    browser.client.switch_to_window(first).await.expect("the first tab");
    // The mail of the first tab.
    let mail = app.mails(2).await.swap_remove(0);
    browser.type_keys(&format!("{}{ENTER}", mail.code().expect("a code"))).await;
    browser.heading("Signed in").await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn a_link_signs_in_and_goes_where_it_leads() {
    let app = app().await;
    let browser = Browser::open(DESK).await;
    let link = format!("http://{}/v2/user/workos_login/?return_to=/login?order=7", app.public);
    browser.client.goto(&link).await.expect("the page");
    browser.sign_in_here(&app, 1).await;
    browser.appears("#log-in:not([hidden])").await;
    assert_eq!(browser.path().await, "/login?order=7");
    let status = "const answer = await fetch('/v2/user/session/'); return answer.status";
    assert_eq!(browser.script(status).await, json!(200));
    // The login page brings people back, too.
    let login = format!("{}?return_to=/login?order=8", login_page(&app));
    browser.client.goto(&login).await.expect("the page");
    browser.appears("#log-in:not([hidden])").await;
    browser.click("#log-in").await;
    browser.sign_in_here(&app, 2).await;
    browser.appears("#log-in:not([hidden])").await;
    assert_eq!(browser.path().await, "/login?order=8");
    browser.close().await;
    app.finish().await;
}

/// Invitations, impersonation and an identity provider's own page begin at WorkOS: the browser
/// arrives with a code and no state.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn what_begins_at_workos_begins_anew_by_itself_one_time() {
    let app = app().await;
    app.workos.set_impersonator("support@example.com");
    let browser = Browser::open(PHONE).await;
    let arrival = format!("http://{}/login/callback?code=01ARZ3NDEKTSV4RRFFQ69G5FAV", app.public);
    browser.client.goto(&arrival).await.expect("the page");
    browser.sign_in_here(&app, 1).await;
    browser.heading("Signed in").await;
    let said = browser.text("#message").await;
    assert_eq!(
        said,
        format!("You are signed in as {ALICE}. support@example.com is impersonating this account.")
    );
    browser.assert_fits().await;
    browser.keep_picture("impersonated").await;
    browser.client.refresh().await.expect("loaded");
    browser.heading("Signed in").await;
    let said = browser.text("#message").await;
    assert_eq!(said, "You are signed in. support@example.com is impersonating this account.");
    // It never goes round in a circle.
    browser.script("sessionStorage.setItem('authpost-begun-anew', 'yes')").await;
    browser.client.goto(&arrival).await.expect("the page");
    browser.heading("This sign-in cannot be used").await;
    browser.close().await;
    app.finish().await;
}

/// React's strict mode runs an effect twice; a page may also be loaded again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn a_callback_that_is_posted_twice_signs_in() {
    let app = app().await;
    let browser = Browser::open(DESK).await;
    browser.client.goto(&login_page(&app)).await.expect("the page");
    browser.appears("#log-in:not([hidden])").await;
    let post = "const post = async (path, body) => (await fetch(path, { method: 'POST', headers: \
                { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json(); ";
    let begun = format!(
        "{post} return post('/v2/user/workos_login_url/', \
         {{ redirect_url: location.origin + '/login/callback' }})"
    );
    let begun = browser.script(&begun).await;
    let authorize = begun["url"].as_str().expect("a URL").parse().expect("a URL");
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    let fields: serde_json::Map<String, Value> =
        back.query_pairs().map(|(name, value)| (name.into_owned(), json!(value))).collect();
    let twice = format!(
        "{post} const fields = {}; const once = () => post('/v2/user/workos_signin_callback/', \
         fields); return [...await Promise.all([once(), once()]), await once()]",
        Value::Object(fields)
    );
    let answers = browser.script(&twice).await;
    let answers = answers.as_array().expect("three");
    for answer in answers {
        assert_eq!(answer["response_type"], "LOGIN_SUCCESSFUL", "{answers:?}");
    }
    assert_eq!(answers[2]["already"], json!(true));
    assert_eq!(app.workos.calls(sandbox::workos::Call::Authenticate).len(), 1);
    browser.close().await;
    app.finish().await;
}
