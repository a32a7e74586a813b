//! `authpost init`: by somebody at a terminal, and by a script.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    crash::World,
    harness::{
        app::{API_KEY, SECRET},
        program::{Program, Said, beside, command},
        terminal::Terminal,
    },
};

/// The files that a configuration may consist of.
struct Folder(PathBuf);

impl Folder {
    fn of(world: &World) -> Self {
        Self(world.folder.path().join("etc"))
    }

    fn env_file(&self) -> PathBuf {
        self.0.join("authpost.env")
    }

    fn secret(&self, name: &str) -> PathBuf {
        self.0.join("secrets").join(name)
    }

    fn text(&self) -> String {
        read(&self.env_file())
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("written")
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("there").permissions().mode() & 0o777
}

/// Options that answer everything, with the stand-ins of this world.
fn answers(world: &World) -> Vec<String> {
    let relay = format!("smtp://{}?tls=none", world.inbox.address());
    [
        ("--dir", Folder::of(world).0.display().to_string()),
        ("--smtp-url", relay),
        ("--mail-from", "Acme <login@acme.example>".to_owned()),
        ("--workos-api-key", API_KEY.to_owned()),
        ("--webhook-url", "https://api.example.com".to_owned()),
        ("--workos-webhook-secret", SECRET.to_owned()),
        ("--set", format!("WORKOS_API_URL={}", world.workos.url())),
    ]
    .into_iter()
    .flat_map(|(option, value)| [option.to_owned(), value])
    .collect()
}

async fn init(args: &[String], more: &[&str]) -> Said {
    let args: Vec<&str> = std::iter::once("init")
        .chain(args.iter().map(String::as_str))
        .chain(more.iter().copied())
        .collect();
    beside(&args, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_at_a_terminal_gets_a_configuration_that_works() {
    let world = World::new().await;
    let folder = Folder::of(&world);
    let dir = folder.0.display().to_string();
    let api = format!("WORKOS_API_URL={}", world.workos.url());
    let mut terminal = Terminal::start(command(&["init", "--dir", &dir, "--set", &api]));
    terminal.expect("Relay, such as").await;
    terminal.enter("smtp://127.0.0.1:1?tls=none");
    terminal.expect("WRONG  relay").await;
    terminal.expect("Keep this answer all the same?").await;
    terminal.press("n");
    terminal.expect("Relay, such as").await;
    // Erases the answer before, which is proposed again.
    terminal.enter(&format!("smtp://{}?tls=none", world.inbox.address()));
    terminal.expect("ok     relay").await;
    terminal.expect("Sender of the mails").await;
    terminal.enter("nobody");
    terminal.expect("MAIL_FROM is not a sender").await;
    terminal.expect("Sender of the mails").await;
    terminal.enter("Acme <login@acme.example>");
    terminal.expect("WorkOS API key").await;
    terminal.enter("sk_wrong");
    terminal.expect("the API key is refused").await;
    terminal.press("n");
    terminal.expect("WorkOS API key").await;
    terminal.enter(API_KEY);
    terminal.expect("the API key is accepted").await;
    terminal.expect("Public address").await;
    terminal.enter("https://api.example.com");
    terminal.expect("Secret of the webhook's endpoint").await;
    terminal.enter(SECRET);
    terminal.expect("Engine").await;
    terminal.enter("");
    terminal.expect("Directory of the database").await;
    terminal.enter("");
    terminal.expect("can be created").await;
    assert!(!folder.0.exists(), "nothing is written before everything is known");
    terminal.expect("Write these files?").await;
    terminal.press("y");
    terminal.expect("https://api.example.com/v1/workos_webhook/").await;
    let (code, screen) = terminal.ended().await;
    assert_eq!(code, 0, "{screen}");
    for secret in [API_KEY, SECRET, "sk_wrong"] {
        assert!(!screen.contains(secret), "{secret} was shown: {screen}");
    }
    its_files_are_private(&folder);
    it_serves(&world, &folder).await;
}

fn its_files_are_private(folder: &Folder) {
    assert_eq!(mode(&folder.env_file()), 0o600);
    assert_eq!(mode(&folder.0.join("secrets")), 0o700);
    for (name, value) in [("workos_api_key", API_KEY), ("webhook_secret", SECRET)] {
        assert_eq!(read(&folder.secret(name)), format!("{value}\n"));
        assert_eq!(mode(&folder.secret(name)), 0o600, "{name}");
    }
    assert!(!folder.text().contains(API_KEY));
}

/// By the command that `init` proposes.
async fn it_serves(world: &World, folder: &Folder) {
    let file = folder.env_file().display().to_string();
    let script = format!("set -a; . {file}; exec \"$@\"");
    let program =
        Program::start_under(&["/bin/sh", "-c", &script, "sh"], "serve", &[], &world.log()).await;
    world.ask(&program, "alice@example.com").await;
    world.inbox.reached(1).await;
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_again_it_changes_what_is_answered_and_nothing_else() {
    let world = World::new().await;
    let folder = Folder::of(&world);
    let first = init(&answers(&world), &["--yes"]).await;
    assert_eq!(first.code, 0, "{}{}", first.out, first.err);
    let before = format!("# Ours.\n{}export OTHER='a b'\n", folder.text());
    fs::write(folder.env_file(), &before).expect("written");
    let dir = ["--dir".to_owned(), folder.0.display().to_string()];
    let same = init(&dir, &["--yes"]).await;
    assert!(same.code == 0 && same.out.contains("Nothing to change."), "{}", same.out);
    assert!(
        same.out.contains("WORKOS_API_KEY: set") && !same.out.contains(API_KEY),
        "{}",
        same.out
    );
    let changed = init(&dir, &["--yes", "--mail-from", "New <new@acme.example>"]).await;
    assert_eq!(changed.code, 0, "{}{}", changed.out, changed.err);
    let expected = before.replace("Acme <login@acme.example>", "New <new@acme.example>");
    assert_eq!(folder.text(), expected);
    let rotated = init(&dir, &["--yes", "--workos-webhook-secret", "whsec_new"]).await;
    assert_eq!(rotated.code, 0, "{}{}", rotated.out, rotated.err);
    assert_eq!(read(&folder.secret("webhook_secret")), "whsec_new\n");
    assert_eq!(folder.text(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_everything_must_be_answered() {
    let world = World::new().await;
    let folder = Folder::of(&world);
    let dir = ["--dir".to_owned(), folder.0.display().to_string()];
    for (more, why) in [(&[][..], "there is no terminal"), (&["--yes"][..], "with --yes")] {
        let said = init(&dir, more).await;
        assert_eq!(said.code, 2, "{}", said.err);
        for option in
            ["--smtp-url-file", "--mail-from", "--workos-api-key-file", "--webhook-url", why]
        {
            assert!(said.err.contains(option), "{option}: {}", said.err);
        }
    }
    assert!(!folder.0.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_check_writes_nothing_unless_told_to() {
    let world = World::new().await;
    let folder = Folder::of(&world);
    let mut args = answers(&world);
    args[3] = "smtp://127.0.0.1:1?tls=none".to_owned();
    let refused = init(&args, &["--yes"]).await;
    assert!(refused.code == 1 && refused.err.contains("--unchecked"), "{}", refused.err);
    assert!(refused.out.contains("WRONG  relay"), "{}", refused.out);
    let invalid = init(&args, &["--yes", "--unchecked", "--set", "AUTHPOST_CONCURRENCY=0"]).await;
    assert!(invalid.code == 1 && invalid.err.contains("AUTHPOST_CONCURRENCY"), "{}", invalid.err);
    assert!(!folder.0.exists());
    let forced = init(&args, &["--yes", "--unchecked"]).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert!(read(&folder.secret("smtp_url")).contains("127.0.0.1:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_files_stay_where_they_are_and_systemd_hands_them_on() {
    let world = World::new().await;
    let folder = Folder::of(&world);
    let key = world.folder.path().join("key");
    fs::write(&key, API_KEY).expect("written");
    let (key, units) = (key.display().to_string(), world.folder.path().join("units"));
    let mut args = answers(&world);
    args.splice(6..8, ["--workos-api-key-file".to_owned(), key.clone()]);
    let units_option = units.display().to_string();
    let said = init(&args, &["--yes", "--systemd", "--systemd-dir", &units_option]).await;
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("systemctl enable --now authpost"), "{}", said.out);
    assert!(folder.text().contains(&format!("WORKOS_API_KEY_FILE={key}\n")));
    let drop_in = read(&units.join("authpost.service.d/init.conf"));
    for line in [
        format!("EnvironmentFile={}", folder.env_file().display()),
        format!("LoadCredential=workos_api_key:{key}"),
        format!("LoadCredential=smtp_url:{}", folder.secret("smtp_url").display()),
    ] {
        assert!(drop_in.lines().any(|found| found == line), "{line} in {drop_in}");
    }
    assert!(drop_in.contains(" --workos-api-key-file=%d/workos_api_key"), "{drop_in}");
    assert_eq!(mode(&units.join("authpost.service.d/init.conf")), 0o644);
}
