//! Whom we trust: the machine's authorities, and one more file if the operator names it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject as _};

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The extra file holds no certificate.
    #[error("no certificate can be read from the extra authority file")]
    ExtraFile,
    /// rustls will not have it.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Makes ring the process's one provider. Harmless when repeated.
pub fn install_provider() {
    // An error only says that it has been done before.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// A client configuration that trusts the machine's roots and the certificates in `extra_ca` (PEM).
pub fn client(extra_ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_ca {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| TrustError::ExtraFile)?)?;
        }
        if roots.len() == before {
            return Err(TrustError::ExtraFile);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        assert!(matches!(client(Some(b"hello")), Err(TrustError::ExtraFile)));
        assert!(client(None).is_ok());
    }
}
