//! Where events wait and claims are kept.

use std::{sync::Arc, time::Duration};

use shared::{
    dedupe::redis_link::Server,
    queue::{
        Depths, Inspect as _,
        rabbitmq::{Names, RabbitInspector},
    },
    sqlite::{OpenError, Store},
};

use super::finding::Finding;
use crate::{
    config::settings::{Distributed, Embedded},
    wiring::{self, Surroundings},
};

/// Longest wait for a broker.
const PATIENCE: Duration = Duration::from_secs(10);

/// The embedded engine's folder, whether or not a service has it open.
pub(super) async fn embedded(embedded: &Embedded) -> Vec<Finding> {
    let folder = embedded.data_dir.display();
    let advice = "AUTHPOST_DATA_DIR must be a folder of this machine that the service's user may write";
    match Store::beside(&embedded.data_dir) {
        Ok(store) => {
            match store.run(|connection| connection.query_row("SELECT count(*) FROM dead", [], |row| row.get::<_, i64>(0))).await {
                Ok(dead) => {
                    vec![Finding::good("data folder", format!("{folder} can be written")), dead_letters(u64::try_from(dead).unwrap_or(0))]
                }
                Err(fault) => vec![Finding::wrong("data folder", format!("{folder}: {fault}"), advice)],
            }
        }
        Err(OpenError::Missing { .. }) => vec![new_folder(embedded)],
        Err(error) => vec![Finding::wrong("data folder", error.to_string(), advice)],
    }
}

/// A folder that no service has used yet: made if need be, as the service would.
fn new_folder(embedded: &Embedded) -> Finding {
    let folder = embedded.data_dir.display();
    let writable = std::fs::create_dir_all(&embedded.data_dir).and_then(|()| tempfile::tempfile_in(&embedded.data_dir).map(drop));
    match writable {
        Ok(()) => Finding::good("data folder", format!("{folder} can be written; no service has used it yet")),
        Err(error) => Finding::wrong("data folder", format!("{folder}: {error}"), "give the service's user a folder it may write"),
    }
}

fn dead_letters(count: u64) -> Finding {
    match count {
        0 => Finding::good("dead letters", "none"),
        _ => Finding::note("dead letters", format!("{count}"), "see `authpost dead list`"),
    }
}

/// The broker and what is declared there.
pub(super) async fn broker(distributed: &Distributed, extra_ca: Option<&[u8]>, around: &Surroundings) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "RabbitMQ";
    let publisher = wiring::publisher(distributed, extra_ca, around)?;
    let inspector = RabbitInspector::from_outside(publisher, Names::new(&distributed.prefix, distributed.queue_max));
    if tokio::time::timeout(PATIENCE, inspector.connected()).await.is_err() {
        let advice = "check AMQP_URL: host, port, user, password, virtual host, and for amqps:// the certificate";
        return Ok(vec![Finding::wrong(SUBJECT, "no connection", advice)]);
    }
    Ok(match inspector.depths().await {
        Ok(Depths { work, retry, dead }) => vec![
            Finding::good(SUBJECT, format!("connected, all queues are there; {work} waiting, {retry} resting before a retry")),
            dead_letters(dead),
        ],
        Err(fault) => vec![Finding::wrong(SUBJECT, fault.to_string(), "the user needs configure, write and read on names with our prefix")],
    })
}

/// Redis, and whether it may forget.
pub(super) async fn redis(distributed: &Distributed, extra_ca: Option<&[u8]>) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "Redis";
    let link = Arc::new(wiring::redis_link(distributed, extra_ca)?);
    let server = match link.server().await {
        Ok(server) => server,
        Err(fault) => {
            return Ok(vec![Finding::wrong(
                SUBJECT,
                fault.detail,
                "check REDIS_URL: host, port, user, password, and that it is the master; one in protected mode hangs up on other machines",
            )]);
        }
    };
    Ok(judge(&server))
}

fn judge(server: &Server) -> Vec<Finding> {
    const SUBJECT: &str = "Redis";
    let eviction = match server.eviction.as_deref() {
        Some("noeviction") => Finding::good(SUBJECT, "forgets nothing when its memory is full"),
        Some(policy) => {
            let advice = "set it to noeviction, or a forgotten claim costs a second mail";
            Finding::wrong(SUBJECT, format!("maxmemory-policy is {policy}"), advice)
        }
        None => Finding::note(SUBJECT, "does not say its maxmemory-policy", "make sure that it is noeviction"),
    };
    let persistence = if server.appends {
        Finding::good(SUBJECT, "keeps its data over a restart (appendonly)")
    } else {
        Finding::note(SUBJECT, "appendonly is off", "switch it on: after a restart nobody knows what has been mailed")
    };
    vec![Finding::good(SUBJECT, format!("connected, a master, release {}", server.version)), eviction, persistence]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_may_forget_is_wrong() {
        let server =
            |eviction: Option<&str>, appends| Server { version: "7.0.15".to_owned(), eviction: eviction.map(str::to_owned), appends };
        let wrong = |server: &Server| judge(server).iter().any(Finding::is_wrong);
        assert!(!wrong(&server(Some("noeviction"), true)) && !wrong(&server(None, false)));
        assert!(wrong(&server(Some("allkeys-lru"), true)) && wrong(&server(Some("volatile-ttl"), true)));
    }
}
