//! A lock at the broker: an exclusive queue, which one connection at a time can have.

use std::time::Duration;

use domain::fault::{Fault, Reason};
use lapin::{
    Channel, Connection,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use tokio::time::{Instant, sleep, timeout};

use super::{classify, has_code};

/// Longest wait for each answer.
const STEP: Duration = Duration::from_secs(5);

/// Longest wait for another holder.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two attempts to get the lock.
const POLL: Duration = Duration::from_millis(100);

/// A lock that is held until it is released, or until its connection ends.
pub(super) struct Lock(Option<(Channel, String)>);

impl Lock {
    /// Waits for the lock of this name. A user who may declare nothing gets none: it is said, and
    /// not missed unless two read at the same time.
    pub(super) async fn take(connection: &Connection, name: String) -> Result<Self, Fault> {
        let begun = Instant::now();
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        loop {
            // A refusal closes the channel.
            let channel = within_limit(connection.create_channel()).await?;
            let declaring =
                channel.queue_declare(name.clone().into(), exclusive, FieldTable::default());
            match timeout(STEP, declaring).await {
                Ok(Ok(_)) => return Ok(Self(Some((channel, name)))),
                Ok(Err(error)) if has_code(&error, RESOURCE_LOCKED) => {}
                Ok(Err(error)) if has_code(&error, ACCESS_REFUSED) => {
                    tracing::debug!("this user may declare nothing: reading without a lock");
                    return Ok(Self(None));
                }
                Ok(Err(error)) => return Err(classify(&error)),
                Err(_) => return Err(late()),
            }
            if begun.elapsed() >= PATIENCE {
                let detail = "another program has been reading the dead letters for a minute";
                return Err(Fault::transient(Reason::QueueUnavailable, detail));
            }
            sleep(POLL).await;
        }
    }

    pub(super) async fn release(self) -> Result<(), Fault> {
        let Self(Some((channel, name))) = self else { return Ok(()) };
        within_limit(channel.queue_delete(name.into(), QueueDeleteOptions::default())).await?;
        within_limit(channel.close(200, "released".into())).await
    }
}

/// Reply codes (AMQP 0-9-1, 1.2).
const RESOURCE_LOCKED: u16 = 405;
const ACCESS_REFUSED: u16 = 403;

/// The answer, or a fault if it does not come in time.
pub(super) async fn within_limit<T>(
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Fault> {
    match timeout(STEP, answer).await {
        Ok(result) => result.map_err(|error| classify(&error)),
        Err(_) => Err(late()),
    }
}

fn late() -> Fault {
    Fault::transient(Reason::QueueUnavailable, "no answer in time")
}
