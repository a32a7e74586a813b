//! The main job: a signed webhook goes in, the right mail comes out.

use crate::{
    harness::{App, raw_http},
    on_both_engines,
};

on_both_engines!(
    one_login,
    many_logins_at_once,
    a_code_that_begins_with_zero_keeps_it,
    every_role_shows_that_it_is_well,
);

async fn one_login(app: App) {
    let made = app.ask("alice@example.com").await;
    let mails = app.mails(1).await;
    assert_eq!(mails[0].code(), Some(made.code.as_str()));
    assert_eq!(mails[0].subject, "Your Acme login code");
    assert!(mails[0].html.contains(&made.code));
    let received = &app.inbox.mails()[0];
    assert_eq!(
        (received.from.as_str(), received.to.as_str()),
        ("login@acme.example", "alice@example.com")
    );
    let (id, _) = &app.workos.reads()[0];
    assert_eq!(*id, made.id);
    app.outcome("sent", "none", 1).await;
    let exposition = app.exposition();
    assert_eq!(exposition.count("authpost_delivery_seconds_count"), 1);
    assert_eq!(exposition.claims("fresh"), 1);
    app.finish().await;
}

async fn many_logins_at_once(app: App) {
    let people: Vec<String> = (0..100).map(|n| format!("person{n}@example.com")).collect();
    let mut asking = tokio::task::JoinSet::new();
    let app = std::sync::Arc::new(app);
    for email in people.clone() {
        let app = std::sync::Arc::clone(&app);
        asking.spawn(async move { app.ask(&email).await });
    }
    let made = asking.join_all().await;
    app.mails(100).await;
    let received = app.inbox.mails();
    for made in made {
        let theirs: Vec<_> = received.iter().filter(|mail| mail.to == made.email).collect();
        assert_eq!(theirs.len(), 1, "one mail a person");
        let mail = sandbox::readable::read(&theirs[0].raw).expect("a mail");
        assert_eq!(mail.code(), Some(made.code.as_str()), "everybody gets their own code");
    }
    assert!(
        app.inbox.connections() <= 17,
        "connections to the relay are reused: {}",
        app.inbox.connections()
    );
    std::sync::Arc::into_inner(app).expect("nobody else holds it").finish().await;
}

async fn a_code_that_begins_with_zero_keeps_it(app: App) {
    let made = loop {
        let made = app.workos.make_code("zoe@example.com");
        if made.code.starts_with('0') {
            break made;
        }
    };
    assert_eq!(app.post(&made).await.status, 200);
    assert_eq!(app.mails(1).await[0].code(), Some(made.code.as_str()));
    app.finish().await;
}

async fn every_role_shows_that_it_is_well(app: App) {
    assert_eq!(raw_http::get(app.admin, "/livez").await.0, 200);
    assert_eq!(
        raw_http::get(app.admin, "/readyz").await,
        (200, r#"{"status":"ready"}"#.to_owned())
    );
    let (status, metrics) = raw_http::get(app.admin, "/metrics").await;
    assert!(status == 200 && metrics.contains("authpost_build_info"), "{metrics}");
    assert_eq!(raw_http::get(app.admin, "/elsewhere").await.0, 404);
    assert_eq!(
        raw_http::get(app.public, "/metrics").await.0,
        404,
        "metrics are on the private listener only"
    );
    app.finish().await;
}
