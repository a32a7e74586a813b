//! What the broker and the relay can do at all: bare loops over the same libraries, the same
//! bodies, the same servers.

use std::{sync::Arc, time::Duration};

use domain::{
    address::EmailAddress,
    clock::Clock as _,
    ids::EventId,
    login_code::{Code, LoginCode},
};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use lettre::transport::smtp::{client::AsyncSmtpConnection, extension::ClientId};
use runtime::clock::SystemClock;
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, InboxConfig},
};
use tokio::{net::TcpStream, time::Instant};
use worker::mail::{
    message::Sender,
    render::{Asked, TemplateOptions, Templates},
};

use crate::{
    harness::app::{free_port, fresh_prefix},
    load::rate,
};

/// Connections to the relay: what the pool opens for the worker's default concurrency.
const CONNECTIONS: usize = 32;

/// (a) Confirmed publishes a second into a quorum queue, so many in flight on one channel.
pub async fn broker(url: &str, count: usize, in_flight: usize) -> f64 {
    let connection =
        Connection::connect(url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let name = fresh_prefix();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel
        .queue_declare(name.clone().into(), QueueDeclareOptions::durable(), arguments)
        .await
        .expect("declared");
    let body = Arc::new(
        include_bytes!("../../shared/domain/tests/data/queued_event_v1.json").trim_ascii().to_vec(),
    );
    let begun = Instant::now();
    let tasks = (0..in_flight).map(|task| {
        let (channel, name, body) = (channel.clone(), name.clone(), Arc::clone(&body));
        let share = count / in_flight + usize::from(task < count % in_flight);
        tokio::spawn(async move {
            for _ in 0..share {
                let properties = BasicProperties::default().with_delivery_mode(2);
                let sent = channel
                    .basic_publish(
                        "".into(),
                        name.clone().into(),
                        BasicPublishOptions::default(),
                        &body,
                        properties,
                    )
                    .await;
                let confirmed = sent.expect("sent").await.expect("answered");
                assert!(matches!(confirmed, Confirmation::Ack(None)));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    let rate = rate(count, begun.elapsed());
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.expect("deleted");
    connection.close(200, "bye".into()).await.expect("closed");
    rate
}

/// (c) Mails a second over 32 connections with no delay and PIPELINING, nothing else done.
pub async fn relay(count: usize) -> f64 {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let inbox = Inbox::start(
        free_port().await,
        InboxConfig { only_counts: true, ..InboxConfig::default() },
        clock,
    )
    .expect("starts");
    let mail = Arc::new(mail());
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(inbox.address()).await.expect("connects");
        stream.set_nodelay(true).expect("set");
        let hello = ClientId::Domain("bench.test".to_owned());
        connections.push(
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello)
                .await
                .expect("greets"),
        );
    }
    let begun = Instant::now();
    let tasks = connections.into_iter().enumerate().map(|(task, mut connection)| {
        let mail = Arc::clone(&mail);
        let share = count / CONNECTIONS + usize::from(task < count % CONNECTIONS);
        tokio::spawn(async move {
            for _ in 0..share {
                connection
                    .command(
                        "MAIL FROM:<login@acme.example>\r\nRCPT TO:<p1@example.com>\r\nDATA\r\n",
                    )
                    .await
                    .expect("MAIL");
                connection.read_response().await.expect("RCPT");
                connection.read_response().await.expect("DATA");
                connection.message(&mail).await.expect("250");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    assert_eq!(inbox.count(), count as u64);
    rate(count, begun.elapsed())
}

fn mail() -> Vec<u8> {
    let sender = Sender {
        name: Some("Acme".to_owned()),
        address: EmailAddress::parse("login@acme.example").expect("valid"),
    };
    let now = SystemClock.now();
    let code = LoginCode {
        code: Code::parse("123456".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("p1@example.com").expect("valid"),
        expires_at: now + jiff::SignedDuration::try_from(Duration::from_secs(600)).expect("short"),
    };
    let templates = Templates::load(TemplateOptions::plain("Acme", sender)).expect("usable");
    templates
        .login_code(Asked::plain(&EventId::parse("event_1").expect("valid"), now), &code, now)
        .expect("renders")
        .expose()
        .to_vec()
}
