//! RabbitMQ and Redis over TLS, with a certificate authority of the operator's.

use std::{
    net::{Ipv4Addr, SocketAddr},
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
    redis::RedisServer,
    services::Services,
};

/// A Redis that speaks TLS only, to clients with a certificate or to all.
async fn tls_redis(certificates: &Certificates, clients: &str) -> RedisServer {
    let files = [
        ("ca.pem", certificates.authority_pem.as_str()),
        ("server.pem", &certificates.server_pem),
        ("key.pem", &certificates.key_pem),
    ];
    let arguments = "--port 0 --tls-port PORT --bind 127.0.0.1 --tls-cert-file server.pem \
                     --tls-key-file key.pem --tls-ca-cert-file ca.pem --tls-auth-clients";
    let arguments: Vec<&str> = arguments.split_whitespace().chain([clients]).collect();
    RedisServer::with_files(&files, &arguments).await
}

fn nonces(server: &RedisServer, trust: &Trust, identity: Option<&Certificates>) -> RedisNonces {
    let url = SecretString::from(format!("rediss://localhost:{}/0", server.port));
    let mut config = RedisConfig::parse(&url, trust).expect("a URL");
    if let Some(Certificates { client_pem, client_key_pem, .. }) = identity {
        let identity = (client_pem.as_bytes(), client_key_pem.as_bytes());
        config = config.with_identity(trust, identity).expect("usable");
    }
    RedisNonces::new(Arc::new(RedisConnection::new(&config, &fresh_prefix())))
}

const KEEP: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn redis_is_reached_by_an_authority_of_the_operators_and_by_no_other() {
    let certificates = Certificates::generate();
    let redis = tls_redis(&certificates, "no").await;
    let trusting = Trust::load(Some(certificates.authority_pem.as_bytes())).expect("usable");
    let trusted = nonces(&redis, &trusting, None);
    eventually("Redis answers", async || trusted.consume("nonce", KEEP).await.ok()).await;
    assert_eq!(trusted.is_consumed("nonce").await, Ok(true));
    let stranger = nonces(&redis, &Trust::load(None).expect("usable"), None);
    let refused = stranger.consume("other", KEEP).await.expect_err("an unknown certificate");
    assert!(!refused.detail.contains("password"), "{refused}");
    assert_eq!(trusted.is_consumed("other").await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: ./scripts/test"]
async fn redis_may_ask_for_a_certificate_of_ours() {
    let certificates = Certificates::generate();
    let redis = tls_redis(&certificates, "yes").await;
    let trust = Trust::load(Some(certificates.authority_pem.as_bytes())).expect("usable");
    let known = nonces(&redis, &trust, Some(&certificates));
    eventually("Redis answers", async || known.consume("nonce", KEEP).await.ok()).await;
    assert!(nonces(&redis, &trust, None).consume("other", KEEP).await.is_err());
    assert_eq!(known.is_consumed("other").await, Ok(false));
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
