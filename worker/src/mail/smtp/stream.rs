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
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => misconfigured(tls_problem(error)),
            None => unavailable("the connection broke during the TLS handshake"),
        }
    })
}

/// Why the two sides do not agree on TLS.
fn tls_problem(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the relay's certificate has expired"
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "the relay's certificate is not valid yet: is the clock right?"
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "the relay's certificate is of another host name than SMTP_URL's"
        }
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "the relay's certificate is of an unknown authority: is AUTHPOST_EXTRA_CA missing?"
        }
        Error::InvalidCertificate(_) => "the relay's certificate is not acceptable",
        Error::AlertReceived(Alert::CertificateRequired) => "the relay wants a client certificate",
        Error::InvalidMessage(_) => {
            "the relay does not speak TLS there: smtps:// begins with TLS, smtp:// with STARTTLS"
        }
        _ => "the relay and we do not agree on a version or cipher of TLS",
    }
}
