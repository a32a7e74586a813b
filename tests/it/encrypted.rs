//! RabbitMQ and Redis over TLS, with a certificate authority of the operator's.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use domain::nonces::NonceStore as _;
use engine::redis::{RedisConfig, RedisConnection, RedisNonces};
use runtime::tls::Trust;
use secrecy::SecretString;
use tokio::{io::copy_bidirectional, net::TcpStream, task::JoinSet};

use crate::harness::{
    Setup,
    app::{free_port, fresh_prefix},
    certificates::Certificates,
    eventually,
    program::lasting_listener,
    services::Services,
};

/// A Redis that speaks TLS only. Ends when dropped.
struct TlsRedis {
    server: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl TlsRedis {
    async fn start(certificates: &Certificates) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        // Not a port that the system would give to another test meanwhile.
        let port = lasting_listener().await.local_addr().expect("bound").port();
        let server = Command::new("redis-server")
            .args(["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
            .args(["--bind", "127.0.0.1", "--save", ""])
            .arg("--tls-cert-file")
            .arg(file("server.pem", &certificates.server_pem))
            .arg("--tls-key-file")
            .arg(file("key.pem", &certificates.key_pem))
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        Self { server, port, _folder: folder }
    }

    fn nonces(&self, trust: &Trust) -> RedisNonces {
        let url = SecretString::from(format!("rediss://localhost:{}/0", self.port));
        let config = RedisConfig::parse(&url, trust).expect("a URL");
        RedisNonces::new(Arc::new(RedisConnection::new(&config)), &fresh_prefix())
    }
}

impl Drop for TlsRedis {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn redis_is_reached_by_an_authority_of_the_operators_and_by_no_other() {
    let certificates = Certificates::generate();
    let redis = TlsRedis::start(&certificates).await;
    let keep = Duration::from_secs(60);
    let trusting = Trust::load(Some(certificates.authority_pem.as_bytes())).expect("usable");
    let nonces = redis.nonces(&trusting);
    eventually("Redis answers", async || nonces.consume("nonce", keep).await.ok()).await;
    assert_eq!(nonces.is_consumed("nonce").await, Ok(true));
    let stranger = redis.nonces(&Trust::load(None).expect("usable"));
    let refused = stranger.consume("other", keep).await.expect_err("an unknown certificate");
    assert!(!refused.detail.contains("password"), "{refused}");
    assert_eq!(nonces.is_consumed("other").await, Ok(false));
}

/// Terminates TLS before `target`; returns the address to connect to.
async fn terminate_tls(
    certificates: &Certificates,
    target: SocketAddr,
) -> (SocketAddr, JoinSet<()>) {
    let (listener, acceptor) = (free_port().await, certificates.acceptor());
    let address = listener.local_addr().expect("bound");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(mut inner) = acceptor.accept(stream).await else { return };
                let mut outer = TcpStream::connect(target).await.expect("the target listens");
                // Ends with whichever side closes first.
                drop(copy_bidirectional(&mut inner, &mut outer).await);
            });
        }
    });
    (address, tasks)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_mail_goes_through_a_broker_over_tls() {
    let certificates = Certificates::generate();
    let mut url: url::Url = Services::shared().amqp_url().parse().expect("a URL");
    let target = (Ipv4Addr::LOCALHOST, url.port().expect("a port")).into();
    let (address, _terminator) = terminate_tls(&certificates, target).await;
    url.set_host(Some("localhost")).expect("a host");
    url.set_port(Some(address.port())).expect("a port");
    let encrypted = url.as_str().replacen("amqp://", "amqps://", 1);
    let trust = Trust::load(Some(certificates.authority_pem.as_bytes())).expect("usable");
    let mut setup = Setup::on(encrypted.trim_end_matches('/'), Services::shared().redis_url());
    setup.trust = Some(trust);
    let mut app = setup.start().await;
    app.inspect_broker_at(Services::shared().amqp_url());
    app.ask("alice@example.com").await;
    app.mails(1).await;
    app.finish().await;
}
