//! Looking at the queues: how much waits where, and whether they can be used.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::timeout;

use super::{
    classify,
    link::{LinkState, Session},
    publish::RabbitPublisher,
    topology::Names,
};
use crate::{
    fault::{Fault, Reason},
    queue::{Depths, Inspect},
    retry::STAGES,
};

/// Longest wait for a look.
const LOOK: Duration = Duration::from_secs(5);

/// Looks over the publisher's connection, which acknowledgements do not need.
pub struct RabbitInspector {
    pub(super) publisher: Arc<RabbitPublisher>,
    pub(super) consumer: LinkState,
    pub(super) names: Names,
}

impl RabbitInspector {
    /// For whoever consumes nothing and wants to look: over the publisher's connection alone.
    pub fn from_outside(publisher: Arc<RabbitPublisher>, names: Names) -> Self {
        let consumer = publisher.link.state();
        Self { publisher, consumer, names }
    }

    /// Waits for the connection.
    pub async fn connected(&self) {
        drop(self.consumer.clone().up().await);
    }
}

#[async_trait]
impl Inspect for RabbitInspector {
    async fn depths(&self) -> Result<Depths, Fault> {
        let session = self.publisher.link.now().ok_or_else(|| Fault::transient(Reason::QueueUnavailable, "not connected to the broker"))?;
        match timeout(LOOK, look(&session, &self.names)).await {
            Ok(Ok(depths)) => Ok(depths),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(Fault::transient(Reason::QueueUnavailable, "no answer in time")),
        }
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.publisher.link.state().ready().and_then(|()| self.consumer.ready())
    }
}

/// The broker counts what is ready; what a worker holds is in no queue's count.
async fn look(session: &Session, names: &Names) -> lapin::Result<Depths> {
    let channel = session.connection.create_channel().await?;
    let count = async |name: String| {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let queue = channel.queue_declare(name.into(), options, FieldTable::default()).await?;
        Ok::<u64, lapin::Error>(u64::from(queue.message_count()))
    };
    let work = count(names.work()).await? + count(names.late()).await? + count(names.unrouted()).await?;
    let mut retry = 0;
    for stage in STAGES {
        retry += count(names.retry(stage)).await?;
    }
    let dead = count(names.dead()).await?;
    channel.close(200, "looked".into()).await?;
    Ok(Depths { work, retry, dead })
}
