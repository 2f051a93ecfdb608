//! `at_hash` and `c_hash`: what ties an ID token to what came with it (OIDC Core sections 3.1.3.6 and 3.3.2.11).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::secret::Secret;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Whether `claimed` is the hash of `value` by the algorithm that signed the token.
pub(super) fn matches(claimed: &str, algorithm: &str, value: &Secret) -> bool {
    let value = value.expose().as_bytes();
    let digest = match algorithm.get(2..) {
        Some("256") => Sha256::digest(value).to_vec(),
        Some("384") => Sha384::digest(value).to_vec(),
        // EdDSA hashes with SHA-512 itself.
        _ => Sha512::digest(value).to_vec(),
    };
    let left_half = &digest[..digest.len() / 2];
    URL_SAFE_NO_PAD.encode(left_half) == claimed.trim_end_matches('=')
}
