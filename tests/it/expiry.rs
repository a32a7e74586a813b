//! The lifetime of codes: an expired code is never mailed, at whatever stage it expires.

use jiff::SignedDuration;
use sandbox::{
    inbox::{Misbehavior, Step},
    workos::{LIFE, Override},
};

use crate::{
    harness::{App, Setup, in_time},
    on_both_engines,
};

on_both_engines!(dead_on_arrival, dies_while_it_is_fetched, would_die_before_the_next_attempt,);

async fn dead_on_arrival(app: App) {
    // The first answer of WorkOS shows that our clock is right; before it, no event is given
    // up unasked.
    app.ask("bob@example.com").await;
    app.outcome("sent", "none", 1).await;
    let made = app.workos.make_code("alice@example.com");
    app.advance(LIFE.as_secs());
    assert_eq!(app.post(&made).await.status, 200, "WorkOS has nothing to try again");
    app.outcome("expired", "none", 1).await;
    assert_eq!(
        (app.inbox.count(), app.workos.reads().len()),
        (1, 1),
        "nobody was asked anything about it"
    );
    app.finish().await;
}

async fn dies_while_it_is_fetched(app: App) {
    let made = app.workos.make_code("alice@example.com");
    // The expiry in WorkOS's answer counts, not the one in the event.
    app.workos.change_end(&made.id, Some(app.now()));
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("expired", "none", 1).await;
    assert_eq!(app.inbox.count(), 0);
    app.finish().await;
}

async fn would_die_before_the_next_attempt(app: App) {
    let made = app.workos.make_code("alice@example.com");
    app.advance(LIFE.as_secs() - 16);
    app.inbox.order(Step::Rcpt, Misbehavior::Say("451 4.3.0 later"));
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("expired", "relay_deferred", 1).await;
    assert_eq!(
        app.exposition().outcomes("retry"),
        0,
        "no retry is scheduled into the last 15 seconds"
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_in_the_queue() {
    let app = App::embedded().await;
    app.workos.answer_instead([Override::Answer(500, Vec::new(), String::new())]);
    app.ask("alice@example.com").await;
    app.outcome("retry", "workos_unavailable", 1).await;
    app.clock.advance(LIFE + SignedDuration::from_secs(1));
    app.outcome("expired", "none", 1).await;
    assert_eq!(app.inbox.count(), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_code_goes_out_in_its_last_second_if_nothing_fails() {
    let app = App::embedded().await;
    let made = app.workos.make_code("alice@example.com");
    app.advance(LIFE.as_secs() - 1);
    assert_eq!(app.post(&made).await.status, 200);
    assert!(app.mails(1).await[0].text.contains("one minute"));
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_past_the_end_is_not_waited_for() {
    let app = Setup::embedded().start().await;
    app.workos.answer_instead([Override::Answer(
        503,
        vec![("retry-after", "999999".to_owned())],
        String::new(),
    )]);
    let made = app.workos.make_code("alice@example.com");
    app.advance(LIFE.as_secs() - 70);
    assert_eq!(app.post(&made).await.status, 200);
    in_time("the end", app.outcome("expired", "workos_unavailable", 1)).await;
    app.finish().await;
}
