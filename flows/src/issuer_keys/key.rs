//! One public key of an issuer, as its key set names it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// The algorithm that `name` means in a header or a key (RFC 7518 section 3.1, RFC 8037, RFC 9864); `None` for one that
/// cannot be verified. Symmetric ones are left out: a public key would be their secret.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// A key that may verify signatures.
pub(super) struct VerificationKey {
    pub(super) id: Option<String>,
    /// The issuer whose tokens it may sign: a template with `{tenantid}` at Entra.
    pub(super) issuer: Option<String>,
    /// The one algorithm that the key is meant for, if it says so.
    algorithm: Option<Algorithm>,
    shape: Shape,
    decoding: DecodingKey,
}

/// Which mathematics a key is of. A signature by one kind must never be tried with the other's algorithm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl VerificationKey {
    /// Bits of an RSA modulus: shorter ones can be forged, longer ones only cost time (RFC 7518 section 3.3).
    const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

    /// Reads a JWK (RFC 7517 section 4). `None` for a key that is not for signatures, is too weak, or is of a kind that
    /// nobody here can verify with: key sets may hold such keys.
    pub(super) fn parse(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") || !may_verify(jwk.get("key_ops")) {
            return None;
        }
        let (shape, decoding) = match text("kty")? {
            "RSA" => (Shape::Rsa, rsa(text("n")?, text("e")?)?),
            "EC" => {
                let (shape, bytes) = match text("crv")? {
                    "P-256" => (Shape::P256, 32),
                    "P-384" => (Shape::P384, 48),
                    _ => return None,
                };
                let coordinate = |name| decoded(text(name)?).filter(|number| number.len() == bytes);
                let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
                (shape, DecodingKey::from_ec_der(&point))
            }
            "OKP" if text("crv")? == "Ed25519" => {
                let point = decoded(text("x")?).filter(|point| point.len() == 32)?;
                (Shape::Ed25519, DecodingKey::from_ed_der(&point))
            }
            // `oct` among them: a secret that is published is none.
            _ => return None,
        };
        let meant_for = match text("alg") {
            Some(name) => Some(algorithm(name)?),
            None => None,
        };
        Some(Self {
            id: text("kid").map(str::to_owned),
            issuer: text("issuer").map(str::to_owned),
            algorithm: meant_for,
            shape,
            decoding,
        })
    }

    /// Whether signatures by `algorithm` may be this key's.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        let shape = match algorithm {
            Algorithm::ES256 => Shape::P256,
            Algorithm::ES384 => Shape::P384,
            Algorithm::EdDSA => Shape::Ed25519,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return false,
            _ => Shape::Rsa,
        };
        self.shape == shape && self.algorithm.is_none_or(|meant_for| meant_for == algorithm)
    }

    /// Whether `signature` over `signed` is this key's. Ask [`fits`](Self::fits) first.
    pub(super) fn has_signed(&self, algorithm: Algorithm, signed: &str, signature: &Vec<u8>) -> bool {
        // By name: the crate's default depends on which of its features the whole program turns on.
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &self.decoding)
            .is_ok_and(|verifier| verifier.verify(signed.as_bytes(), signature).is_ok())
    }
}

fn may_verify(operations: Option<&Value>) -> bool {
    operations
        .and_then(Value::as_array)
        .is_none_or(|operations| operations.iter().any(|name| name == "verify"))
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let number = |text| {
        let bytes = decoded(text)?;
        let first = bytes.iter().position(|byte| *byte != 0)?;
        Some(bytes[first..].to_vec())
    };
    let (modulus, exponent) = (number(modulus)?, number(exponent)?);
    let unused = modulus.first()?.leading_zeros() as usize;
    if !VerificationKey::RSA_BITS.contains(&(modulus.len() * 8 - unused)) {
        return None;
    }
    Some(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}
