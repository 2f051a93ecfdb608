//! Who signs proofs.

use std::fmt;

use async_trait::async_trait;

use super::PublicJwk;

/// A private key that signs proofs, wherever it is: in memory, a TPM, a smart card, a key vault.
///
/// # Cancellation safety
/// Dropping a future of [`sign`](Self::sign) must leave the signer usable.
///
/// ```
/// use async_trait::async_trait;
/// use flows::proof::{ProofAlgorithm, ProofError, ProofSigner, PublicJwk};
///
/// /// A key in a vault.
/// #[derive(Debug)]
/// struct VaultKey {
///     public: PublicJwk,
/// }
///
/// #[async_trait]
/// impl ProofSigner for VaultKey {
///     fn algorithm(&self) -> ProofAlgorithm {
///         ProofAlgorithm::Es256
///     }
///
///     fn public_key(&self) -> &PublicJwk {
///         &self.public
///     }
///
///     async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ProofError> {
///         ask_the_vault(message).await.map_err(|error| ProofError::new("the vault did not sign").with_source(error))
///     }
/// }
/// # async fn ask_the_vault(_: &[u8]) -> Result<Vec<u8>, std::io::Error> { Ok(Vec::new()) }
/// ```
#[async_trait]
pub trait ProofSigner: fmt::Debug + Send + Sync + 'static {
    /// How it signs.
    fn algorithm(&self) -> ProofAlgorithm;

    /// The public half of the key. It never changes.
    fn public_key(&self) -> &PublicJwk;

    /// The signature of `message`, in the form that JWS wants (RFC 7518 section 3): for ES256 the 64 bytes of R and S, not DER.
    ///
    /// # Errors
    /// That the key is not to be had. Nothing is sent then.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ProofError>;
}

/// A signature algorithm of JWS (RFC 7518 section 3.1, RFC 8037). DPoP allows no symmetric ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofAlgorithm {
    /// ECDSA on P-256 with SHA-256. Every provider that offers DPoP knows it.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// EdDSA on Ed25519.
    EdDsa,
}

impl ProofAlgorithm {
    /// The name that stands in the header `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Why there is no proof. It never shows a key or a token.
pub struct ProofError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProofError {
    /// An error that `message` explains, without secrets.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no proof of possession could be made: {}", self.message)
    }
}

impl fmt::Debug for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofError")
            .field("message", &self.message)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for ProofError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
