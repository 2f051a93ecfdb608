//! Public keys as JSON Web Keys (RFC 7517), without any member of a private key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A public key. Its parts are base64url without padding, as RFC 7518 section 6 and RFC 8037 section 2 have them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicJwk {
    /// A point on an elliptic curve.
    Ec {
        /// The curve: `P-256`, `P-384`.
        curve: String,
        /// The first coordinate.
        x: String,
        /// The second coordinate.
        y: String,
    },
    /// An RSA key.
    Rsa {
        /// The modulus.
        n: String,
        /// The exponent.
        e: String,
    },
    /// An Edwards-curve key.
    Okp {
        /// The curve: `Ed25519`.
        curve: String,
        /// The public key.
        x: String,
    },
}

impl PublicJwk {
    /// A P-256 key from its uncompressed point (SEC 1 section 2.3.3): 65 bytes, the first of them 4. `None` for others.
    #[must_use]
    pub fn p256(point: &[u8]) -> Option<Self> {
        let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
        if y.len() != 32 {
            return None;
        }
        Some(Self::Ec {
            curve: "P-256".to_owned(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// The key as a JSON object of the members that its kind requires, and no others.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Ec { curve, x, y } => json!({ "crv": curve, "kty": "EC", "x": x, "y": y }),
            Self::Rsa { n, e } => json!({ "e": e, "kty": "RSA", "n": n }),
            Self::Okp { curve, x } => json!({ "crv": curve, "kty": "OKP", "x": x }),
        }
    }

    /// The key's thumbprint by SHA-256, base64url (RFC 7638): what names it.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        // Section 3.2: the required members in lexicographic order, without white space. Written by hand, because whether a map of
        // serde_json is sorted depends on features that any crate of the program may turn on.
        let canonical = match self {
            Self::Ec { curve, x, y } => format!(
                r#"{{"crv":{},"kty":"EC","x":{},"y":{}}}"#,
                quoted(curve),
                quoted(x),
                quoted(y)
            ),
            Self::Rsa { n, e } => format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, quoted(e), quoted(n)),
            Self::Okp { curve, x } => {
                format!(r#"{{"crv":{},"kty":"OKP","x":{}}}"#, quoted(curve), quoted(x))
            }
        };
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7638_has_its_thumbprint() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst\
                 n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91C\
                 bOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicJwk::Rsa {
            n: n.to_owned(),
            e: "AQAB".to_owned(),
        };
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_key_of_rfc_9449_has_its_thumbprint() {
        let key = PublicJwk::Ec {
            curve: "P-256".to_owned(),
            x: "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs".to_owned(),
            y: "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA".to_owned(),
        };
        // Section 6.1.
        assert_eq!(key.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        let members = key.to_json();
        assert_eq!(members.as_object().map(serde_json::Map::len), Some(4));
    }

    #[test]
    fn only_an_uncompressed_point_is_a_p256_key() {
        assert!(PublicJwk::p256(&[4; 65]).is_some());
        for point in [&[4; 64][..], &[4; 66], &[2; 33], &[], &[3; 65]] {
            assert!(PublicJwk::p256(point).is_none());
        }
    }

    #[test]
    fn an_ed25519_key_has_the_thumbprint_of_rfc_8037() {
        let key = PublicJwk::Okp {
            curve: "Ed25519".to_owned(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned(),
        };
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
