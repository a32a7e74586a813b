//! From a host name to a stream that mails can be sent on: TCP, TLS from the first byte or after
//! STARTTLS, and the greeting.

use domain::fault::{Fault, Reason};
use runtime::dial::dial;
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    config::{RelayConfig, Security},
    guarded::{Greeted, greeted},
    hello,
    reply::{Refusal, unavailable},
    tls,
};

/// Connects, sets up TLS and greets.
pub(super) async fn open(config: &RelayConfig) -> Result<Greeted, Refusal> {
    let tcp = dial(&config.host, config.port).await.map_err(|error| {
        Fault::transient(Reason::RelayUnavailable, format!("no connection to the relay: {error}"))
    })?;
    match config.security {
        Security::None => Ok(greeted(hello::greeting(tcp, &config.hello).await?)),
        Security::Implicit => {
            let stream = encrypt(config, tcp).await?;
            Ok(greeted(hello::greeting(stream, &config.hello).await?))
        }
        Security::StartTls => {
            let tcp = hello::starttls(tcp, &config.hello).await?;
            let stream = encrypt(config, tcp).await?;
            Ok(greeted(hello::hello_again(stream, &config.hello).await?))
        }
    }
}

/// Runs steps that share one limit. `setting` is the option that sets it.
pub(super) async fn within<T>(
    limit: std::time::Duration,
    setting: &'static str,
    steps: impl Future<Output = T>,
) -> Result<T, Fault> {
    timeout(limit, steps).await.map_err(|_| {
        let detail = format!("the relay did not answer within {limit:?} ({setting})");
        Fault::transient(Reason::RelayUnavailable, detail)
    })
}

fn misconfigured(detail: &'static str) -> Fault {
    Fault::misconfigured(Reason::RelayRefusedUs, detail)
}

async fn encrypt(config: &RelayConfig, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Fault> {
    let name = ServerName::try_from(config.host.clone())
        .map_err(|_| misconfigured("the host of the relay is not a name that TLS can check"))?;
    let handshake = TlsConnector::from(config.tls.clone()).connect(name, tcp).await;
    handshake.map_err(|error| {
        // A broken connection may work next time; an unacceptable certificate will not.
        match tls::problem(&error) {
            Some(problem) => misconfigured(problem),
            None => unavailable("the connection broke during the TLS handshake"),
        }
    })
}
