//! Unit tests of the parent module.

use super::*;

#[tokio::test]
async fn a_failing_job_undoes_its_batch_and_the_next_one_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let failed = store.run(|c| c.execute("INSERT INTO nowhere VALUES (1)", [])).await;
    assert_eq!(failed.expect_err("no such table").reason, Reason::QueueUnavailable);
    let count: i64 = store
        .run(|c| c.query_row("SELECT count(*) FROM queue", [], |row| row.get(0)))
        .await
        .expect("works");
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
    // 2 is FULL: with it, and not with NORMAL, a commit in WAL mode survives a loss of power
    // (sqlite.org/pragma.html).
    assert_eq!(store.run(read).await, Ok(("wal".to_owned(), 2)));
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
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
    assert!(error.contains("cannot open"), "{error}");
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

#[tokio::test]
async fn other_users_see_nothing_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("data");
    std::fs::create_dir(&directory).expect("created");
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).expect("ours");
    std::fs::write(directory.join("authpost.db"), "").expect("written by an earlier release");
    let store = Store::open(&directory).expect("opens");
    store.run(|c| c.execute("DELETE FROM dead", [])).await.expect("works");
    let mode = |path: &Path| path.metadata().expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = std::fs::read_dir(&directory).expect("ours").flatten().collect();
    assert!(files.len() >= 3, "database, log and lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
    }
}
