//! The embedded engine's disk: full, damaged, locked by somebody else.

use std::{
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    crash::World,
    harness::{
        eventually,
        load::Asked,
        program::{Program, run},
    },
};

/// While the disk is `full`, the ingress answers 503 and loses nothing; it accepts events again
/// once there is space.
async fn refuses_while_full_and_recovers(
    world: &World,
    program: Program,
    fill: impl FnOnce(&Program),
    free: impl FnOnce(&Program),
) {
    world.ask(&program, "before@example.com").await;
    fill(&program);
    let mut made = Vec::new();
    // Free space in existing pages may take a few more events.
    while made.len() < 2000 {
        let code = world.workos.make_code(&format!("p{}@example.com", made.len()));
        let accepted = world.post(&program, &code).await;
        made.push(code);
        if !accepted {
            break;
        }
    }
    let refused = made.last().expect("one at least").clone();
    assert!(
        program.exposition().await.webhooks("unavailable") >= 1,
        "the disk is full and nobody was refused"
    );
    eventually("readiness is red", async || (program.readiness().await == 503).then_some(())).await;
    free(&program);
    eventually("it is accepted", async || world.post(&program, &refused).await.then_some(())).await;
    program.is_ready().await;
    let asked = Asked { made, in_doubt: 0 };
    eventually("everybody has a mail", async || {
        (asked.account(&world.inbox).without == 0).then_some(())
    })
    .await;
    program.stop().await;
    let log = std::fs::read_to_string(world.log()).expect("a log");
    assert!(!log.contains("panicked") && log.contains("disk"), "{log}");
}

/// The path under which the started process sees its own mount.
fn inside(program: &Program, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{}/root", program.pid()))
        .join(path.strip_prefix("/").expect("absolute"))
}

/// A separate file system of 4 MiB, filled by another file.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system() {
    let world = World::new().await;
    let data = world.folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let mount = "mount -t tmpfs -o size=4m tmpfs \"$1\" && shift && exec \"$@\"";
    let data_text = data.display().to_string();
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", &data_text];
    let probe = Command::new(launcher[0]).args(&launcher[1..]).arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        // This machine lets nobody mount a file system; the limit on a file's size below stands for
        // it.
        return;
    }
    let program = Program::start_under(&launcher, "serve", &world.env(), &world.log()).await;
    let filler = data.join("filler");
    let fill = |program: &Program| {
        let file = std::fs::File::create(inside(program, &filler)).expect("made");
        let mut at = 0;
        // Fill it to the last page.
        for piece in [64 * 1024, 4096] {
            while let Ok(written @ 1..) = file.write_at(&vec![1; piece], at) {
                at += u64::try_from(written).expect("small");
            }
        }
    };
    let free = |program: &Program| std::fs::remove_file(inside(program, &filler)).expect("removed");
    refuses_while_full_and_recovers(&world, program, fill, free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_file_s_size() {
    let world = World::new().await;
    // What would otherwise kill the process becomes a failed write.
    let program =
        Program::start_under(&["env", "--ignore-signal=XFSZ"], "serve", &world.env(), &world.log())
            .await;
    let limit = |program: &Program, bytes: &str| {
        let (pid, size) = (program.pid().to_string(), format!("--fsize={bytes}:unlimited"));
        assert!(
            Command::new("prlimit").args(["--pid", &pid, &size]).status().expect("runs").success()
        );
    };
    refuses_while_full_and_recovers(
        &world,
        program,
        |program| limit(program, "8192"),
        |program| limit(program, "unlimited"),
    )
    .await;
}

/// Starts on the directory as it is; must end with exit code 1 and name the problem and the file.
fn refuses_to_start(world: &World) -> String {
    let env = world.env();
    let mut env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.extend([("AUTHPOST_LISTEN", "127.0.0.1:0"), ("AUTHPOST_ADMIN_LISTEN", "127.0.0.1:0")]);
    let output = run(&["serve"], &env);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("authpost.db") && !said.contains("panicked"), "{said}");
    said
}

/// A world with a database that a service has used.
async fn used() -> (World, PathBuf) {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    world.ask(&program, "alice@example.com").await;
    eventually("a mail", async || (world.inbox.count() == 1).then_some(())).await;
    program.stop().await;
    let file = world.folder.path().join("data/authpost.db");
    // What stands in the log beside the file would otherwise hide what is done to the file.
    let connection = rusqlite::Connection::open(&file).expect("opens");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written back");
    (world, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_named_at_the_start() {
    let (world, file) = used().await;
    let handle = std::fs::File::options().write(true).open(&file).expect("opens");
    let length = handle.metadata().expect("a file").len();
    for page in 1..length / 4096 {
        handle.write_all_at(&[0x5a; 512], page * 4096).expect("written");
    }
    let said = refuses_to_start(&world);
    assert!(said.contains("restore it from a backup"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_is_named_at_the_start() {
    let (world, file) = used().await;
    let holder = rusqlite::Connection::open(&file).expect("opens");
    holder.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let said = refuses_to_start(&world);
    assert!(said.contains("locked by another program") && !said.contains("backup"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_locks_is_a_503_until_they_let_go() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    world.ask(&program, "before@example.com").await;
    eventually("a mail", async || (world.inbox.count() == 1).then_some(())).await;
    let holder =
        rusqlite::Connection::open(world.folder.path().join("data/authpost.db")).expect("opens");
    holder.busy_timeout(std::time::Duration::from_secs(5)).expect("set");
    holder.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let made = world.workos.make_code("alice@example.com");
    assert!(!world.post(&program, &made).await, "accepted without having been stored");
    holder.execute_batch("ROLLBACK").expect("let go");
    eventually("it is accepted", async || world.post(&program, &made).await.then_some(())).await;
    eventually("a mail", async || (world.copies(&made) == 1).then_some(())).await;
    program.stop().await;
}
