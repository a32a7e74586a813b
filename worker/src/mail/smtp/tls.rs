//! What is wrong with TLS at a relay, in words.

use std::io;

/// Why the two sides do not agree on TLS, if that is what the error says. With TLS 1.3 the relay
/// judges our certificate after the handshake, so this may come with the first answer.
pub(super) fn problem(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(meaning(inner))
}

fn meaning(error: &rustls::Error) -> &'static str {
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
        Error::AlertReceived(Alert::CertificateRequired | Alert::AccessDenied) => {
            "the relay wants a client certificate"
        }
        Error::InvalidMessage(_) => {
            "the relay does not speak TLS there: smtps:// begins with TLS, smtp:// with STARTTLS"
        }
        _ => "the relay and we do not agree on a version or cipher of TLS",
    }
}
