//! A certificate and its private key, by which a client signs what proves who it is.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Algorithm as Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cache_core::schema::AuthorityKind;
use cache_core::secret::Secret;

use super::pem;
use super::signing_key::SigningKey;
use crate::error::ConfigurationError;

/// The credential of a client that signs its assertions itself (`private_key_jwt`, RFC 7523 section 2.2): a private
/// key, with the certificate that the authority knows it by.
///
/// The header and the algorithm follow the authority. Entra ID, B2C and External ID get PS256 and the certificate's
/// SHA-256 thumbprint (`x5t#S256`); AD FS gets RS256 and its SHA-1 thumbprint (`x5t`), because it knows no other; any
/// other issuer what its metadata offers and the key can do, without a thumbprint.
///
/// Every request carries an assertion of its own: one that was seen on the wire is of no use to anybody.
///
/// ```no_run
/// use cache_core::secret::Secret;
/// use flows::client::ClientCredential;
/// use flows::request::ClientCertificate;
///
/// # fn credential() -> Result<(), Box<dyn std::error::Error>> {
/// // One file may hold both; of each argument only what it is for is read.
/// let key = Secret::new(std::fs::read_to_string("client.key")?);
/// let certificate = ClientCertificate::from_pem(&std::fs::read_to_string("client.pem")?, &key)?;
/// let credential = ClientCredential::certificate(certificate.send_certificate_chain(true));
/// # let _ = credential; Ok(()) }
/// ```
#[derive(Clone)]
pub struct ClientCertificate {
    pub(super) key: Arc<SigningKey>,
    /// In DER, the client's own first; empty for a bare key.
    chain: Arc<[Vec<u8>]>,
    key_id: Option<String>,
    thumbprint: bool,
    send_chain: bool,
    pub(super) for_token_endpoint: bool,
}

impl ClientCertificate {
    /// Reads a certificate, with those that vouch for it, and its private key (PKCS#8, PKCS#1 or SEC 1), all in PEM.
    ///
    /// # Errors
    /// [`ConfigurationError`] when either cannot be read, when the key is encrypted or of an unsupported kind (RSA of
    /// 2048 to 8192 bits, P-256 and P-384 are supported), or when no certificate is that of the key. It repeats
    /// nothing of what it was given.
    pub fn from_pem(certificates: &str, private_key: &Secret) -> Result<Self, ConfigurationError> {
        let unusable = |why: &str| ConfigurationError::new(format!("the certificate cannot be used: {why}"));
        let key = SigningKey::from_pem(private_key)?;
        let mut chain: Vec<Vec<u8>> = pem::sections(certificates)
            .map_err(|error| unusable(error.message()))?
            .iter()
            .filter(|section| section.label == "CERTIFICATE")
            .map(|section| section.der.to_vec())
            .collect();
        if chain.is_empty() {
            return Err(unusable("no PEM section of it is a `CERTIFICATE`"));
        }
        // The encoded public key stands in its certificate byte by byte, so no X.509 parser is needed to find it.
        let own = chain
            .iter()
            .position(|certificate| contains(certificate, key.public_key()))
            .ok_or_else(|| unusable("it is not the certificate of the private key"))?;
        // RFC 7515 section 4.1.6: the one that signs comes first. Bundles are not always in that order.
        let own = chain.remove(own);
        chain.insert(0, own);
        Ok(Self::of(key, chain))
    }

    /// Reads a private key alone, for an issuer that knows its public key otherwise (a registered JWK). Microsoft's
    /// authorities need a certificate.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_private_key(private_key: &Secret) -> Result<Self, ConfigurationError> {
        Ok(Self::of(SigningKey::from_pem(private_key)?, Vec::new()))
    }

    fn of(key: SigningKey, chain: Vec<Vec<u8>>) -> Self {
        Self {
            key: Arc::new(key),
            chain: chain.into(),
            key_id: None,
            thumbprint: false,
            send_chain: false,
            for_token_endpoint: false,
        }
    }

    /// Names the key by `kid` in the header, for an issuer at which the client registered more than one.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Whether the thumbprint `x5t#S256` goes to an issuer other than Microsoft's, too; off unless set.
    #[must_use]
    pub fn send_thumbprint(mut self, send: bool) -> Self {
        self.thumbprint = send;
        self
    }

    /// Whether the whole chain is sent (`x5c`), so that an authority which trusts the certificate's *subject and
    /// issuer* accepts a renewed one without being told; off unless set, as it makes each request some kilobytes longer.
    #[must_use]
    pub fn send_certificate_chain(mut self, send: bool) -> Self {
        self.send_chain = send;
        self
    }

    /// Whether an issuer other than Microsoft's is sent assertions for its token endpoint, as OIDC Core section 9 has it, instead of
    /// for the issuer; off unless set, for issuers that know nothing newer.
    ///
    /// Set it only for a key that no other issuer knows: a malicious one could name another's token endpoint as its own, and would
    /// be handed an assertion that is good there.
    #[must_use]
    pub fn for_token_endpoint(mut self, token_endpoint: bool) -> Self {
        self.for_token_endpoint = token_endpoint;
        self
    }

    /// Whether an authority of this kind can accept what this would send.
    pub(super) fn check(&self, kind: AuthorityKind) -> Result<(), ConfigurationError> {
        let microsoft = kind != AuthorityKind::Oidc;
        if microsoft && !matches!(*self.key, SigningKey::Rsa(_)) {
            return Err(ConfigurationError::new(
                "Microsoft's authorities accept no signature of an EC key; use an RSA key and its certificate",
            ));
        }
        if self.chain.is_empty() && (microsoft || self.thumbprint || self.send_chain) {
            return Err(ConfigurationError::new(
                "a certificate is missing: the private key alone does for issuers other than Microsoft's, and only \
                 without a thumbprint and a chain",
            ));
        }
        Ok(())
    }

    /// The members of the JWS header beside `alg` and `typ`.
    pub(super) fn header(&self, kind: AuthorityKind) -> Vec<(&'static str, serde_json::Value)> {
        let mut members = Vec::new();
        if let Some(key_id) = &self.key_id {
            members.push(("kid", key_id.as_str().into()));
        }
        if let Some(own) = self.chain.first() {
            if kind == AuthorityKind::Adfs {
                members.push(("x5t", thumbprint(&SHA1_FOR_LEGACY_USE_ONLY, own).into()));
            } else if kind != AuthorityKind::Oidc || self.thumbprint {
                members.push(("x5t#S256", thumbprint(&SHA256, own).into()));
            }
        }
        if self.send_chain {
            // Unlike everything else in a JWS, not the URL-safe alphabet (RFC 7515 section 4.1.6).
            let chain: Vec<_> = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
            members.push(("x5c", chain.into()));
        }
        members
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("key", &self.key)
            .field("certificates", &self.chain.len())
            .field("key_id", &self.key_id)
            .field("send_certificate_chain", &self.send_chain)
            .finish_non_exhaustive()
    }
}

/// The thumbprint of a certificate (RFC 7515 sections 4.1.7 and 4.1.8).
fn thumbprint(by: &'static Digest, certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(by, certificate))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
