//! Somebody asks again and again while the relay takes no mail: one mail, with the newest code.

use sandbox::inbox::{Misbehavior, Step};

use crate::{harness::App, on_both_engines};

on_both_engines!(asked_three_times_during_an_outage, a_dead_newest_code_lets_the_older_ones_go,);

const ALICE: &str = "alice@example.com";

async fn asked_three_times_during_an_outage(app: App) {
    let mut newest = None;
    for asked in 1..=3 {
        app.advance(1);
        app.inbox.order(Step::Rcpt, Misbehavior::Say("451 4.3.0 try again later"));
        newest = Some(app.ask(ALICE).await);
        app.outcome("retry", "relay_deferred", asked).await;
    }
    // The delay of the newest, and then how long the others give way.
    app.advance(3);
    app.outcome("sent", "none", 1).await;
    app.advance(11);
    app.outcome("superseded", "none", 2).await;
    let mails = app.mails(1).await;
    let newest = newest.expect("asked");
    assert_eq!((mails.len(), mails[0].code()), (1, Some(newest.code.as_str())));
    assert_eq!(app.exposition().claims("superseded"), 2);
    app.finish().await;
}

async fn a_dead_newest_code_lets_the_older_ones_go(app: App) {
    app.inbox.order(Step::Rcpt, Misbehavior::Say("451 4.3.0 try again later"));
    let older = app.ask(ALICE).await;
    app.outcome("retry", "relay_deferred", 1).await;
    app.advance(1);
    app.inbox.order(Step::Rcpt, Misbehavior::Say("550 5.1.1 no such user, today"));
    app.ask(ALICE).await;
    app.outcome("dead", "recipient_refused", 1).await;
    app.advance(11);
    let mails = app.mails(1).await;
    assert_eq!(mails[0].code(), Some(older.code.as_str()));
    app.outcome("sent", "none", 1).await;
    app.finish().await;
}
