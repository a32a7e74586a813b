//! Counting what waits in the queues, and whether they can be used.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    fault::{Fault, Reason},
    queue::{Depths, Inspect},
    retry::STAGES,
};
use futures_util::future::try_join_all;
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::timeout;

use super::{
    classify,
    publish::RabbitPublisher,
    supervisor::{ConnectionView, Session},
    topology::Names,
};

/// Longest wait for the counts.
const LIMIT: Duration = Duration::from_secs(5);

/// Inspects the queues over the publisher's connection, which acknowledgements do not use.
pub struct RabbitInspector {
    pub(super) publisher: Arc<RabbitPublisher>,
    pub(super) consumer: ConnectionView,
    pub(super) names: Names,
}

impl RabbitInspector {
    /// An inspector beside a consumer elsewhere: over the publisher's connection alone.
    pub fn beside(publisher: Arc<RabbitPublisher>, names: Names) -> Self {
        let consumer = publisher.supervisor.view();
        Self { publisher, consumer, names }
    }

    /// Waits until the connection is up.
    pub async fn connected(&self) {
        drop(self.consumer.clone().up().await);
    }
}

#[async_trait]
impl Inspect for RabbitInspector {
    async fn depths(&self) -> Result<Depths, Fault> {
        let session = self.publisher.supervisor.now().ok_or_else(|| {
            Fault::transient(Reason::QueueUnavailable, "not connected to the broker")
        })?;
        match timeout(LIMIT, count(&session, &self.names)).await {
            Ok(Ok(depths)) => Ok(depths),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(Fault::transient(Reason::QueueUnavailable, "no answer in time")),
        }
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.publisher.supervisor.view().ready().and_then(|()| self.consumer.ready())
    }
}

/// The broker counts messages that are ready; those that a worker holds are in no count. All queues
/// are asked at once.
async fn count(session: &Session, names: &Names) -> lapin::Result<Depths> {
    let channel = session.connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let depth = async |name: String| {
        let queue = channel.queue_declare(name.into(), passive, FieldTable::default()).await?;
        Ok::<u64, lapin::Error>(u64::from(queue.message_count()))
    };
    let work = try_join_all([names.work(), names.late(), names.unrouted()].map(depth));
    let retry = try_join_all(STAGES.map(|stage| depth(names.retry(stage))));
    let (work, retry, dead) = futures_util::try_join!(work, retry, depth(names.dead()))?;
    channel.close(200, "counted".into()).await?;
    Ok(Depths { work: work.iter().sum(), retry: retry.iter().sum(), dead })
}
