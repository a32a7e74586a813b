//! Declaring the topology in few round trips.
//!
//! Declaring is idempotent and done on every new connection, so a broker that lost everything is
//! set up again by the first connection it accepts. Arguments that differ from an existing queue's
//! are refused by the broker (406); the queue is then used as it is, and the log says what to do.

use futures_util::future::try_join_all;
use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::{
    has_code,
    topology::{Names, Queue, queues},
};

/// Declares everything. A refused queue (other arguments) is logged and used as it is; any other
/// error is returned.
pub(super) async fn declare(connection: &Connection, names: &Names) -> lapin::Result<()> {
    match at_once(connection, names).await {
        Err(error) if is_refusal(&error) => each_alone(connection, names).await,
        Err(error) if is_forbidden(&error) => look(connection, names).await,
        result => result,
    }
}

/// A user without the permission "configure" uses what somebody else has declared. Looking needs no
/// permission; what is missing is an error that names it.
async fn look(connection: &Connection, names: &Names) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions {
        durable: true,
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    for (name, kind) in
        [(names.fallback(), ExchangeKind::Fanout), (names.events(), ExchangeKind::Direct)]
    {
        channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await?;
    }
    let queues = queues(names);
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let there = queues.iter().map(|queue| {
        channel.queue_declare(queue.name.clone().into(), options, FieldTable::default())
    });
    try_join_all(there).await?;
    close(channel);
    tracing::info!("this user may declare nothing: the queues are used as they are");
    Ok(())
}

/// All on one channel, each request sent without waiting for the answer to the one before: two
/// round trips. A refusal closes the channel.
async fn at_once(connection: &Connection, names: &Names) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let queues = queues(names);
    // The futures are polled in this order, and each sends its request when it is first polled.
    let exchanges = exchanges(&channel, names);
    let declared = try_join_all(queues.iter().map(|queue| declare_queue(&channel, queue)));
    let bound = try_join_all(queues.iter().map(|queue| bind(&channel, queue)));
    futures_util::try_join!(exchanges, declared, bound)?;
    close(channel);
    Ok(())
}

/// Each queue on a channel of its own, so that one refusal does not stop the others.
async fn each_alone(connection: &Connection, names: &Names) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    exchanges(&channel, names).await?;
    let queues = queues(names);
    try_join_all(queues.iter().map(|queue| declare_alone(connection, queue))).await?;
    try_join_all(queues.iter().map(|queue| bind(&channel, queue))).await?;
    close(channel);
    Ok(())
}

async fn declare_alone(connection: &Connection, queue: &Queue) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    match declare_queue(&channel, queue).await {
        Ok(()) => {
            close(channel);
            Ok(())
        }
        // A virtual host that may have no more queues gives the same code.
        Err(error) if is_refusal(&error) && !is_limit(&error) => {
            tracing::warn!(
                queue = queue.name,
                "the queue exists with other arguments and is used as it is; to change them, \
                 drain it, delete it, and restart"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn exchanges(channel: &Channel, names: &Names) -> lapin::Result<()> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let mut alternate = FieldTable::default();
    alternate.insert("alternate-exchange".into(), AMQPValue::LongString(names.fallback().into()));
    let fallback = channel.exchange_declare(
        names.fallback().into(),
        ExchangeKind::Fanout,
        durable,
        FieldTable::default(),
    );
    let events =
        channel.exchange_declare(names.events().into(), ExchangeKind::Direct, durable, alternate);
    futures_util::try_join!(fallback, events).map(drop)
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> lapin::Result<()> {
    let declared = channel.queue_declare(
        queue.name.clone().into(),
        QueueDeclareOptions::durable(),
        queue.arguments.clone(),
    );
    declared.await.map(drop)
}

async fn bind(channel: &Channel, queue: &Queue) -> lapin::Result<()> {
    let (name, exchange) = (queue.name.clone().into(), queue.exchange.clone().into());
    channel
        .queue_bind(
            name,
            exchange,
            queue.routing_key.clone(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

/// Closes a channel without waiting for the broker's answer.
fn close(channel: Channel) {
    tokio::spawn(async move { channel.close(200, "declared".into()).await });
}

/// PRECONDITION_FAILED: it exists with other arguments.
fn is_refusal(error: &lapin::Error) -> bool {
    has_code(error, 406)
}

/// Whether the broker says that there are as many queues as it allows.
fn is_limit(error: &lapin::Error) -> bool {
    let said = match error.kind() {
        lapin::ErrorKind::ProtocolError(refusal) => refusal.get_message().as_str().to_owned(),
        _ => String::new(),
    };
    said.contains("limit")
}

/// ACCESS_REFUSED: this user may not do that.
fn is_forbidden(error: &lapin::Error) -> bool {
    has_code(error, 403)
}
