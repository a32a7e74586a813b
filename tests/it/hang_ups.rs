//! Senders that hang up before they are answered.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    event::QueuedEvent,
    fault::Fault,
    queue::Publish,
    webhook::{WebhookKeys, sign},
};
use ingress::{Ingress, proxies::Proxies};
use runtime::{
    clock::SystemClock,
    health::Health,
    http::{self, Limits},
    live::Live,
    metrics::Metrics,
};
use sandbox::workos::StandIn;
use secrecy::SecretString;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    account::Exposition,
    app::{SECRET, free_port},
    eventually, in_time,
};

/// A queue that takes as long as it is told to.
#[derive(Default)]
struct Slow {
    asked: Notify,
    stored: Notify,
}

#[async_trait]
impl Publish for Slow {
    async fn publish(&self, _: &QueuedEvent) -> Result<(), Fault> {
        self.asked.notify_one();
        self.stored.notified().await;
        Ok(())
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }

    fn system(&self) -> &'static str {
        "test"
    }
}

/// A proxy whose timeout passes hangs up while the event is being stored.
#[tokio::test]
async fn an_event_is_counted_that_is_stored_after_its_sender_hung_up() {
    let secret = SecretString::from(SECRET.to_owned());
    let (queue, metrics) =
        (Arc::new(Slow::default()), Arc::new(Metrics::new("test").expect("declared rightly")));
    let keys = WebhookKeys::new(std::slice::from_ref(&secret)).expect("not empty");
    let clock = Arc::new(SystemClock);
    let publish: Arc<dyn Publish> = queue.clone();
    let ingress = Ingress::new(
        publish,
        Live::new(keys),
        clock.clone(),
        Arc::clone(&metrics),
        Proxies::default(),
    );
    let listener = http::listen(([127, 0, 0, 1], 0).into()).expect("a free port");
    let (address, stop) = (listener.local_addr().expect("bound"), CancellationToken::new());
    // These limits have hang-ups end the handlers of requests.
    let limits = Limits::new(8, Duration::from_secs(1));
    let heartbeat = Health::default().heartbeat("ingress");
    let serving =
        tokio::spawn(ingress::run(listener, Arc::new(ingress), limits, heartbeat, stop.clone()));

    let workos = StandIn::start(free_port().await, secret.clone(), clock.clone()).expect("starts");
    let event = workos.make_code("p@example.com").event();
    let signature = sign(&secret, clock.now(), event.as_bytes()).expect("a secret");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = format!(
        "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nWorkOS-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        event.len()
    );
    stream.write_all((head + &event).as_bytes()).await.expect("written");
    in_time("the queue is asked", queue.asked.notified()).await;
    drop(stream);

    let seen = || Exposition::parse(&metrics.expose());
    eventually("the connection is gone", async || {
        (seen().count("authpost_http_connections") == 0).then_some(())
    })
    .await;
    assert_eq!(seen().webhooks("accepted"), 0);
    queue.stored.notify_one();
    eventually("the event is counted", async || (seen().webhooks("accepted") == 1).then_some(()))
        .await;
    stop.cancel();
    serving.await.expect("no panic");
}
