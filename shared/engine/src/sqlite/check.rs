//! Looks for damage in the file. That means reading all of it, so a large one is looked through while
//! the service runs.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;

/// Largest file that is looked through before the service starts, in bytes: a fraction of a second.
const AT_ONCE: u64 = 32 * 1024 * 1024;

/// Steps of SQLite's between two rests, and the longest rest.
const STEPS: i32 = 1000;
const LONGEST_REST: Duration = Duration::from_millis(20);

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

    fn look_beside(&self, file: &Path) {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let found = Connection::open_with_flags(file, flags).and_then(|mut connection| {
            take_time(&mut connection)?;
            sound(&connection)
        });
        match found {
            Ok(()) => {}
            Err(error) if is_damage(&error) => {
                tracing::error!(
                    path = %file.display(), %error,
                    "the database is damaged: restore it from a backup, or move it away to start \
                     empty"
                );
                self.0.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(
                    path = %file.display(), %error, "the database could not be checked for damage"
                );
            }
        }
    }
}

/// Rests three times as long as it reads, so that a check of gigabytes takes no core and no disk from
/// the service.
#[expect(clippy::disallowed_methods, reason = "the check has a thread of its own")]
fn take_time(connection: &mut Connection) -> rusqlite::Result<()> {
    let mut begun = Instant::now();
    let rest = move || {
        thread::sleep((begun.elapsed() * 3).min(LONGEST_REST));
        begun = Instant::now();
        false
    };
    connection.progress_handler(STEPS, Some(rest))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn damage_is_found_beside_the_service_and_nothing_else_is_taken_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("large.db");
        let damage = Damage::default();
        damage.look_beside(&file);
        assert!(!damage.is_found(), "a file that cannot be opened");
        let connection = Connection::open(&file).expect("opens");
        let rows = "CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a);
                    WITH n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n LIMIT 5000)
                    INSERT INTO t SELECT 'row ' || v FROM n;";
        connection.execute_batch(rows).expect("filled");
        drop(connection);
        damage.look_beside(&file);
        assert!(!damage.is_found(), "a sound file");
        let handle = std::fs::File::options().write(true).open(&file).expect("opens");
        handle.write_all_at(&[0x5a; 512], 3 * 4096).expect("written");
        damage.look_beside(&file);
        assert!(damage.is_found());
    }
}
