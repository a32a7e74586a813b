//! Events that no attempt can mail are kept, with their reason, and hold up nothing.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicGetOptions, BasicPublishOptions},
    types::AMQPValue,
};
use sandbox::{
    inbox::{Misbehavior, Step},
    workos::Override,
};
use worker::OnAmbiguity;

use crate::{
    harness::{App, Setup, eventually, services::Services},
    on_both_engines,
};

on_both_engines!(
    an_unknown_code,
    a_refused_recipient,
    a_poison_message_is_buried_and_the_next_one_mailed,
    a_form_of_another_release_is_left_to_it_as_long_as_its_code_lives,
);

async fn an_unknown_code(app: App) {
    let made = app.workos.make_old_code("alice@example.com", SignedDuration::from_mins(2));
    app.workos.change_end(&made.id, None);
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("dead", "not_found", 1).await;
    assert_eq!(dead_letters(&app).await, [("not_found".to_owned(), made.event_id)]);
    app.finish().await;
}

async fn a_refused_recipient(app: App) {
    app.inbox.order(Step::Rcpt, Misbehavior::Say("550 5.1.1 no such user alice@example.com"));
    let made = app.ask("alice@example.com").await;
    app.outcome("dead", "recipient_refused", 1).await;
    let (reason, detail) = (dead_letters(&app).await, dead_details(&app).await);
    assert_eq!(reason, [("recipient_refused".to_owned(), made.event_id)]);
    assert!(detail[0].contains("550") && !detail[0].contains("alice"), "{detail:?}");
    app.finish().await;
}

async fn a_poison_message_is_buried_and_the_next_one_mailed(app: App) {
    for poison in [&b"\xff\xfe not even text"[..], b"{\"v\":1}", b"{\"v\":99}"] {
        inject(&app, poison).await;
    }
    app.ask("alice@example.com").await;
    app.mails(1).await;
    app.outcome("dead", "undecodable", 3).await;
    app.finish_with(4).await;
}

/// An old worker, and a new front: a new worker would find the message in the queue as it was.
async fn a_form_of_another_release_is_left_to_it_as_long_as_its_code_lives(app: App) {
    let end = app.now() + SignedDuration::from_secs(40);
    let message = format!("{{\"v\":2,\"expires_at\":\"{end}\",\"news\":[true]}}");
    inject(&app, message.as_bytes()).await;
    for looks in 1..=3 {
        app.outcome("retry", "undecodable", looks).await;
        // Resting as it came, under the number it came with.
        assert_eq!(resting(&app).await, message);
        app.ask("alice@example.com").await;
        app.mails(looks).await;
        app.advance(if looks == 3 { 40 } else { 3 });
    }
    app.outcome("expired", "undecodable", 1).await;
    app.finish_with(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_is_told_apart() {
    let answer = |body: &str| Override::Answer(200, Vec::new(), body.to_owned());
    let unmailable = |id: &str| {
        answer(&format!(
            r#"{{"id":"{id}","email":"alice@exa mple.com","code":"123456","expires_at":"2999-01-01T00:00:00Z"}}"#
        ))
    };
    let app = App::embedded().await;
    let made = app.workos.make_code("alice@example.com");
    app.workos.answer_instead([unmailable(&made.id)]);
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("dead", "unsupported_address", 1).await;

    app.workos.answer_instead([answer("<html>"), answer("<html>")]);
    app.ask("alice@example.com").await;
    app.outcome("retry", "workos_bad_answer", 1).await;
    app.advance(3);
    app.outcome("dead", "workos_bad_answer", 1).await;

    app.inbox.order(Step::Data, Misbehavior::Say("554 5.6.0 content not accepted"));
    app.ask("alice@example.com").await;
    app.outcome("dead", "mail_refused", 1).await;

    app.inbox.order(Step::Dot, Misbehavior::Say("552 5.3.4 too big"));
    app.ask("alice@example.com").await;
    app.outcome("dead", "mail_refused", 2).await;
    assert_eq!(app.inbox.count(), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_beyond_ascii_needs_a_relay_that_can() {
    let app = App::embedded().await;
    app.ask("üser@example.com").await;
    app.outcome("dead", "unsupported_address", 1).await;
    app.ask("user@bücher.example").await;
    app.mails(1).await;
    assert_eq!(app.inbox.mails()[0].to, "user@xn--bcher-kva.example");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_four_doubts_a_person_has_to_decide() {
    let app = App::embedded().await;
    for _ in 0..4 {
        app.inbox.order(Step::Dot, Misbehavior::KeepAndHangUp);
    }
    app.ask("alice@example.com").await;
    for failures in 1..=4 {
        app.outcome("retry", "ambiguous", failures).await;
        app.advance(31);
    }
    app.outcome("dead", "ambiguous", 1).await;
    let ids: BTreeSet<String> =
        app.mails(4).await.into_iter().map(|mail| mail.message_id).collect();
    assert_eq!((app.inbox.count(), ids.len()), (4, 1), "four copies of one mail, not a fifth");
    app.finish().await;
}

/// Most relays that hang up have kept nothing.
#[tokio::test(flavor = "multi_thread")]
async fn silences_leave_nobody_without_a_mail() {
    let app = App::embedded().await;
    for _ in 0..3 {
        app.inbox.order(Step::Dot, Misbehavior::HangUp);
    }
    app.ask("alice@example.com").await;
    for failures in 1..=3 {
        app.outcome("retry", "ambiguous", failures).await;
        app.advance(31);
    }
    app.mails(1).await;
    app.outcome("sent", "none", 1).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_dead_letter_on_ambiguity_nothing_is_sent_twice() {
    let app = Setup::embedded()
        .worker(|worker| worker.on_ambiguity = OnAmbiguity::DeadLetter)
        .start()
        .await;
    app.inbox.order(Step::Dot, Misbehavior::KeepAndHangUp);
    app.ask("alice@example.com").await;
    app.outcome("retry", "ambiguous", 1).await;
    app.advance(3);
    app.outcome("dead", "ambiguous", 1).await;
    assert_eq!(app.inbox.count(), 1);
    app.finish().await;
}

/// Puts a message into the app's work queue behind its back.
async fn inject(app: &App, message: &[u8]) {
    match app.prefix() {
        None => {
            let database =
                rusqlite::Connection::open(app.folder.path().join("authpost.db")).expect("opens");
            database.busy_timeout(crate::harness::PATIENCE).expect("set");
            let sql =
                "INSERT INTO queue (due_ms, attempt, queued_ms, payload) VALUES (0, 1, 0, ?1)";
            database.execute(sql, [message]).expect("inserted");
        }
        Some(prefix) => {
            let connection =
                Connection::connect(Services::shared().amqp_url(), ConnectionProperties::default())
                    .await
                    .expect("connects");
            let channel = connection.create_channel().await.expect("a channel");
            let properties = BasicProperties::default().with_delivery_mode(2);
            let exchange = format!("{prefix}.events");
            let options = BasicPublishOptions::default();
            let sent = channel
                .basic_publish(exchange.into(), "work".into(), options, message, properties)
                .await;
            sent.expect("sent").await.expect("taken");
            connection.close(200, "bye".into()).await.expect("closed");
        }
    }
}

/// The message that rests before its next attempt.
async fn resting(app: &App) -> String {
    let body = eventually("a message rests", async || {
        let Some(prefix) = app.prefix() else {
            let database =
                rusqlite::Connection::open(app.folder.path().join("authpost.db")).expect("opens");
            return database
                .query_row("SELECT payload FROM queue WHERE reason = 'undecodable'", [], |row| {
                    row.get::<_, Vec<u8>>(0)
                })
                .ok();
        };
        let connection =
            Connection::connect(Services::shared().amqp_url(), ConnectionProperties::default())
                .await
                .expect("connects");
        let channel = connection.create_channel().await.expect("a channel");
        let message = channel
            .basic_get(format!("{prefix}.retry.2s").into(), BasicGetOptions::default())
            .await
            .expect("answers");
        let body = message.map(|message| message.data.clone());
        // Closing gives the message back.
        connection.close(200, "bye".into()).await.expect("closed");
        body
    });
    String::from_utf8(body.await).expect("text")
}

/// Reason and event id of every dead letter.
async fn dead_letters(app: &App) -> Vec<(String, String)> {
    let event_id = |body: &[u8]| {
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        body["event_id"].as_str().expect("an id").to_owned()
    };
    read_dead(app).await.into_iter().map(|(reason, _, body)| (reason, event_id(&body))).collect()
}

async fn dead_details(app: &App) -> Vec<String> {
    read_dead(app).await.into_iter().map(|(_, detail, _)| detail).collect()
}

async fn read_dead(app: &App) -> Vec<(String, String, Vec<u8>)> {
    let Some(prefix) = app.prefix() else {
        let database =
            rusqlite::Connection::open(app.folder.path().join("authpost.db")).expect("opens");
        let mut select = database
            .prepare("SELECT reason, detail, payload FROM dead ORDER BY id")
            .expect("a query");
        let rows =
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows");
        return rows.map(|row| row.expect("a row")).collect();
    };
    let connection =
        Connection::connect(Services::shared().amqp_url(), ConnectionProperties::default())
            .await
            .expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let mut found = Vec::new();
    while let Some(message) = channel
        .basic_get(format!("{prefix}.dead").into(), BasicGetOptions::default())
        .await
        .expect("answers")
    {
        let header = |name: &str| match message
            .properties
            .headers()
            .as_ref()
            .and_then(|headers| headers.inner().get(name))
        {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name} is {other:?}"),
        };
        found.push((
            header("x-authpost-reason"),
            header("x-authpost-detail"),
            message.data.clone(),
        ));
    }
    // Closing gives the messages back.
    connection.close(200, "bye".into()).await.expect("closed");
    found
}
