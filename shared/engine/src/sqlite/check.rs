//! Looks for damage in the file. That means reading all of it, so a large one is looked through while
//! the service runs.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rusqlite::{Connection, OpenFlags};

/// Largest file that is looked through before the service starts, in bytes: a fraction of a second.
const AT_ONCE: u64 = 32 * 1024 * 1024;

/// Whether damage was found in a file.
#[derive(Clone, Default)]
pub(super) struct Damage(Arc<AtomicBool>);

impl Damage {
    /// Whether there is any, as far as the file has been looked through.
    pub(super) fn is_found(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks through `file`: now if it is small, otherwise in a thread of its own.
    pub(super) fn look(&self, connection: &Connection, file: &Path) -> rusqlite::Result<()> {
        if std::fs::metadata(file).is_ok_and(|data| data.len() > AT_ONCE) {
            let (damage, file) = (self.clone(), file.to_owned());
            let started = thread::Builder::new()
                .name("authpost-check".to_owned())
                .spawn(move || damage.look_beside(&file));
            if let Err(error) = started {
                tracing::warn!(%error, "the database is not checked for damage");
            }
            return Ok(());
        }
        sound(connection)
    }

    fn look_beside(&self, file: &PathBuf) {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let found = Connection::open_with_flags(file, flags).and_then(|it| sound(&it));
        if let Err(error) = found {
            tracing::error!(
                path = %file.display(), %error,
                "the database is damaged: restore it from a backup, or move it away to start empty"
            );
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// `Err` with what is wrong with the file.
fn sound(connection: &Connection) -> rusqlite::Result<()> {
    let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if health == "ok" {
        return Ok(());
    }
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(corrupt, Some(health)))
}
