//! Proving that one has the key that a token is bound to: DPoP (RFC 9449).
//!
//! A token that is bound to a key is of no use to a thief who has not the key. [`ClientBuilder::dpop`](crate::client::ClientBuilder::dpop)
//! makes a client ask for such tokens, with a [software key](DpopKey::software) that the cache keeps, or with
//! [your own signer](DpopKey::signer), whose key may never leave its hardware.
//!
//! What a resource wants to see with each request is a proof of its own: [`PublicClient::dpop_proof`](crate::client::PublicClient::dpop_proof).

mod dpop;
mod nonces;
mod public_jwk;
mod signer;
mod software_key;

use std::fmt;
use std::sync::Arc;

pub use public_jwk::PublicJwk;
pub use signer::{ProofAlgorithm, ProofError, ProofSigner};
pub use software_key::SoftwareKey;

pub(crate) use dpop::{Proof, bound_to, token_type};
pub(crate) use nonces::Nonces;

/// The key that a client's tokens are bound to.
///
/// ```
/// use std::sync::Arc;
///
/// use flows::proof::{DpopKey, SoftwareKey};
///
/// # fn main() -> Result<(), flows::Error> {
/// let kept_by_the_cache = DpopKey::software();
/// let kept_by_you = DpopKey::signer(Arc::new(SoftwareKey::generate()?));
/// # let _ = (kept_by_the_cache, kept_by_you); Ok(()) }
/// ```
#[derive(Clone)]
pub struct DpopKey(pub(crate) KeyChoice);

#[derive(Clone)]
pub(crate) enum KeyChoice {
    Software,
    Signer(Arc<dyn ProofSigner>),
}

impl DpopKey {
    /// Keys that are made when they are needed and kept in the cache, each in a sealed record of its own that is never exported: for a
    /// public client one for each account, removed with it at the sign-out; for a confidential client one in all.
    #[must_use]
    pub fn software() -> Self {
        Self(KeyChoice::Software)
    }

    /// The key of `signer`, for everything that the client does.
    #[must_use]
    pub fn signer(signer: Arc<dyn ProofSigner>) -> Self {
        Self(KeyChoice::Signer(signer))
    }
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            KeyChoice::Software => "DpopKey::software()",
            KeyChoice::Signer(_) => "DpopKey::signer(..)",
        })
    }
}
