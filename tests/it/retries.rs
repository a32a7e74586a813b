//! Every failure that may pass is tried again, and the mail arrives.

use sandbox::{
    inbox::{Misbehavior, Step},
    workos::Override,
};

use crate::{
    harness::{App, Setup, in_time},
    on_both_engines,
};

on_both_engines!(
    workos_fails_once,
    workos_knows_a_code_a_moment_late,
    the_relay_defers_once,
    an_answer_after_the_dot_is_lost,
);

fn answer(status: u16) -> Override {
    Override::Answer(status, Vec::new(), "<html>an error page</html>".to_owned())
}

/// Waits until the first attempt has failed for `reason` and the second one has ended. The clock
/// skips the delay of the embedded engine.
async fn second_attempt(app: &App, reason: &str, seconds: i64) {
    app.ask("alice@example.com").await;
    app.outcome("retry", reason, 1).await;
    app.advance(seconds);
    app.mails(1).await;
    app.outcome("sent", "none", 1).await;
}

async fn workos_fails_once(app: App) {
    app.workos.answer_instead([answer(503)]);
    second_attempt(&app, "workos_unavailable", 3).await;
    assert_eq!(app.workos.reads().len(), 2);
    app.finish().await;
}

/// What WorkOS reads from is behind what it sends webhooks from.
async fn workos_knows_a_code_a_moment_late(app: App) {
    app.workos.answer_instead([answer(404)]);
    second_attempt(&app, "not_found", 3).await;
    assert_eq!(app.workos.reads().len(), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_workos_never_knows_is_asked_for_three_times() {
    let app = App::embedded().await;
    app.workos.answer_instead([answer(404), answer(404), answer(404)]);
    app.ask("alice@example.com").await;
    for (attempts, seconds) in [(1, 3), (2, 11)] {
        app.outcome("retry", "not_found", attempts).await;
        app.advance(seconds);
    }
    app.outcome("dead", "not_found", 1).await;
    assert_eq!(app.workos.reads().len(), 3);
    app.finish().await;
}

async fn the_relay_defers_once(app: App) {
    app.inbox.order(Step::Rcpt, Misbehavior::Say("450 4.2.1 mailbox busy"));
    second_attempt(&app, "relay_deferred", 3).await;
    app.finish().await;
}

async fn an_answer_after_the_dot_is_lost(app: App) {
    app.inbox.order(Step::Dot, Misbehavior::KeepAndHangUp);
    app.ask("alice@example.com").await;
    app.outcome("retry", "ambiguous", 1).await;
    app.advance(3);
    let mails = app.mails(2).await;
    assert_eq!(
        mails[0].message_id, mails[1].message_id,
        "a mail program can tell that the copies are one mail"
    );
    app.outcome("sent", "none", 1).await;
    assert_eq!(app.exposition().claims("doubtful"), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transient_answer_of_workos_is_tried_again() {
    for (instead, reason) in [
        (answer(500), "workos_unavailable"),
        (answer(502), "workos_unavailable"),
        (answer(408), "workos_unavailable"),
        (Override::Stall, "workos_unavailable"),
        (answer(200), "workos_bad_answer"),
        (answer(302), "workos_bad_answer"),
        (answer(422), "workos_bad_answer"),
        (Override::Answer(200, Vec::new(), "x".repeat(1024 * 1024 + 1)), "workos_bad_answer"),
    ] {
        let app = App::embedded().await;
        app.workos.answer_instead([instead]);
        second_attempt(&app, reason, 3).await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transient_misbehavior_of_the_relay_is_tried_again() {
    for (step, misbehavior, reason) in [
        (Step::Greeting, Misbehavior::Say("421 4.3.2 too busy"), "relay_unavailable"),
        (Step::Greeting, Misbehavior::Stall, "relay_unavailable"),
        (Step::Greeting, Misbehavior::HangUp, "relay_unavailable"),
        (Step::Ehlo, Misbehavior::HangUp, "relay_unavailable"),
        (Step::Ehlo, Misbehavior::Stall, "relay_unavailable"),
        (Step::Mail, Misbehavior::Say("451 4.3.0 later"), "relay_deferred"),
        (Step::Mail, Misbehavior::Stall, "relay_unavailable"),
        (Step::Mail, Misbehavior::HangUp, "relay_unavailable"),
        (Step::Rcpt, Misbehavior::Say("452 4.2.2 full"), "relay_deferred"),
        (Step::Rcpt, Misbehavior::HangUp, "relay_unavailable"),
        (Step::Rcpt, Misbehavior::Stall, "relay_unavailable"),
        (Step::Rcpt, Misbehavior::Say("421 4.4.2 closing"), "relay_unavailable"),
        (Step::Rcpt, Misbehavior::Say("421 4.7.0 too fast"), "relay_deferred"),
        (Step::Data, Misbehavior::Say("451 4.3.0 later"), "relay_deferred"),
        (Step::Data, Misbehavior::Stall, "relay_unavailable"),
        (Step::Data, Misbehavior::HangUp, "relay_unavailable"),
        (Step::Dot, Misbehavior::Say("451 4.3.0 later"), "relay_deferred"),
        (Step::Dot, Misbehavior::Say("250-"), "ambiguous"),
        (Step::Dot, Misbehavior::HangUp, "ambiguous"),
        (Step::Dot, Misbehavior::Stall, "ambiguous"),
    ] {
        let app = App::embedded().await;
        app.inbox.order(step, misbehavior.clone());
        // The connection that proved the relay ready is gone: a greeting can go wrong again.
        app.inbox.hang_up().await;
        second_attempt(&app, reason, 3).await;
        assert_eq!(app.inbox.count(), 1, "{step:?} {misbehavior:?}");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_honoured_by_all_tasks() {
    let app = App::embedded().await;
    app.workos.answer_instead([Override::Answer(
        429,
        vec![("retry-after", "20".to_owned())],
        String::new(),
    )]);
    app.ask("alice@example.com").await;
    app.outcome("retry", "workos_rate_limited", 1).await;
    app.ask("bob@example.com").await;
    app.outcome("retry", "workos_rate_limited", 2).await;
    assert_eq!(app.workos.reads().len(), 1, "the second event did not disturb WorkOS");
    let stages = app.exposition().count("authpost_retries_total{stage=\"30s\"}");
    assert_eq!(stages, 2, "both rest for at least what WorkOS asked for");
    // The rest of the 20 s of real time is not waited for: both codes expire first.
    app.advance(600);
    app.outcome("expired", "none", 2).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_counted_across_faults() {
    let app = App::embedded().await;
    app.workos.answer_instead([answer(500), answer(500), answer(500)]);
    app.ask("alice@example.com").await;
    for failures in 1..=3 {
        app.outcome("retry", "workos_unavailable", failures).await;
        app.advance(31);
    }
    app.mails(1).await;
    app.outcome("sent", "none", 1).await;
    let exposition = app.exposition();
    assert_eq!(exposition.count("authpost_attempts_sum"), 4);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_api_key_pauses_everything_costs_no_attempt_and_heals() {
    let app = Setup::embedded().worker(|worker| worker.concurrency = 4).start().await;
    app.workos.answer_instead([answer(401)]);
    app.ask("alice@example.com").await;
    app.outcome("retry", "workos_unauthorized", 1).await;
    let (status, body) = crate::harness::raw_http::get(app.admin, "/readyz").await;
    assert!(status == 503 && body.contains("credentials"), "{body}");
    assert_eq!(app.exposition().count("authpost_paused"), 1);
    // The pause is at most two seconds of real time; the clock skips the delay of the retry.
    app.advance(3);
    in_time("the mail", app.inbox.reached(1)).await;
    app.outcome("sent", "none", 1).await;
    assert_eq!(app.exposition().count("authpost_paused"), 0);
    assert_eq!(app.exposition().count("authpost_attempts_sum"), 1);
    app.is_ready().await;
    app.finish().await;
}
