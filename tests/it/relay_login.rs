//! Relays that want more than a password: access tokens, or a certificate of ours.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use runtime::clock::SystemClock;
use sandbox::inbox::{Inbox, InboxConfig};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    task::AbortHandle,
};

use crate::{
    crash::World,
    harness::{
        app::free_port,
        certificates::Certificates,
        in_time,
        program::{Program, beside},
    },
};

const USER: &str = "login@acme.example";

/// A token endpoint. Its first token is one that the relay does not take any more.
struct Tokens {
    address: SocketAddr,
    asked: Arc<AtomicU32>,
    server: AbortHandle,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Tokens {
    async fn start() -> Self {
        let listener = free_port().await;
        let (address, asked) = (listener.local_addr().expect("bound"), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let mut wire = BufReader::new(stream);
                let form = read_request(&mut wire).await;
                let known = form.contains("grant_type=client_credentials")
                    && form.contains("client_id=our-client&client_secret=hush%26secret")
                    && form.contains("scope=https%3A%2F%2Frelay.example%2F.default");
                let token =
                    ["revoked", "valid"][counter.fetch_add(1, Ordering::Relaxed).min(1) as usize];
                let (status, body) = if known {
                    (200, format!("{{\"access_token\":\"{token}\",\"expires_in\":3600}}"))
                } else {
                    (401, "{\"error\":\"invalid_client\"}".to_owned())
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n\
                     Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                drop(wire.get_mut().write_all(answer.as_bytes()).await);
            }
        });
        Self { address, asked, server: server.abort_handle() }
    }
}

/// The body of one request.
async fn read_request(wire: &mut BufReader<tokio::net::TcpStream>) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line).await.unwrap_or(0) <= 2 {
            break;
        }
        if let Some((_, number)) = line.to_ascii_lowercase().split_once("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    drop(wire.read_exact(&mut body).await);
    String::from_utf8_lossy(&body).into_owned()
}

/// A world whose relay is `inbox`, over TLS, and its relays file.
struct Relayed {
    world: World,
    certificates: Certificates,
    inbox: Inbox,
}

async fn relayed(config: impl FnOnce(&Certificates) -> InboxConfig) -> Relayed {
    let (world, certificates) = (World::new().await, Certificates::generate());
    let config = config(&certificates);
    let inbox = Inbox::start(free_port().await, config, Arc::new(SystemClock)).expect("starts");
    Relayed { world, certificates, inbox }
}

impl Relayed {
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.world.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn env(&self, relays: &str) -> Vec<(&'static str, String)> {
        let mut env = self.world.env();
        env.retain(|(name, _)| !name.starts_with("SMTP_URL") && !name.contains("CONNECT_TIMEOUT"));
        let authority = self.file("authority.pem", &self.certificates.authority_pem);
        env.push(("AUTHPOST_EXTRA_CA", authority.display().to_string()));
        let file = self.file("relays.toml", relays);
        env.push(("AUTHPOST_RELAYS_FILE", file.display().to_string()));
        env
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_shared_and_replaced_once_it_is_refused() {
    let relayed = relayed(|certificates| InboxConfig {
        implicit_tls: Some(certificates.acceptor()),
        token: Some((USER.to_owned(), "valid".to_owned())),
        ..InboxConfig::default()
    })
    .await;
    let tokens = Tokens::start().await;
    let (port, endpoint) = (relayed.inbox.address().port(), tokens.address);
    let relays = |secret: &str| {
        format!(
            "[[relay]]\nname = \"m365\"\nurl = \"smtps://login%40acme.example@localhost:{port}\"\n\
             envelope_from = \"bounces@acme.example\"\nheaders = {{ X-Stream = \"codes\" }}\n\
             oauth = {{ token_url = \"http://{endpoint}/token\", client_id = \"our-client\", \
             client_secret = \"{secret}\", scope = \"https://relay.example/.default\" }}\n"
        )
    };
    let env = relayed.env(&relays("hush&secret"));
    let program = Program::start("serve", &env, &relayed.world.log()).await;
    for count in 1..=8 {
        relayed.world.ask(&program, &format!("p{count}@example.com")).await;
    }
    in_time("the mails", relayed.inbox.reached(8)).await;
    assert_eq!(tokens.asked.load(Ordering::Relaxed), 2, "one for all connections, replaced once");
    let mail = &relayed.inbox.mails()[0];
    assert_eq!(mail.from, "bounces@acme.example");
    let text = String::from_utf8_lossy(&mail.raw);
    assert!(text.starts_with("X-Stream: codes\r\nFrom: "), "{text}");
    program.stop().await;

    let said = beside(&["doctor"], &relayed.env(&relays("another"))).await;
    let says = "the relay's token endpoint answered 401: invalid_client";
    assert!(said.out.contains("m365") && said.out.contains(says), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_wants_a_certificate_gets_ours() {
    let relayed = relayed(|certificates| InboxConfig {
        starttls: Some(certificates.acceptor_for_known_clients()),
        ..InboxConfig::default()
    })
    .await;
    let cert = relayed.file("client.pem", &relayed.certificates.server_pem);
    let key = relayed.file("client.key", &relayed.certificates.key_pem);
    let url = format!("smtp://localhost:{}", relayed.inbox.address().port());
    let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
    let env = relayed.env(&format!("[[relay]]\nurl = \"{url}\"\n{tls}\n"));
    let program = Program::start("serve", &env, &relayed.world.log()).await;
    relayed.world.ask(&program, "alice@example.com").await;
    in_time("the mail", relayed.inbox.reached(1)).await;
    program.stop().await;

    let without = relayed.env(&format!("[[relay]]\nurl = \"{url}\"\n"));
    let said = beside(&["doctor"], &without).await;
    assert!(said.out.contains("the relay wants a client certificate"), "{}", said.out);
}
