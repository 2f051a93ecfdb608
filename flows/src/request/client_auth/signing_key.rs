//! The private key of a client, and how it signs.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use cache_core::secret::Secret;

use super::pem;
use crate::error::ConfigurationError;

/// How many bits an RSA key must have: NIST SP 800-131A, and what every authority asks for.
const LEAST_RSA_BYTES: usize = 2048 / 8;

/// The JWS algorithms by which clients sign here (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    Es384,
}

impl Algorithm {
    /// The name in a JWS header and in metadata.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }
}

/// A private key that was read and checked once, at the start.
pub(super) enum SigningKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
}

impl SigningKey {
    /// Reads the first private key of `text`, in PKCS#8, PKCS#1 or SEC 1 form.
    pub(super) fn from_pem(text: &Secret) -> Result<Self, ConfigurationError> {
        let unusable = |why: &str| ConfigurationError::new(format!("the private key cannot be used: {why}"));
        let sections = pem::sections(text.expose()).map_err(|error| unusable(error.message()))?;
        let key = sections
            .iter()
            .find(|section| section.label.ends_with("PRIVATE KEY"))
            .ok_or_else(|| {
                unusable("no PEM section of it is a `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`")
            })?;
        let read = match key.label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&key.der)
                .map(Self::Rsa)
                .ok()
                .or_else(|| Self::elliptic(&key.der)),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&key.der).map(Self::Rsa).ok(),
            "EC PRIVATE KEY" => Self::elliptic(&key.der),
            _ => None,
        };
        match read {
            Some(Self::Rsa(key)) if key.public_modulus_len() < LEAST_RSA_BYTES => {
                Err(unusable("it has fewer than 2048 bits"))
            }
            Some(key) => Ok(key),
            // The cryptographic library's own words say less than this, so they are not kept.
            None => Err(unusable(
                "it is damaged, or neither an RSA key of 2048 to 8192 bits nor an EC key on P-256 or P-384",
            )),
        }
    }

    fn elliptic(der: &[u8]) -> Option<Self> {
        let on = |curve: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::from_private_key_der(curve, der).ok();
        on(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(Self::P256)
            .or_else(|| on(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self::P384))
    }

    /// The algorithms that the key can do, the one to prefer first: PSS has a security proof, PKCS #1 1.5 has none.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match self {
            Self::Rsa(_) => &[Algorithm::Ps256, Algorithm::Rs256],
            Self::P256(_) => &[Algorithm::Es256],
            Self::P384(_) => &[Algorithm::Es384],
        }
    }

    /// The public key as it stands in a certificate: PKCS#1 for RSA, the uncompressed point for EC.
    pub(super) fn public_key(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => key.public_key().as_ref(),
            Self::P256(key) | Self::P384(key) => key.public_key().as_ref(),
        }
    }

    /// Signs `message`. `None` when the key cannot do `algorithm`, or the cryptographic library fails.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        // The library draws its salts and nonces itself, and has no door for another source.
        let random = SystemRandom::new();
        let rsa = |key: &RsaKeyPair, padding| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(padding, &random, message, &mut signature).ok()?;
            Some(signature)
        };
        let elliptic = |key: &EcdsaKeyPair| Some(key.sign(&random, message).ok()?.as_ref().to_vec());
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::Ps256) => rsa(key, &RSA_PSS_SHA256),
            (Self::Rsa(key), Algorithm::Rs256) => rsa(key, &RSA_PKCS1_SHA256),
            (Self::P256(key), Algorithm::Es256) | (Self::P384(key), Algorithm::Es384) => elliptic(key),
            _ => None,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "Rsa([redacted])",
            Self::P256(_) => "P256([redacted])",
            Self::P384(_) => "P384([redacted])",
        })
    }
}
