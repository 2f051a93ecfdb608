//! The proof: a JWT that names one request (RFC 9449 section 4.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::{Random, random_bytes};
use cache_core::schema::TokenType;
use cache_core::secret::{Secret, SecretRef};
use cache_core::time::UnixSeconds;
use serde_json::{Map, Value, json};
use url::{Position, Url};

use super::{ProofSigner, PublicJwk};
use crate::Error;

/// How a bound token is presented, and the name of its type.
pub(crate) const SCHEME: &str = "DPoP";

/// The type of tokens that are bound to this key.
pub(crate) fn token_type(key: &PublicJwk) -> TokenType {
    bound_to(&key.thumbprint())
}

pub(crate) fn bound_to(thumbprint: &str) -> TokenType {
    TokenType::Bound {
        scheme: SCHEME.into(),
        key_id: thumbprint.into(),
    }
}

/// The request that a proof is for.
pub(crate) struct Proof<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    /// What the server gave last, if it gave any.
    pub(crate) nonce: Option<&'a str>,
    /// The token that is presented to a resource; `None` at a token endpoint.
    pub(crate) access_token: Option<SecretRef<'a>>,
}

impl Proof<'_> {
    /// Signs it, under a `jti` of its own: the same proof twice is a replay.
    pub(crate) async fn sign(
        &self,
        signer: &dyn ProofSigner,
        random: &dyn Random,
        now: UnixSeconds,
    ) -> Result<Secret, Error> {
        let jti: [u8; 16] = random_bytes(random)?;
        let message = self.message(signer, &URL_SAFE_NO_PAD.encode(jti), now);
        let signature = signer.sign(message.as_bytes()).await?;
        Ok(Secret::new(format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }

    /// What is signed: header and claims (RFC 7515 section 5.1).
    fn message(&self, signer: &dyn ProofSigner, jti: &str, now: UnixSeconds) -> String {
        let header = json!({
            "typ": "dpop+jwt",
            "alg": signer.algorithm().as_str(),
            "jwk": signer.public_key().to_json(),
        });
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        claim("jti", jti.into());
        claim("htm", self.method.into());
        // Without query and fragment, which may hold what the proof need not know.
        claim("htu", self.url[..Position::AfterPath].into());
        claim("iat", now.0.into());
        if let Some(nonce) = self.nonce {
            claim("nonce", nonce.into());
        }
        if let Some(token) = self.access_token {
            claim("ath", URL_SAFE_NO_PAD.encode(token.sha256()).into());
        }
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(header), part(Value::Object(claims)))
    }
}

#[cfg(test)]
mod tests {
    use cache_core::random::OsRandom;

    use super::super::SoftwareKey;
    use super::*;

    fn parts(proof: &str) -> (Value, Value) {
        let mut parts = proof.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
        (json(), json())
    }

    async fn proof(url: &str, nonce: Option<&str>, token: Option<&str>) -> String {
        let key = SoftwareKey::generate().unwrap();
        let token = token.map(Secret::new);
        let proof = Proof {
            method: "POST",
            url: &Url::parse(url).unwrap(),
            nonce,
            access_token: token.as_ref().map(SecretRef::from),
        };
        let signed = proof
            .sign(&key, &OsRandom, UnixSeconds(1_562_262_616))
            .await
            .unwrap();
        signed.expose().to_owned()
    }

    #[tokio::test]
    async fn a_proof_has_the_members_of_rfc_9449_and_no_private_ones() {
        let (header, claims) = parts(&proof("https://server.example.com/token", None, None).await);
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&"dpop+jwt".into(), &"ES256".into())
        );
        let mut members: Vec<_> = header["jwk"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        members.sort_unstable();
        assert_eq!(members, ["crv", "kty", "x", "y"]);
        assert_eq!(claims["htm"], "POST");
        assert_eq!(claims["htu"], "https://server.example.com/token");
        assert_eq!(claims["iat"], 1_562_262_616);
        assert!(claims["jti"].as_str().unwrap().len() >= 16);
        assert_eq!(claims.as_object().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_proof_for_a_resource_names_the_token_by_the_hash_of_rfc_9449() {
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let url = "https://resource.example.org/protectedresource?q=1#f";
        let (_, claims) = parts(&proof(url, Some("eyJ7S_zG.eyJH0-Z.HX4w-7v"), Some(token)).await);
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert_eq!(claims["nonce"], "eyJ7S_zG.eyJH0-Z.HX4w-7v");
        assert_eq!(claims["htu"], "https://resource.example.org/protectedresource");
    }

    #[tokio::test]
    async fn no_two_proofs_are_the_same() {
        let url = "https://server.example.com/token";
        let (first, second) = (proof(url, None, None).await, proof(url, None, None).await);
        assert_ne!(parts(&first).1["jti"], parts(&second).1["jti"]);
    }
}
