//! The keys that the stand-in signs session tokens with. They are public, and protect nothing.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::{
    digest::{SHA256, digest},
    rsa::PublicKeyComponents,
    signature::RsaKeyPair,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Each with the certificate that the key set shows of it.
const PAIRS: [(&[u8], &[u8]); 2] = [
    (include_bytes!("key_a.der"), include_bytes!("certificate_a.der")),
    (include_bytes!("key_b.der"), include_bytes!("certificate_b.der")),
];

/// The key in use, and how often it has changed.
#[derive(Debug, Default)]
pub(super) struct Keys {
    rotations: usize,
}

impl Keys {
    /// The next key takes over, and the one before is forgotten.
    pub(super) fn rotate(&mut self) {
        self.rotations += 1;
    }

    fn id(&self) -> String {
        format!("sso_oidc_key_pair_{}", self.rotations)
    }

    fn pair(&self) -> &'static [u8] {
        PAIRS[self.rotations % PAIRS.len()].0
    }

    fn certificate(&self) -> &'static [u8] {
        PAIRS[self.rotations % PAIRS.len()].1
    }

    /// The answer to `GET /sso/jwks/{client_id}` (RFC 7517).
    pub(super) fn set(&self) -> Value {
        // Our own files, checked by every test that signs somebody in.
        let Ok(pair) = RsaKeyPair::from_der(self.pair()) else { return json!({ "keys": [] }) };
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
        let key = json!({
            "alg": "RS256", "kty": "RSA", "use": "sig", "kid": self.id(), "n": BASE64.encode(n),
            "e": BASE64.encode(e), "x5c": [STANDARD.encode(self.certificate())],
            "x5t#S256": BASE64.encode(digest(&SHA256, self.certificate())),
        });
        json!({ "keys": [key] })
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &impl Serialize) -> String {
        self.sign_with(claims, &[])
    }

    /// The same with headers that must be understood (RFC 7515, 4.1.11).
    pub(super) fn sign_with(&self, claims: &impl Serialize, critical: &[&str]) -> String {
        runtime::crypto::install_provider();
        let crit = critical.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let crit = (!crit.is_empty()).then_some(crit);
        let header = Header { kid: Some(self.id()), crit, ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &EncodingKey::from_rsa_der(self.pair())).unwrap_or_default()
    }
}
