//! Whose language: WorkOS's word, then the browser's, then the default; and what a failing read
//! costs.

use std::time::Duration;

use sandbox::workos::{Call, Override};
use tokio::time::Instant;

use crate::{harness::App, on_both_engines};

on_both_engines!(
    a_person_is_written_to_in_their_language,
    a_user_that_cannot_be_read_costs_the_language_alone,
);

const ALICE: &str = "alice@example.com";

async fn a_person_is_written_to_in_their_language(app: App) {
    app.workos.set_locale(ALICE, "de_DE.UTF-8");
    app.workos.set_locale("bob@example.com", "zh-TW");
    for (number, email, subject) in [
        (1, ALICE, "Ihr Anmeldecode für Acme"),
        (2, "bob@example.com", "Your Acme login code"),
        (3, "carol@example.com", "Your Acme login code"),
        (4, ALICE, "Ihr Anmeldecode für Acme"),
    ] {
        let made = app.ask(email).await;
        let mails = app.mails(number).await;
        let mail = mails.iter().find(|mail| mail.code() == Some(made.code.as_str()));
        assert_eq!(mail.map(|mail| mail.subject.as_str()), Some(subject), "{email}");
    }
    assert_eq!(app.workos.calls(Call::User).len(), 3, "an answer is remembered");
    app.finish().await;
}

async fn a_user_that_cannot_be_read_costs_the_language_alone(app: App) {
    app.workos.set_locale(ALICE, "de");
    let refused = Override::Answer(500, Vec::new(), "{}".to_owned());
    app.workos.answer_call_instead(Call::User, [Override::Stall, refused]);
    let begun = Instant::now();
    app.ask(ALICE).await;
    let mails = app.mails(1).await;
    assert_eq!(mails[0].subject, "Your Acme login code");
    assert!(begun.elapsed() >= Duration::from_millis(800), "it was waited for");
    app.ask("bob@example.com").await;
    app.mails(2).await;
    assert_eq!(
        app.workos.calls(Call::User).len(),
        1,
        "nothing is read for a while after a failure"
    );
    app.finish().await;
}
