//! The keys that sign tokens, their public halves for clients, and the check of a token that comes back.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{AssertionCertificate, AuthorityError};

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// The key that signs now, and those that did.
pub(super) struct SigningKeys(RwLock<Vec<SigningKey>>);

impl SigningKeys {
    pub(super) fn generate() -> Result<Self, AuthorityError> {
        Ok(Self(RwLock::new(vec![SigningKey::generate()?])))
    }

    /// Signs with a new key from now on, and publishes no other.
    pub(super) fn roll(&self) -> Result<(), AuthorityError> {
        let key = SigningKey::generate()?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(key);
        Ok(())
    }

    /// The members of the JWK set: the key that signs now. `issuer` is Entra's addition: the template that the issuer of
    /// every token signed with this key must match.
    pub(super) fn public_jwks(&self, issuer: &str) -> Vec<Value> {
        self.keys()
            .last()
            .map(|key| key.public_jwk(issuer))
            .into_iter()
            .collect()
    }

    /// Signs with RS256.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String, AuthorityError> {
        match self.keys().last() {
            Some(key) => key.sign(claims),
            None => Err(AuthorityError::cryptography("signing key", "there is none")),
        }
    }

    /// The claims of a token that one of the keys signed, whatever its times say.
    pub(super) fn verified_claims(&self, token: &str) -> Option<Claims> {
        self.keys().iter().find_map(|key| key.verified_claims(token))
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<SigningKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An RSA key of 2,048 bits.
struct SigningKey {
    key_id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: Value,
}

impl SigningKey {
    fn generate() -> Result<Self, AuthorityError> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .map_err(|error| AuthorityError::cryptography("signing key", error))?;
        let failed = |error| AuthorityError::cryptography("signing key", error);
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).map_err(failed)?;
        let decoding = DecodingKey::from_rsa_pem(pair.public_key_pem().as_bytes()).map_err(failed)?;
        let key_id = URL_SAFE_NO_PAD.encode(&Sha256::digest(pair.public_key_raw())[..20]);
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::RS256).map_err(failed)?;
        jwk.common.key_id = Some(key_id.clone());
        let mut public =
            serde_json::to_value(jwk).map_err(|error| AuthorityError::cryptography("signing key", error))?;
        public["use"] = "sig".into();
        Ok(Self {
            key_id,
            encoding,
            decoding,
            public,
        })
    }

    fn public_jwk(&self, issuer: &str) -> Value {
        let mut jwk = self.public.clone();
        jwk["issuer"] = issuer.into();
        jwk
    }

    fn sign(&self, claims: &Claims) -> Result<String, AuthorityError> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding)
            .map_err(|error| AuthorityError::cryptography("signature of a token", error))
    }

    fn verified_claims(&self, token: &str) -> Option<Claims> {
        verified_claims(token, Algorithm::RS256, &self.decoding)
    }
}

/// A client's registered public key, for `private_key_jwt` (RFC 7523 section 3).
pub(super) struct ClientKey {
    rsa: bool,
    decoding: DecodingKey,
    /// The certificate (DER) that an assertion must name.
    certificate: Option<Vec<u8>>,
}

impl ClientKey {
    /// Reads an RSA or P-256 public key in PEM.
    pub(super) fn from_pem(pem: &str) -> Option<Self> {
        if let Ok(decoding) = DecodingKey::from_rsa_pem(pem.as_bytes()) {
            return Some(Self {
                rsa: true,
                decoding,
                certificate: None,
            });
        }
        let decoding = DecodingKey::from_ec_pem(pem.as_bytes()).ok()?;
        Some(Self {
            rsa: false,
            decoding,
            certificate: None,
        })
    }

    /// Reads a certificate and its public key.
    pub(super) fn of_certificate(certificate: &AssertionCertificate) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).ok()?;
        Some(Self {
            certificate: Some(der.to_vec()),
            ..Self::from_pem(&certificate.public_key)?
        })
    }

    /// Whether an assertion may be used once only.
    pub(super) fn is_for_one_use(&self) -> bool {
        self.certificate.is_some()
    }

    /// The claims of an assertion that this key signed, whatever its times say.
    pub(super) fn verified_claims(&self, assertion: &str) -> Option<Claims> {
        // The registered key decides which algorithms are possible: a header alone never does.
        let header = jsonwebtoken::decode_header(assertion).ok()?;
        if let Some(certificate) = &self.certificate
            && !names_certificate(&header, certificate)
        {
            return None;
        }
        let algorithm = header.alg;
        let allowed = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => self.rsa,
            Algorithm::ES256 => !self.rsa,
            _ => false,
        };
        allowed
            .then(|| verified_claims(assertion, algorithm, &self.decoding))
            .flatten()
    }
}

/// Whether a header is as Entra's documents want it: PS256, the SHA-256 thumbprint of the certificate, and, if it has
/// a chain, that certificate as the first of it.
fn names_certificate(header: &Header, certificate: &[u8]) -> bool {
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate));
    let chain_begins_with_it = || match header.x5c_der() {
        Ok(Some(chain)) => chain.first().is_some_and(|first| first == certificate),
        Ok(None) => true,
        Err(_) => false,
    };
    header.alg == Algorithm::PS256
        && header.x5t_s256.as_deref() == Some(thumbprint.as_str())
        && header.x5t.is_none()
        && chain_begins_with_it()
}

/// Verifies the signature only: times are judged by the authority's own clock, which a test can move.
pub(super) fn verified_claims(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Option<Claims> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Claims>(token, key, &validation)
        .ok()
        .map(|token| token.claims)
}
