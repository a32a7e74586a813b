//! Unit tests of the parent module.

use runtime::metrics::Metrics;
use secrecy::SecretString;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{pool::REAP_EVERY, *};

/// A connection after the greeting and the answer to EHLO.
async fn greeted(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut wire = BufReader::new(stream);
    wire.get_mut().write_all(b"220 hi\r\n").await.expect("written");
    wire.read_line(&mut String::new()).await.expect("EHLO");
    wire.get_mut().write_all(b"250 hi\r\n").await.expect("written");
    wire.into_inner()
}

fn mailer(listener: &TcpListener) -> SmtpMailer {
    let url = format!("smtp://{}?tls=none", listener.local_addr().expect("an address"));
    let trust = runtime::tls::Trust::load(None).expect("usable");
    let relay =
        RelayConfig::parse(&SecretString::from(url), trust.client(), None).expect("a relay");
    let metrics = Metrics::new("test").expect("declared rightly").relay("relay");
    SmtpMailer::new(relay, 4, metrics).expect("a pool")
}

/// A relay that greets late would otherwise never be used beside one that does not.
#[tokio::test]
async fn a_connection_that_nobody_waits_for_is_opened_for_the_next_mail() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mailer = mailer(&listener);
    {
        let taking = mailer.0.take();
        tokio::pin!(taking);
        // Begun, and given up before the relay has greeted.
        assert!(futures_util::poll!(&mut taking).is_pending());
    }
    let _server = greeted(&listener).await;
    while mailer.0.connections.count() == 0 || !mailer.0.connections.has_idle() {
        tokio::task::yield_now().await;
    }
    mailer.0.take().await.expect("the same connection");
    assert_eq!(mailer.0.connections.count(), 1);
}

/// A closed socket would stay until the next mail, which may be hours away.
#[tokio::test]
async fn an_idle_connection_that_the_relay_closed_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mailer = mailer(&listener);

    let (ready, mut server) = tokio::join!(mailer.ready(), greeted(&listener));
    ready.expect("ready");
    tokio::time::pause();
    tokio::time::advance(REAP_EVERY).await;
    tokio::task::yield_now().await;
    assert_eq!(mailer.0.connections.count(), 1, "an open one stays");

    server.write_all(b"421 4.4.2 idle for too long\r\n").await.expect("written");
    drop(server);
    for _ in 0..100 {
        tokio::time::advance(REAP_EVERY).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(mailer.0.connections.count(), 0, "a closed one does not");
}
