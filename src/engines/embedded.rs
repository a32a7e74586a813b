//! The embedded engine, opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    language::SeenLanguages,
    nonces::NonceStore,
    queue::{Publish, dead_letters::DeadLetters},
    records::Records,
};
use engine::{
    embedded::{
        EmbeddedClaims, EmbeddedLanguages, EmbeddedNonces, EmbeddedOperator, EmbeddedQueue,
        EmbeddedRecords,
    },
    local_sent_cache::LocalSentCache,
    sqlite::{self, OpenError, Store},
};

use super::{Access, OpenEngine, WorkerPorts};
use crate::{
    config::settings::{EmbeddedSettings, WorkerSettings},
    deps::Deps,
    finding::Finding,
};

const SUBJECT: &str = "data directory";
const ADVICE: &str = "AUTHPOST_DATA_DIR must be a directory on this machine that the user of the service may write to";

/// One SQLite file and its queue.
pub(super) struct EmbeddedEngine {
    store: Arc<Store>,
    queue: EmbeddedQueue,
    clock: Arc<dyn Clock>,
    data_dir: PathBuf,
}

impl EmbeddedEngine {
    pub(super) fn open(
        settings: &EmbeddedSettings,
        access: Access,
        deps: &Deps,
    ) -> Result<Self, OpenError> {
        let store = match access {
            Access::Service => Store::open(&settings.data_dir)?,
            Access::Operator => Store::open_beside(&settings.data_dir)?,
        };
        let clock = Arc::clone(&deps.clock);
        let queue = EmbeddedQueue::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            settings.capacity,
            Arc::clone(&deps.metrics),
        );
        Ok(Self { store, queue, clock, data_dir: settings.data_dir.clone() })
    }

    fn operator(&self) -> Arc<EmbeddedOperator> {
        Arc::new(EmbeddedOperator::new(Arc::clone(&self.store), Arc::clone(&self.clock)))
    }
}

#[async_trait]
impl OpenEngine for EmbeddedEngine {
    fn publish(&self) -> Arc<dyn Publish> {
        Arc::new(self.queue.clone())
    }

    fn nonces(&self) -> Arc<dyn NonceStore> {
        Arc::new(EmbeddedNonces::new(Arc::clone(&self.store), Arc::clone(&self.clock)))
    }

    fn languages(&self) -> Arc<dyn SeenLanguages> {
        Arc::new(EmbeddedLanguages::new(Arc::clone(&self.store), Arc::clone(&self.clock)))
    }

    fn records(&self) -> Arc<dyn Records> {
        Arc::new(EmbeddedRecords::new(Arc::clone(&self.store), Arc::clone(&self.clock)))
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.operator()
    }

    fn worker(&self, settings: &WorkerSettings) -> WorkerPorts {
        let claims =
            EmbeddedClaims::new(Arc::clone(&self.store), Arc::clone(&self.clock), settings.terms());
        WorkerPorts {
            consume: Box::new(self.queue.consumer(usize::from(settings.concurrency))),
            inspect: Arc::new(self.queue.clone()),
            claims: Arc::new(LocalSentCache::new(Arc::new(claims), settings.on_store_outage)),
        }
    }

    async fn examine(&self) -> Vec<Finding> {
        let directory = self.data_dir.display();
        let count = self.store.run(|connection| {
            connection.query_row("SELECT count(*) FROM dead", [], |row| row.get::<_, i64>(0))
        });
        match count.await {
            Ok(dead) => {
                let writable = Finding::good(SUBJECT, format!("{directory} is writable"));
                vec![writable, Finding::dead_letters(u64::try_from(dead).unwrap_or(0))]
            }
            Err(fault) => vec![Finding::wrong(SUBJECT, format!("{directory}: {fault}"), ADVICE)],
        }
    }
}

/// A missing file is no problem: a service would create it.
pub(super) fn examine_unopened(error: &OpenError) -> Finding {
    match error {
        OpenError::Missing { directory, .. } => examine_new(directory),
        other => Finding::wrong(SUBJECT, other.to_string(), ADVICE),
    }
}

/// Creates the directory if needed, as a service would.
fn examine_new(directory: &Path) -> Finding {
    let shown = directory.display();
    let writable = sqlite::create_directory(directory)
        .and_then(|()| tempfile::tempfile_in(directory).map(drop));
    match writable {
        Ok(()) => {
            Finding::good(SUBJECT, format!("{shown} is writable; no service has used it yet"))
        }
        Err(error) => Finding::wrong(SUBJECT, format!("{shown}: {error}"), ADVICE),
    }
}
