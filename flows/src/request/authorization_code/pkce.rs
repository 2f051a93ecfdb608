//! Proof Key for Code Exchange (RFC 7636), S256 only: `plain` protects against nobody who sees the request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::{Random, RandomError};
use cache_core::secret::Secret;

/// The secret of which only the hash goes through the browser.
pub(super) struct Verifier(Secret);

impl Verifier {
    /// 43 characters from 256 random bits (RFC 7636 section 4.1).
    pub(super) fn random(random: &dyn Random) -> Result<Self, RandomError> {
        super::random_text(random).map(Self)
    }

    /// The base64url of its SHA-256 (section 4.2).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sha256())
    }

    pub(super) fn into_secret(self) -> Secret {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        // RFC 7636 appendix B.
        let verifier = Verifier(Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert_eq!(
            verifier.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
