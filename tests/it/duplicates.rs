//! One event, delivered again and again: one mail.

use crate::{
    harness::{App, eventually, in_time},
    on_both_engines,
};

on_both_engines!(
    posted_many_times_at_once,
    posted_again_after_the_mail,
    two_codes_for_one_person_are_two_mails,
);

async fn posted_many_times_at_once(app: App) {
    let made = app.workos.make_code("alice@example.com");
    let posts = (0..20).map(|_| app.post(&made));
    for posted in futures_util::future::join_all(posts).await {
        assert_eq!(posted.status, 200);
    }
    app.mails(1).await;
    app.outcome("sent", "none", 1).await;
    // A copy that meets another one being processed waits first. Time moves on only after all have
    // let go on.
    let looked_at = async || {
        let exposition = app.exposition();
        (exposition.outcomes("duplicate") + exposition.outcomes("retry") >= 19).then_some(())
    };
    eventually("every copy has been looked at", looked_at).await;
    app.advance(3);
    app.outcome("duplicate", "none", 19).await;
    assert_eq!(app.inbox.count(), 1);
    assert_eq!(app.exposition().outcomes("sent"), 1);
    app.finish().await;
}

async fn posted_again_after_the_mail(app: App) {
    let made = app.ask("alice@example.com").await;
    app.mails(1).await;
    app.outcome("sent", "none", 1).await;
    for expected in 1..=3 {
        assert_eq!(app.post(&made).await.status, 200, "WorkOS must hear 200, or it never stops");
        app.outcome("duplicate", "none", expected).await;
    }
    assert_eq!(app.inbox.count(), 1);
    assert_eq!(app.workos.reads().len(), 1, "a duplicate costs WorkOS no read");
    app.finish().await;
}

async fn two_codes_for_one_person_are_two_mails(app: App) {
    let (first, second) = (app.ask("alice@example.com").await, app.ask("alice@example.com").await);
    in_time("both", app.inbox.reached(2)).await;
    let mails = app.mails(2).await;
    for code in [&first.code, &second.code] {
        assert!(mails.iter().any(|mail| mail.code() == Some(code)));
    }
    assert_ne!(mails[0].message_id, mails[1].message_id);
    app.finish().await;
}
