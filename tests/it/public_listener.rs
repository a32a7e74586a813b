//! The public listener towards clients, proxies and hosting services as they are.

use sandbox::proxy::Network;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    App,
    app::Setup,
    eventually, in_time,
    raw_http::{self, status},
};

/// Most clients read the answer only once they have sent everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_on_gets_to_see_its_answer() {
    let app = App::embedded().await;
    let size = 8 * 1024 * 1024;
    for (path, expected) in [("/v1/workos_webhook/", 413), ("/nothing", 404)] {
        let mut stream = TcpStream::connect(app.public).await.expect("connects");
        let head = format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(&vec![b'x'; size]).await.expect("everything is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, and an orderly end");
        assert_eq!(status(&answer), expected);
    }
    // Whoever never stops is not listened to for long.
    let mut stream = TcpStream::connect(app.public).await.expect("connects");
    let head =
        "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("written");
    in_time("the connection is closed", async {
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    app.finish().await;
}

/// Hosting services with one port probe the one they route to.
#[tokio::test(flavor = "multi_thread")]
async fn the_public_listener_says_whether_webhooks_are_accepted() {
    let app = App::embedded().await;
    let ask = async |method: &str| {
        let request = format!("{method} /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        raw_http::send(app.public, request.as_bytes()).await
    };
    let well = ask("GET").await;
    assert!(status(&well) == 200 && well.ends_with(r#"{"status":"ok"}"#), "{well}");
    assert_eq!(status(&ask("HEAD").await), 200);
    assert_eq!(status(&ask("POST").await), 405);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn without_a_broker_webhooks_are_not_accepted() {
    let app = Setup::distributed().faulty().start().await;
    let ask = async || raw_http::get(app.public, "/healthz").await;
    assert_eq!(ask().await.0, 200);
    app.networks().broker().set(Network::Refused);
    let (_, body) = eventually("the broker is missed", async || {
        let answer = ask().await;
        (answer.0 == 503).then_some(answer)
    })
    .await;
    assert!(!body.contains("amqp") && !body.contains("127.0.0.1"), "no details: {body}");
    app.networks().broker().set(Network::Fine);
    eventually("it is back", async || (ask().await.0 == 200).then_some(())).await;
    app.is_ready().await;
    app.finish().await;
}
