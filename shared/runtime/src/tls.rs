//! How other servers are reached: which certificate authorities are trusted (the machine's, and one
//! more file if the operator names it), and the proxy for HTTPS if there is one.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::proxy::Proxy;

/// Why no trust can be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The extra file holds no certificate.
    #[error("no certificate can be read from the extra authority file")]
    ExtraFile,
    /// A certificate or key of ours cannot be read.
    #[error("no certificate with its private key can be read from these files")]
    Identity,
    /// rustls does not accept the certificates.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Makes ring the process's one TLS provider. Repeating it is harmless.
pub fn install_provider() {
    // An error only says that it was installed before.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The trusted authorities and the proxy, read once and handed to every client.
#[derive(Clone)]
pub struct Trust {
    client: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    extra_pem: Option<Arc<[u8]>>,
    proxy: Option<Proxy>,
}

impl Trust {
    /// Trusts the machine's authorities and the certificates in `extra` (PEM).
    pub fn load(extra: Option<&[u8]>) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = extra {
            add(&mut roots, pem)?;
        }
        let roots = Arc::new(roots);
        let client = Arc::new(builder(&roots)?.with_no_client_auth());
        Ok(Self { client, roots, extra_pem: extra.map(Arc::from), proxy: None })
    }

    /// A client configuration for one server: with a further authority (PEM), and with a
    /// certificate and a private key of ours (PEM) if it wants those.
    pub fn client_for(
        &self,
        authority: Option<&[u8]>,
        identity: Option<(&[u8], &[u8])>,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        if authority.is_none() && identity.is_none() {
            return Ok(Arc::clone(&self.client));
        }
        let mut roots = self.roots.as_ref().clone();
        if let Some(pem) = authority {
            add(&mut roots, pem)?;
        }
        let builder = builder(&Arc::new(roots))?;
        let Some((chain, key)) = identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TrustError::Identity)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TrustError::Identity)?;
        Ok(Arc::new(builder.with_client_auth_cert(chain, key)?))
    }

    /// The same, with a proxy for HTTPS.
    #[must_use]
    pub fn through(self, proxy: Option<Proxy>) -> Self {
        Self { proxy, ..self }
    }

    /// The proxy for HTTPS, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The client configuration that trusts these authorities.
    pub fn client(&self) -> &Arc<ClientConfig> {
        &self.client
    }

    /// The extra authority (PEM), for a library that sets up TLS by itself.
    pub fn extra_pem(&self) -> Option<&[u8]> {
        self.extra_pem.as_deref()
    }
}

/// Adds the certificates in a PEM text, of which there must be one.
fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), TrustError> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| TrustError::ExtraFile)?)?;
    }
    if roots.len() == before { Err(TrustError::ExtraFile) } else { Ok(()) }
}

fn builder(
    roots: &Arc<RootCertStore>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(Arc::clone(roots)))
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("extra_pem", &self.extra_pem.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        assert!(matches!(Trust::load(Some(b"hello")), Err(TrustError::ExtraFile)));
        assert!(Trust::load(None).is_ok());
    }
}
