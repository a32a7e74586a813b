//! Certificates for servers under test.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use runtime::tls;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

/// A private certificate authority, and a server at `localhost` that it vouches for.
pub struct Certificates {
    pub authority_pem: String,
    pub server_pem: String,
    pub key_pem: String,
    /// A client with the common name `authpost`, and its private key.
    pub client_pem: String,
    pub client_key_pem: String,
    server: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    pub fn generate() -> Self {
        tls::install_provider();
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("signed");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["localhost".to_owned()])
            .expect("valid")
            .signed_by(&key, &issuer)
            .expect("signed");
        let client_key = KeyPair::generate().expect("a key");
        let mut client = CertificateParams::new(Vec::<String>::new()).expect("valid");
        client.distinguished_name.push(DnType::CommonName, "authpost");
        let client = client.signed_by(&client_key, &issuer).expect("signed");
        Self {
            client_pem: client.pem(),
            client_key_pem: client_key.serialize_pem(),
            authority_pem: issuer.pem(),
            server_pem: server.pem(),
            key_pem: key.serialize_pem(),
            server: server.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        }
    }

    /// A server that takes only clients with a certificate of the same authority.
    pub fn acceptor_for_known_clients(&self) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority_pem.as_bytes());
        roots.add(authority.expect("a certificate")).expect("an authority");
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("usable");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![self.server.clone()], self.key.clone_key())
            .expect("fits");
        TlsAcceptor::from(Arc::new(config))
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.server.clone()], self.key.clone_key())
            .expect("fits");
        TlsAcceptor::from(Arc::new(config))
    }
}
