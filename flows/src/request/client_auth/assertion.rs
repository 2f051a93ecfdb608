//! The assertion that a client signs to say who it is (RFC 7523 sections 2.2 and 3).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::random_bytes;
use cache_core::schema::AuthorityKind;
use cache_core::secret::Secret;
use serde_json::{Map, Value, json};

use super::signing_key::Algorithm;
use super::{Authentication, ClientCertificate};
use crate::authority::{IssuerRule, Metadata};
use crate::error::{ConfigurationError, Error};

/// What `client_assertion_type` says of every assertion here.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion can be used. It is sent at once, so this is for clocks that differ.
const LIFETIME: Duration = Duration::from_secs(300);

/// A new assertion of `client_id`, for one request.
pub(super) fn sign(
    certificate: &ClientCertificate,
    client_id: &str,
    request: &Authentication<'_>,
) -> Result<Secret, Error> {
    let kind = request.authority.kind();
    certificate.check(kind)?;
    let algorithm = algorithm(certificate, kind, request.metadata)?;
    let mut header = Map::new();
    header.insert("alg".to_owned(), algorithm.name().into());
    header.insert("typ".to_owned(), "JWT".into());
    for (name, value) in certificate.header(kind) {
        header.insert(name.to_owned(), value);
    }
    let now = request.transport.clock().now().to_seconds().0;
    // Fresh each time: an issuer that remembers them refuses the second use of an assertion.
    let jti: [u8; 16] = random_bytes(&**request.transport.random())?;
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience(certificate, kind, request.metadata),
        "jti": URL_SAFE_NO_PAD.encode(jti),
        "iat": now,
        "nbf": now,
        "exp": now.saturating_add_unsigned(LIFETIME.as_secs()),
    });
    let mut assertion = encode(&Value::Object(header));
    assertion.push('.');
    assertion.push_str(&encode(&claims));
    let signature = certificate
        .key
        .sign(algorithm, assertion.as_bytes())
        .ok_or_else(|| ConfigurationError::new("the private key could not sign; is it intact?"))?;
    assertion.push('.');
    assertion.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(Secret::new(assertion))
}

/// The algorithm that the authority accepts and the key can do.
fn algorithm(
    certificate: &ClientCertificate,
    kind: AuthorityKind,
    metadata: &Metadata,
) -> Result<Algorithm, ConfigurationError> {
    let possible = certificate.key.algorithms();
    let chosen = match (kind, &metadata.token_endpoint_auth_signing_algorithms) {
        (AuthorityKind::Adfs, _) => possible.iter().find(|known| **known == Algorithm::Rs256),
        // RS256 is what every issuer should know (OIDC Discovery section 3).
        (AuthorityKind::Oidc, None) => possible.last(),
        (AuthorityKind::Oidc, Some(offered)) => possible
            .iter()
            .find(|known| offered.iter().any(|name| name == known.name())),
        (AuthorityKind::Entra | AuthorityKind::B2c | AuthorityKind::Ciam, _) => possible.first(),
    };
    chosen.copied().ok_or_else(|| {
        ConfigurationError::new(
            "the issuer's metadata (token_endpoint_auth_signing_alg_values_supported) offers no algorithm that the \
             private key can do; use a key of another kind",
        )
    })
}

/// Microsoft's authorities want the token endpoint. For other issuers it is the issuer itself: the revision of RFC
/// 7523 (draft-ietf-oauth-rfc7523bis) wants that alone, as a malicious issuer could name another's endpoint as its
/// own and would be handed an assertion for it. Some know only the token endpoint; the client says so.
fn audience<'a>(certificate: &ClientCertificate, kind: AuthorityKind, metadata: &'a Metadata) -> &'a str {
    match (&metadata.issuer, kind) {
        (IssuerRule::Exact(issuer), AuthorityKind::Oidc) if !certificate.for_token_endpoint => issuer,
        _ => metadata.token_endpoint.as_str(),
    }
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[cfg(test)]
mod tests;
