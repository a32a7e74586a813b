//! SIGHUP: secrets and templates are read again, and nothing that goes on is disturbed.

use std::{path::PathBuf, sync::Arc};

use domain::clock::Clock as _;
use nix::sys::signal::Signal;
use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Inbox, InboxConfig},
    workos::{MagicAuth, post},
};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    crash::World,
    harness::{
        app::{API_KEY, SECRET, free_port},
        eventually, in_time,
        program::Program,
    },
};

/// A service whose secrets and templates are in files.
struct Filed {
    world: World,
    program: Program,
}

impl Filed {
    async fn start() -> Self {
        let world = World::new().await;
        let folder = world.folder.path().to_owned();
        std::fs::create_dir(folder.join("templates")).expect("made");
        let mut env = world.env();
        for (variable, of_file) in [
            ("WORKOS_WEBHOOK_SECRET", "WORKOS_WEBHOOK_SECRET_FILE"),
            ("WORKOS_API_KEY", "WORKOS_API_KEY_FILE"),
            ("SMTP_URL", "SMTP_URL_FILE"),
        ] {
            let value = env.iter().find(|(name, _)| *name == variable).expect("set").1.clone();
            std::fs::write(folder.join(variable), value).expect("written");
            env.retain(|(name, _)| *name != variable);
            env.push((of_file, folder.join(variable).display().to_string()));
        }
        env.push(("AUTHPOST_TEMPLATE_DIR", folder.join("templates").display().to_string()));
        let program = Program::start("serve", &env, &world.log()).await;
        Self { world, program }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("written");
    }

    /// Sends the signal, and waits until this line has been logged so often.
    async fn reload(&self, line: &str, times: usize) {
        self.program.signal(Signal::SIGHUP);
        self.logged(line, times).await;
    }

    async fn logged(&self, line: &str, times: usize) {
        eventually(line, async || {
            let log = std::fs::read_to_string(self.world.log()).expect("a log");
            (log.matches(line).count() >= times).then_some(())
        })
        .await;
    }

    async fn post(&self, secret: &str, email: &str) -> (u16, MagicAuth) {
        let (made, secret) = (self.world.workos.make_code(email), SecretString::from(secret));
        let posted =
            post(&self.program.webhook_url(), &secret, &made.event(), SystemClock.now()).await;
        (posted.expect("an answer").status, made)
    }
}

const RELOADED: &str = "reloaded secrets and templates";
const INVALID: &str = "reloaded nothing: the configuration is invalid";

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_files_is_read_again() {
    let filed = Filed::start().await;
    let relay = Inbox::start(free_port().await, InboxConfig::default(), Arc::new(SystemClock))
        .expect("starts");
    let mut connection =
        TcpStream::connect(filed.program.public.expect("an ingress")).await.expect("connects");
    assert_eq!(filed.post(SECRET, "alice@example.com").await.0, 200);
    in_time("her mail", filed.world.inbox.reached(1)).await;
    // A wrong key pauses the worker, for longer after each refusal.
    filed.write("WORKOS_API_KEY", "sk_wrong");
    filed.reload(RELOADED, 1).await;
    assert_eq!(filed.post(SECRET, "bob@example.com").await.0, 200);
    filed.logged("leaving events in the queue", 1).await;

    filed.write("WORKOS_API_KEY", API_KEY);
    filed.write("WORKOS_WEBHOOK_SECRET", "whsec_new");
    filed.write("SMTP_URL", &format!("smtp://{}?tls=none", relay.address()));
    filed.write("templates/login_code.subject.txt", "{{ code }} opens Acme");
    filed.reload(RELOADED, 2).await;
    in_time("his mail, without the pause", relay.reached(1)).await;
    assert_eq!(filed.post(SECRET, "carol@example.com").await.0, 401, "the old secret");
    let (status, made) = filed.post("whsec_new", "carol@example.com").await;
    assert_eq!(status, 200);
    in_time("her mail", relay.reached(2)).await;
    let subject = format!("Subject: {} opens Acme", made.code);
    let of_carol = relay.mails().into_iter().find(|mail| mail.to == "carol@example.com");
    assert!(String::from_utf8_lossy(&of_carol.expect("hers").raw).contains(&subject));
    assert_eq!(filed.world.inbox.count(), 1, "the old relay got no more");
    // The connection from before is served on.
    let request = "GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    filed.program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_logged_and_everything_stays_as_it_was() {
    let filed = Filed::start().await;
    filed.write("WORKOS_WEBHOOK_SECRET", "whsec_new");
    filed.write("templates/login_code.txt", "{{ code");
    filed.reload(INVALID, 1).await;
    filed.logged("login_code.txt is broken", 1).await;
    assert_eq!(filed.post(SECRET, "alice@example.com").await.0, 200, "the old secret is good");
    in_time("her mail", filed.world.inbox.reached(1)).await;
    std::fs::remove_file(filed.file("WORKOS_API_KEY")).expect("removed");
    filed.reload(INVALID, 2).await;
    // Signals of others that would end a process that does not handle them.
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        filed.program.signal(signal);
    }
    filed.logged("ignored a signal", 2).await;
    assert_eq!(filed.post(SECRET, "bob@example.com").await.0, 200);
    in_time("his mail", filed.world.inbox.reached(2)).await;
    filed.program.signal(Signal::SIGQUIT);
    assert!(filed.program.ended().await.success(), "an orderly end");
}
