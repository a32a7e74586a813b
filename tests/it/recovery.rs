//! Wrong configuration, and delays that WorkOS asks for: events stay in the queue, no attempt is
//! used up, and the mails are sent once the cause is fixed.

use std::sync::Arc;

use domain::clock::Clock as _;
use runtime::{clock::SystemClock, tls::Trust};
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, InboxConfig},
    workos::Override,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{App, Setup, app::free_port, eventually, networks::way_to, raw_http, settings},
    relay::authority,
};

async fn inbox(starttls: Option<TlsAcceptor>) -> Inbox {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    Inbox::start(free_port().await, InboxConfig { starttls, ..InboxConfig::default() }, clock)
        .expect("starts")
}

async fn credentials_are_red(app: &App, why: &str) {
    let what = format!("readiness says {why}");
    eventually(&what, async || {
        let (status, body) = raw_http::get(app.admin, "/readyz").await;
        (status == 503 && body.contains("credentials") && body.contains(why)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_starttls_or_with_a_strange_certificate_gets_no_mail() {
    let ((ca, ours), (_, strange)) = (authority(), authority());
    let (good, open, strange) =
        (inbox(Some(ours)).await, inbox(None).await, inbox(Some(strange)).await);
    let (network, _) = way_to(&format!("smtp://{}", good.address())).await;
    let url = format!("smtp://localhost:{}", network.address().port());
    let trust = Trust::load(Some(&ca)).expect("usable");
    let relay = settings::relay(&url, &trust);
    let mut setup = Setup::embedded().worker(move |worker| worker.relays = vec![relay]);
    setup.trust = Some(trust);
    let app = setup.start().await;
    for (wrong, why) in [(&open, "STARTTLS"), (&strange, "certificate")] {
        network.lead_to(wrong.address());
        good.hang_up().await;
        let sent = good.count();
        app.ask("alice@example.com").await;
        credentials_are_red(&app, why).await;
        network.lead_to(good.address());
        eventually("it is mailed when that is fixed", async || {
            app.advance(1);
            (good.count() > sent).then_some(())
        })
        .await;
        app.outcome("sent", "none", sent + 1).await;
    }
    assert_eq!((open.count(), strange.count()), (0, 0), "a mail went to a relay that is not ours");
    let exposition = app.exposition();
    assert_eq!(exposition.count("authpost_attempts_sum"), 2, "no attempt was burnt");
    assert_eq!(exposition.outcomes("dead"), 0);
    app.finish().await;
}

/// Whatever WorkOS writes into Retry-After, the code goes out, and not much later than was asked
/// for.
#[tokio::test(flavor = "multi_thread")]
async fn every_retry_after_is_survived() {
    for (wish, stage) in [
        (Some("1"), "2s"),
        (Some("86400"), "60s"),
        (Some("99999999999999999999"), "60s"),
        (Some("Fri, 31 Dec 1999 23:59:59 GMT"), "2s"),
        (Some("rubbish"), "2s"),
        (Some("-5"), "2s"),
        (None, "2s"),
    ] {
        let app = App::embedded().await;
        let headers = wish.map(|wish| ("retry-after", wish.to_owned())).into_iter().collect();
        // A 503 does not close the gate, which goes by the world's clock; how long a 429 does is
        // the gate's own test.
        app.workos.answer_instead([Override::Answer(503, headers, String::new())]);
        app.ask("alice@example.com").await;
        app.outcome("retry", "workos_unavailable", 1).await;
        let series = format!("authpost_retries_total{{stage=\"{stage}\"}}");
        assert_eq!(app.exposition().count(&series), 1, "{wish:?}");
        app.advance(61);
        app.mails(1).await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_tried_again() {
    let half = r#"{"object":"magic_auth","id":"magic_au"#.to_owned();
    for instead in [
        Override::Answer(200, Vec::new(), "<html>502 Bad Gateway</html>".to_owned()),
        Override::Answer(200, Vec::new(), half),
        Override::Answer(429, vec![("retry-after", "1".to_owned())], String::new()),
        Override::Stall,
    ] {
        let app = App::embedded().await;
        app.workos.answer_instead([instead]);
        app.ask("alice@example.com").await;
        eventually("a retry", async || (app.exposition().outcomes("retry") >= 1).then_some(()))
            .await;
        app.advance(3);
        eventually("the mail", async || {
            app.advance(1);
            (app.inbox.count() == 1).then_some(())
        })
        .await;
        app.finish().await;
    }
}
