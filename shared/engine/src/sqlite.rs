//! The file of the embedded engine: one SQLite database, one writer thread, many jobs in one fsync.
//!
//! `journal_mode=WAL` with `synchronous=FULL` makes a commit durable against power loss. An fsync
//! costs a good part of a millisecond however much it writes, so the writer takes every job that is
//! waiting, runs them in one transaction, commits once, and only then answers any of them. A single
//! job is committed at once.

use std::{
    fs::{DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::fault::{Fault, Reason};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::sync::oneshot;

use self::{
    check::Damage,
    layout::{SCHEMA_VERSION, prepare},
    writer::{Job, Writer, stopped},
};

mod check;
mod layout;
mod writer;

/// Longest wait for the commit of a job.
const LIMIT: Duration = Duration::from_secs(8);

/// Why the database cannot be used. Shown at start, with the path.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be created or written to.
    #[error("cannot use the data directory {path}: {source}")]
    Directory {
        path: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Another Authpost process uses it.
    #[error("the data directory {path} is in use by another authpost process")]
    InUse { path: String },
    /// It is not a database, or it is damaged.
    #[error(
        "cannot open {path} as a database of Authpost: {source}; restore it from a backup, or \
         move it away to start empty"
    )]
    Database { path: String, source: rusqlite::Error },
    /// There is none, but one was expected.
    #[error(
        "{path} does not exist: name the data directory of the service (AUTHPOST_DATA_DIR or \
         --data-dir), or its RabbitMQ and Redis (AMQP_URL and REDIS_URL)"
    )]
    Missing {
        /// The directory it was expected in.
        directory: PathBuf,
        path: String,
    },
    /// Another program, such as a shell or a backup, holds it.
    #[error(
        "{path} is locked by another program; stop that program, or wait until it has finished"
    )]
    Locked { path: String },
    /// A later release wrote it.
    #[error(
        "{path} has layout {found}, but this release supports {SCHEMA_VERSION}: use the newer release again"
    )]
    TooNew {
        path: String,
        /// The layout version found in the file.
        found: i64,
    },
}

/// A handle to the writer thread. When the last one is dropped, the thread has ended and its files
/// are closed.
pub struct Store {
    writer: Writer,
    /// Reads what is committed while the writer goes on.
    reader: Arc<Mutex<Connection>>,
    damage: Damage,
    /// Held, not read: its lock keeps a second service out while this one runs.
    _lock: Option<File>,
}

impl Store {
    /// Opens or creates `authpost.db` in `directory`, as the one service that uses it. Frees what an
    /// earlier process had taken from the queue. Must be called within a runtime.
    pub fn open(directory: &Path) -> Result<Arc<Self>, OpenError> {
        let path = directory.display().to_string();
        let in_directory = |source| OpenError::Directory { path: path.clone(), source };
        create_directory(directory).map_err(in_directory)?;
        let lock = create_private(&directory.join("authpost.lock")).map_err(in_directory)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
            Err(std::fs::TryLockError::Error(source)) => return Err(in_directory(source)),
        }
        let file = directory.join("authpost.db");
        let shown = file.display().to_string();
        // SQLite gives its other files the mode of this one.
        create_private(&file).map_err(in_directory)?;
        let connection = connect(&file).map_err(|source| unusable(&shown, source))?;
        let damage = Damage::default();
        damage.look(&connection, &file).map_err(|source| unusable(&shown, source))?;
        prepare(&connection, &shown)?;
        let reader = reader(&file).map_err(|source| unusable(&shown, source))?;
        let writer = Writer::start(connection).map_err(in_directory)?;
        Ok(Arc::new(Self { writer, reader, damage, _lock: Some(lock) }))
    }

    /// Opens the file in `directory` beside a service that may have it open. Frees nothing. Must be
    /// called within a runtime.
    pub fn open_beside(directory: &Path) -> Result<Arc<Self>, OpenError> {
        let file = directory.join("authpost.db");
        let shown = file.display().to_string();
        if !file.exists() {
            return Err(OpenError::Missing { directory: directory.to_owned(), path: shown });
        }
        let connection = connect(&file).map_err(|source| unusable(&shown, source))?;
        let broken = |source| unusable(&shown, source);
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)? {
            SCHEMA_VERSION => {}
            found => return Err(OpenError::TooNew { path: shown, found }),
        }
        // The service may be of an earlier release, which does not mind.
        layout::extend(&connection).map_err(broken)?;
        let reader = reader(&file).map_err(broken)?;
        let in_directory =
            |source| OpenError::Directory { path: directory.display().to_string(), source };
        let writer = Writer::start(connection).map_err(in_directory)?;
        Ok(Arc::new(Self { writer, reader, damage: Damage::default(), _lock: None }))
    }

    /// Whether the file is damaged, as far as that is known.
    pub fn is_damaged(&self) -> bool {
        self.damage.is_found()
    }

    /// Runs `job`, which only reads, beside the writer: it sees what is committed.
    pub async fn read<T, F>(&self, job: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let reader = Arc::clone(&self.reader);
        let reading = tokio::task::spawn_blocking(move || job(&reader.lock()));
        let late = |_| Fault::transient(Reason::QueueUnavailable, "reading took too long");
        match tokio::time::timeout(LIMIT, reading).await.map_err(late)? {
            Ok(result) => result.map_err(|error| classify(&error)),
            Err(_) => Err(Fault::transient(Reason::QueueUnavailable, "reading failed")),
        }
    }

    /// Runs `job` in a transaction and returns its value once the transaction is on disk.
    pub async fn run<T, F>(&self, job: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (value, done) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = job(connection)?;
            // A caller that has given up is no error: the job is done.
            Ok(Box::new(move |committed: Result<(), Fault>| {
                drop(value.send(committed.map(|()| result)));
            }))
        });
        let answered = async {
            let failure = self.writer.send(job).await.ok_or_else(stopped)?;
            match done.await {
                Ok(result) => result,
                Err(_) => Err(failure.await.unwrap_or_else(|_| stopped())),
            }
        };
        let late = |_| {
            Fault::transient(
                Reason::QueueUnavailable,
                format!("no commit within {} s", LIMIT.as_secs()),
            )
        };
        tokio::time::timeout(LIMIT, answered).await.map_err(late)?
    }
}

/// Creates the directory of a store, for its owner alone, or makes an existing one so.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    restrict(path, 0o700);
    Ok(())
}

/// Creates a file that only its owner can read, or makes an existing one so.
fn create_private(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    restrict(path, 0o600);
    Ok(file)
}

/// Keeps other users out of what is ours. A mounted directory of another owner stays as it is.
fn restrict(path: &Path, mode: u32) {
    if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        tracing::debug!(path = %path.display(), %error, "the permissions stay as they are");
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    // After a burst the log is cut again.
    connection.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Plans do not depend on values: or else SQLite compiles a statement again for each of them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn reader(file: &Path) -> rusqlite::Result<Arc<Mutex<Connection>>> {
    let connection = connect(file)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(Arc::new(Mutex::new(connection)))
}

fn unusable(path: &str, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OpenError::Locked { path }
        }
        _ => OpenError::Database { path, source },
    }
}

/// Every failure is one of the disk or the file: the same job may succeed later.
fn classify(error: &rusqlite::Error) -> Fault {
    let code = error.sqlite_error_code();
    let detail = match code {
        Some(rusqlite::ErrorCode::DiskFull) => "the disk is full",
        Some(rusqlite::ErrorCode::SystemIoFailure) => "the disk failed to read or write",
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            "the database file is damaged"
        }
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "the database is locked by another program"
        }
        Some(rusqlite::ErrorCode::ReadOnly) => "the database cannot be written",
        _ => "the database refused the change",
    };
    Fault::transient(Reason::QueueUnavailable, detail)
}

#[cfg(test)]
mod tests;
