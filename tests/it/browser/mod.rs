//! The login page in a real browser: by keyboard alone, in light and dark, at 320 pixels, for each
//! way it ends.

mod colours;
mod driver;
mod preview;
mod ways;

use fantoccini::{Locator, key::Key};
use sandbox::readable;
use serde_json::json;

use self::driver::{Browser, Window};
use crate::harness::{
    app::{App, Setup},
    in_time,
    program::WithPage,
};

const ALICE: &str = "alice@example.com";

const DESK: Window = Window { width: 420, height: 360, dark: false };
const PHONE: Window = Window { width: 320, height: 568, dark: true };

async fn app() -> App {
    let app = Setup::embedded().sign_in(|sign_in| sign_in.page = true).start().await;
    app.workos.post_webhooks_to(
        &app.webhook_url(),
        secrecy::SecretString::from(crate::harness::app::SECRET.to_owned()),
    );
    app
}

fn login_page(app: &App) -> String {
    format!("http://{}/login", app.public)
}

/// From "Log in" to the page that wants the code.
async fn ask_for_a_code(browser: &Browser, login: &str, picture: &str) {
    browser.client.goto(login).await.expect("the page");
    let button = browser.appears("#log-in:not([hidden])").await;
    assert_eq!(button.text().await.expect("text"), "Log in");
    browser.assert_fits().await;
    browser.type_keys(&char::from(Key::Tab).to_string()).await;
    assert_eq!(browser.focus().await, "log-in", "the first thing the keyboard reaches");
    browser.keep_picture(&format!("{picture}-1")).await;
    browser.type_keys(&char::from(Key::Enter).to_string()).await;
    browser.heading("Sign in").await;
    browser.assert_fits().await;
    browser.type_keys(&format!("{ALICE}{}", char::from(Key::Enter))).await;
    browser.heading("Enter your code").await;
    browser.keep_picture(&format!("{picture}-2")).await;
}

/// The code from the mail, typed in.
async fn type_the_code(browser: &Browser, app: &App, mails: u64) {
    let mail = app.mails(mails).await.pop().expect("a mail");
    browser.type_keys(&format!("{}{}", mail.code().expect("a code"), char::from(Key::Enter))).await;
}

/// What is asked of every last page.
async fn assert_told_well(browser: &Browser, title: &str) {
    browser.heading(title).await;
    browser.assert_fits().await;
    assert_eq!(browser.client.title().await.expect("a title"), title);
    assert_eq!(browser.focus().await, "title", "a screen reader hears the heading first");
    assert_eq!(
        browser.script("return location.search").await,
        json!(""),
        "the code is not left in the address"
    );
    assert_eq!(
        browser.script("return document.cookie").await,
        json!(""),
        "no script can read a cookie"
    );
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn somebody_signs_in_and_out() {
    let app = app().await;
    let browser = Browser::open(DESK).await;
    ask_for_a_code(&browser, &login_page(&app), "login").await;
    type_the_code(&browser, &app, 1).await;
    assert_told_well(&browser, "Signed in").await;
    assert_eq!(browser.text("#message").await, format!("You are signed in as {ALICE}."));
    browser.keep_picture("login-3").await;
    let session = "const answer = await fetch('/v2/user/session/'); return answer.status";
    assert_eq!(browser.script(session).await, json!(200));
    browser.type_keys(&char::from(Key::Tab).to_string()).await;
    browser.type_keys(&char::from(Key::Enter).to_string()).await;
    browser.appears("#log-in:not([hidden])").await;
    assert_eq!(browser.script(session).await, json!(401));
    browser.close().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn a_deactivated_member_is_told_so() {
    let app = app().await;
    app.workos.set_membership(ALICE, "org_1", "inactive");
    let browser = Browser::open(PHONE).await;
    ask_for_a_code(&browser, &login_page(&app), "deactivated").await;
    type_the_code(&browser, &app, 1).await;
    assert_told_well(&browser, "Your account is not active").await;
    browser.keep_picture("deactivated-3").await;
    let button = browser.client.find(Locator::Css("#actions button")).await.expect("a way on");
    assert_eq!(button.text().await.expect("text"), "Use another address");
    button.click().await.expect("clicked");
    browser.appears("#log-in:not([hidden])").await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn who_takes_too_long_may_begin_again() {
    let app = app().await;
    let browser = Browser::open(DESK).await;
    ask_for_a_code(&browser, &login_page(&app), "expired").await;
    in_time("the mail", app.inbox.reached(1)).await;
    // An hour on the way, with a code that was asked for late and is still good.
    app.advance(3550);
    browser.client.back().await.expect("the page before");
    browser.heading("Sign in").await;
    browser.click("#email").await;
    browser.script("document.getElementById('email').value = ''").await;
    browser.type_keys(&format!("{ALICE}{}", char::from(Key::Enter))).await;
    browser.heading("Enter your code").await;
    app.advance(60);
    type_the_code(&browser, &app, 2).await;
    assert_told_well(&browser, "That took too long").await;
    browser.keep_picture("expired-3").await;
    browser.click("#actions button").await;
    browser.appears("#log-in:not([hidden])").await;
    browser.close().await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium: ./scripts/test"]
async fn the_demo_shows_the_whole_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = WithPage::start(&["demo"], folder.path());
    let browser = Browser::open(Window { width: 1000, height: 960, dark: false }).await;
    browser.client.goto(&demo.page).await.expect("the page");
    let link = browser.appears("#walk[href^=http]").await;
    let login = link.attr("href").await.expect("asked").expect("an address");
    ask_for_a_code(&browser, &login, "demo").await;
    let code = code_in_the_inbox(&browser, &demo.page).await;
    browser.type_keys(&format!("{}{}", code, char::from(Key::Enter))).await;
    assert_told_well(&browser, "Signed in").await;
    browser.close().await;
    demo.stop();
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0, "the demo left something behind");
}

/// Reads the code on the demo's page, in another tab.
async fn code_in_the_inbox(browser: &Browser, page: &str) -> String {
    let first = browser.client.window().await.expect("a tab");
    let second = browser.client.new_window(true).await.expect("a tab").handle;
    browser.client.switch_to_window(second).await.expect("the other tab");
    browser.client.goto(page).await.expect("the page");
    browser.appears("#mail:not([hidden])").await;
    let text = browser.script("return document.getElementById('text').textContent").await;
    let code = readable::code(text.as_str().expect("text")).map(str::to_owned);
    browser.script("document.getElementById('language').value = 'de'").await;
    browser.click("#ask button").await;
    browser.appears("#journey:not([hidden])").await;
    assert_eq!(browser.text("#subject").await, "Ihr Anmeldecode für Authpost demo");
    browser.keep_picture("demo").await;
    browser.client.switch_to_window(first).await.expect("the first tab");
    code.expect("a code")
}
