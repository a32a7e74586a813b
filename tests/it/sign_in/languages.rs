//! What a sign-in teaches about a person's language.

use super::app;
use crate::harness::app::App;

const ALICE: &str = "alice@example.com";

async fn sign_in(app: &App, languages: &str) {
    let mut alice = app.visitor().with("Accept-Language", languages);
    let authorize = alice.leave(None).await;
    let back = app.workos.approve(&authorize, ALICE).expect("somewhere to go");
    assert_eq!(alice.come_back(&back).await.kind(), "LOGIN_SUCCESSFUL");
}

async fn subject_of_mail(app: &App, number: u64) -> String {
    let made = app.ask(ALICE).await;
    let mails = app.mails(number).await;
    let mail = mails.into_iter().find(|mail| mail.code() == Some(made.code.as_str()));
    mail.expect("their mail").subject
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_mail_is_in_the_language_of_the_browser() {
    let app = app().await;
    assert_eq!(subject_of_mail(&app, 1).await, "Your Acme login code");
    sign_in(&app, "pl-PL,pl;q=0.9,en;q=0.5").await;
    assert_eq!(subject_of_mail(&app, 2).await, "Twój kod logowania do Acme");
    app.workos.set_impersonator("support@acme.example");
    sign_in(&app, "sv").await;
    assert_eq!(subject_of_mail(&app, 3).await, "Twój kod logowania do Acme", "not a colleague's");
    app.finish().await;
}
