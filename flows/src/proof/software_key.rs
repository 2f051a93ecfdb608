//! A key in memory.

use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use cache_core::secret::SecretBytes;

use super::{ProofAlgorithm, ProofError, ProofSigner, PublicJwk};

/// A P-256 key in memory, which signs by ES256.
///
/// ```
/// use flows::proof::SoftwareKey;
///
/// # fn main() -> Result<(), flows::Error> {
/// let key = SoftwareKey::generate()?;
/// let kept = key.pkcs8().clone(); // the private key: seal it where it is stored
/// assert_eq!(SoftwareKey::from_pkcs8(kept)?.thumbprint(), key.thumbprint());
/// # Ok(()) }
/// ```
pub struct SoftwareKey {
    pair: EcdsaKeyPair,
    public: PublicJwk,
    thumbprint: String,
    pkcs8: SecretBytes,
}

impl SoftwareKey {
    /// A new key, from the randomness of the cryptographic library.
    ///
    /// # Errors
    /// [`ProofError`] when there is none.
    pub fn generate() -> Result<Self, ProofError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| ProofError::new("no key could be generated"))?;
        Self::from_pkcs8(SecretBytes::new(document.as_ref().to_vec()))
    }

    /// The key of a PKCS#8 document (RFC 5208), in DER.
    ///
    /// # Errors
    /// [`ProofError`] for anything else than a P-256 key.
    pub fn from_pkcs8(pkcs8: SecretBytes) -> Result<Self, ProofError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose())
            .map_err(|_| ProofError::new("the key is no P-256 key in PKCS#8"))?;
        let public = PublicJwk::p256(pair.public_key().as_ref())
            .ok_or_else(|| ProofError::new("the key has no uncompressed public point"))?;
        Ok(Self {
            thumbprint: public.thumbprint(),
            pair,
            public,
            pkcs8,
        })
    }

    /// The PKCS#8 document, in DER: the private key.
    #[must_use]
    pub fn pkcs8(&self) -> &SecretBytes {
        &self.pkcs8
    }

    /// The key's thumbprint (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

#[async_trait]
impl ProofSigner for SoftwareKey {
    fn algorithm(&self) -> ProofAlgorithm {
        ProofAlgorithm::Es256
    }

    fn public_key(&self) -> &PublicJwk {
        &self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ProofError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| ProofError::new("the key did not sign"))?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKey")
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_survives_its_document_and_shows_nothing() {
        let key = SoftwareKey::generate().unwrap();
        let again = SoftwareKey::from_pkcs8(key.pkcs8().clone()).unwrap();
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert_eq!(key.thumbprint(), key.public_key().thumbprint());
        assert_eq!(key.sign(b"m").await.unwrap().len(), 64);
        assert_ne!(key.thumbprint(), SoftwareKey::generate().unwrap().thumbprint());
        let shown = format!("{key:?}");
        assert!(shown.len() < 100, "{shown}");
        let error = SoftwareKey::from_pkcs8(SecretBytes::new(b"canary".to_vec())).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
