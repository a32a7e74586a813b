//! The embedded engine's file: one SQLite database, one writer thread, many jobs in one fsync.
//!
//! `journal_mode=WAL` with `synchronous=FULL` makes a commit durable against power loss. An fsync costs a good part of
//! a millisecond however much it writes, so the writer takes every job that is waiting, runs them in one transaction,
//! commits once, and only then answers any of them. Nobody waits for company: a lone job is committed at once.

use std::{fs::File, path::Path, sync::Arc, thread, time::Duration};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::fault::{Fault, Reason};

/// Most jobs in one transaction: bounds how long the first of them waits.
const BATCH: usize = 256;

/// Jobs that may wait for the writer. Beyond it, callers wait for room, within their own deadlines.
const WAITING: usize = 1024;

/// Longest wait for a job's commit.
const PATIENCE: Duration = Duration::from_secs(8);

/// The layout of the file. A file with a higher number comes from a later release and is not touched.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    due_ms INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL,
    queued_ms INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT 'none',
    payload BLOB NOT NULL
);
CREATE INDEX queue_by_due ON queue (taken, due_ms);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    died_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE claims (
    event_id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    silences INTEGER NOT NULL,
    died_sending INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    gone_ms INTEGER NOT NULL,
    receipt TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_by_end ON claims (gone_ms);
";

type Answer = Box<dyn FnOnce(Result<(), Fault>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Answer> + Send>;

struct Waiting {
    job: Job,
    /// Tells the caller that its job was undone with its batch.
    failed: oneshot::Sender<Fault>,
}

/// Why the file cannot be used. Shown at start, with the path.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or written.
    #[error("the data folder {path} cannot be used: {source}")]
    Folder {
        /// Which folder.
        path: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data folder {path} is in use by another authpost process")]
    InUse {
        /// Which folder.
        path: String,
    },
    /// Not a database, or a broken one.
    #[error("{path} cannot be opened as Authpost's database: {source}; restore it from a backup, or move it away to start empty")]
    Database {
        /// Which file.
        path: String,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// There is none, where one was expected.
    #[error("there is no {path}: is this the data folder of an embedded engine that has run?")]
    Missing {
        /// Which file.
        path: String,
    },
    /// Held by a program that is not Authpost: a shell, a backup.
    #[error("{path} is locked by another program; end that program, or wait until it has finished")]
    Locked {
        /// Which file.
        path: String,
    },
    /// Written by a later release.
    #[error("{path} has layout {found} and this release knows {SCHEMA_VERSION}: start the newer release again")]
    TooNew {
        /// Which file.
        path: String,
        /// Its layout.
        found: i64,
    },
}

/// A handle to the writer. The thread ends when the last handle is gone.
pub struct Store {
    jobs: mpsc::Sender<Waiting>,
    /// Held, not read: its lock keeps a second service out for as long as we live.
    _lock: Option<File>,
}

impl Store {
    /// Opens or creates `authpost.db` in `folder`. Everything that another life of this process had taken is free again.
    pub fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let path = folder.display().to_string();
        let in_folder = |source| OpenError::Folder { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("authpost.lock")).map_err(in_folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
            Err(std::fs::TryLockError::Error(source)) => return Err(in_folder(source)),
        }
        let file = folder.join("authpost.db");
        let shown = file.display().to_string();
        let connection = connect(&file).map_err(|source| unusable(&shown, source))?;
        prepare(&connection, &shown)?;
        Ok(Arc::new(Self { jobs: start_writer(connection).map_err(in_folder)?, _lock: Some(lock) }))
    }

    /// Opens the file in `folder` beside a service that may have it open: for a look, or for a change in which the service
    /// has no part. Nothing that is in its hands is touched.
    pub fn beside(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let file = folder.join("authpost.db");
        let shown = file.display().to_string();
        if !file.exists() {
            return Err(OpenError::Missing { path: shown });
        }
        let connection = connect(&file).map_err(|source| unusable(&shown, source))?;
        let broken = |source| unusable(&shown, source);
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)? {
            SCHEMA_VERSION => {}
            found => return Err(OpenError::TooNew { path: shown, found }),
        }
        let in_folder = |source| OpenError::Folder { path: folder.display().to_string(), source };
        Ok(Arc::new(Self { jobs: start_writer(connection).map_err(in_folder)?, _lock: None }))
    }

    /// Runs `job` in a transaction and returns its value once that is on disk.
    pub async fn run<T, F>(&self, job: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (value, done) = oneshot::channel();
        let (failed, failure) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = job(connection)?;
            // A caller that has given up is no error: the job stands.
            Ok(Box::new(move |committed: Result<(), Fault>| drop(value.send(committed.map(|()| result)))))
        });
        let gone = || Fault::transient(Reason::QueueUnavailable, "the embedded engine has stopped");
        let answered = async {
            self.jobs.send(Waiting { job, failed }).await.map_err(|_| gone())?;
            match done.await {
                Ok(result) => result,
                Err(_) => Err(failure.await.unwrap_or_else(|_| gone())),
            }
        };
        let late = |_| Fault::transient(Reason::QueueUnavailable, format!("no commit within {} s", PATIENCE.as_secs()));
        tokio::time::timeout(PATIENCE, answered).await.map_err(late)?
    }
}

fn start_writer(connection: Connection) -> std::io::Result<mpsc::Sender<Waiting>> {
    let (jobs, waiting) = mpsc::channel(WAITING);
    thread::Builder::new().name("authpost-sqlite".to_owned()).spawn(move || write_until_closed(connection, waiting))?;
    Ok(jobs)
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn unusable(path: &str, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        _ => OpenError::Database { path, source },
    }
}

fn prepare(connection: &Connection, path: &str) -> Result<(), OpenError> {
    let broken = |source| unusable(path, source);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)?;
    match found {
        0 => connection.execute_batch(&format!("BEGIN;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;")).map_err(broken)?,
        SCHEMA_VERSION => {}
        found => return Err(OpenError::TooNew { path: path.to_owned(), found }),
    }
    let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(broken)?;
    if health != "ok" {
        return Err(broken(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some(health))));
    }
    // One process at a time: whatever a former life had in its hands, nobody has now. "sending" stays: a mail may be out.
    connection
        .execute_batch("UPDATE queue SET taken = 0 WHERE taken = 1; UPDATE claims SET until_ms = 0 WHERE state <> 'done';")
        .map_err(broken)
}

#[expect(clippy::needless_pass_by_value, reason = "the thread owns its connection and its inbox")]
fn write_until_closed(connection: Connection, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        commit(&connection, &mut batch);
    }
}

/// All of a batch or nothing of it: a job that fails (a full disk, in practice) fails its neighbours too, and each
/// caller hears that it was not stored.
fn commit(connection: &Connection, batch: &mut Vec<Waiting>) {
    let mut answers = Vec::with_capacity(batch.len());
    let mut unanswered = Vec::with_capacity(batch.len());
    let result = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
        for Waiting { job, failed } in batch.drain(..) {
            unanswered.push(failed);
            answers.push(job(connection)?);
        }
        connection.execute_batch("COMMIT")
    });
    match result {
        Ok(()) => answers.into_iter().for_each(|answer| answer(Ok(()))),
        Err(error) => {
            let fault = classify(&error);
            tracing::warn!(%fault, jobs = unanswered.len() + batch.len(), "the embedded engine could not commit");
            // Fails only where SQLite has already rolled back by itself.
            drop(connection.execute_batch("ROLLBACK"));
            answers.into_iter().for_each(|answer| answer(Err(fault.clone())));
            let rest = batch.drain(..).map(|waiting| waiting.failed);
            unanswered.into_iter().chain(rest).for_each(|failed| drop(failed.send(fault.clone())));
        }
    }
}

/// Every failure here is the disk's or the file's: the same job may succeed later.
fn classify(error: &rusqlite::Error) -> Fault {
    let code = error.sqlite_error_code();
    let detail = match code {
        Some(rusqlite::ErrorCode::DiskFull) => "the disk is full",
        Some(rusqlite::ErrorCode::SystemIoFailure) => "the disk failed to read or write",
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => "the database file is damaged",
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => "the database is locked by another program",
        Some(rusqlite::ErrorCode::ReadOnly) => "the database cannot be written",
        _ => "the database refused the change",
    };
    Fault::transient(Reason::QueueUnavailable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_job_undoes_its_batch_and_the_next_one_works() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let failed = store.run(|c| c.execute("INSERT INTO nowhere VALUES (1)", [])).await;
        assert_eq!(failed.expect_err("no such table").reason, Reason::QueueUnavailable);
        let count: i64 = store.run(|c| c.query_row("SELECT count(*) FROM queue", [], |row| row.get(0))).await.expect("works");
        assert_eq!(count, 0);
    }

    #[tokio::test]
    async fn a_commit_is_an_fsync() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let read = |c: &Connection| {
            let journal: String = c.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            let synchronous: i64 = c.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            Ok((journal, synchronous))
        };
        // 2 is FULL: with it, and not with NORMAL, a commit in WAL mode survives a loss of power (sqlite.org/pragma.html).
        assert_eq!(store.run(read).await, Ok(("wal".to_owned(), 2)));
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Store::open(folder.path()).expect("opens");
        let error = Store::open(folder.path()).err().expect("refused").to_string();
        assert!(error.contains("in use by another authpost process"), "{error}");
        drop(first);
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("authpost.db"), vec![b'x'; 8192]).expect("written");
        let error = Store::open(folder.path()).err().expect("refused").to_string();
        assert!(error.contains("authpost.db cannot be opened"), "{error}");
    }

    #[test]
    fn a_file_of_a_later_release_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let later = Connection::open(folder.path().join("authpost.db")).expect("opens");
        later.pragma_update(None, "user_version", 99).expect("set");
        drop(later);
        let error = Store::open(folder.path()).err().expect("refused").to_string();
        assert!(error.contains("has layout 99"), "{error}");
    }
}
