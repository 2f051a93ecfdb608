//! ID tokens at receipt: what is checked, and the claims.
//!
//! Where the token came over TLS straight from the token endpoint, that stands in for its signature (OIDC Core section
//! 3.1.3.7, item 6); everywhere else the signature is checked with the issuer's keys. Everything else is checked always:
//! an issuer may answer with a token for somebody else.

mod hashes;
mod verifier;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::secret::{Secret, SecretBytes, SecretRef};
use cache_core::time::UnixSeconds;
use serde_json::Value;

use crate::authority::{Authority, IssuerRule};
use crate::response::Fields;

pub use verifier::{IdTokenExpectations, IdTokenVerification, IdTokenVerifier};
pub(crate) use verifier::{SignatureCheck, verify_signature};

/// Asymmetric algorithms only. `none` is a forgery, and a symmetric one would make the client secret a key that
/// every holder of it can sign identities with.
const ALGORITHMS: [&str; 11] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
];

/// The claims of an ID token.
#[derive(Clone)]
pub struct IdTokenClaims(Fields);

impl IdTokenClaims {
    /// Reads the claims of `token` without checking any of them: for showing those of a cached token, which were
    /// checked when it was received. Nothing may be granted on their account.
    ///
    /// # Errors
    /// [`IdTokenError::Unreadable`] when it is no JWT.
    pub fn decode<'a>(token: impl Into<SecretRef<'a>>) -> Result<Self, IdTokenError> {
        parts(token.into()).map(|(_, claims)| Self(claims))
    }

    /// Who issued it (`iss`).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.text("iss")
    }

    /// Who it is about (`sub`): unique and never reused at its issuer.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.text("sub")
    }

    /// Entra's tenant (`tid`).
    #[must_use]
    pub fn tenant_id(&self) -> Option<&str> {
        self.0.text("tid")
    }

    /// Entra's object ID of the user in the tenant (`oid`).
    #[must_use]
    pub fn object_id(&self) -> Option<&str> {
        self.0.text("oid")
    }

    /// The user's full name, for people to read (`name`).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.text("name")
    }

    /// The name that the user signs in with, for people to read. It identifies nobody: it changes and is reused.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        let emails = || self.0.texts("emails")?.first().copied();
        ["preferred_username", "upn", "unique_name", "email"]
            .into_iter()
            .find_map(|claim| self.0.text(claim))
            .or_else(emails)
    }

    /// When the ID token expires (`exp`), which says nothing about the access token.
    #[must_use]
    pub fn expires_on(&self) -> Option<UnixSeconds> {
        self.time("exp")
    }

    /// Any claim.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.value(name)
    }

    /// All policies of a B2C tenant share one issuer; `tfp`, or `acr` in its place, says whose token it is. A sign-up must not
    /// pass for the stronger sign-in that was asked for.
    pub(crate) fn check_policy(&self, authority: &Authority) -> Result<(), IdTokenError> {
        let Some(policy) = authority.policy() else {
            return Ok(());
        };
        // Other values of `acr` are about how the user signed in (OIDC Core section 2).
        let is_policy = |acr: &&str| {
            acr.get(..5)
                .is_some_and(|start| start.eq_ignore_ascii_case("b2c_1"))
        };
        match self.0.text("tfp").or(self.0.text("acr").filter(is_policy)) {
            Some(named) if !named.eq_ignore_ascii_case(policy) => Err(IdTokenError::Policy),
            _ => Ok(()),
        }
    }

    fn time(&self, name: &str) -> Option<UnixSeconds> {
        let seconds = self.0.duration(name)?.as_secs();
        i64::try_from(seconds).ok().map(UnixSeconds)
    }
}

/// The claims are personal data, so none is shown.
impl fmt::Debug for IdTokenClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenClaims([personal data])")
    }
}

/// What an ID token has to satisfy.
pub(crate) struct IdTokenRules<'a> {
    pub(crate) issuer: &'a IssuerRule,
    pub(crate) client_id: &'a str,
    pub(crate) nonce: Option<&'a Secret>,
    /// How long ago the user may have signed in, where the request said so (`max_age`).
    pub(crate) max_age: Option<Duration>,
    /// The access token that came with it.
    pub(crate) access_token: Option<&'a Secret>,
    /// The authorization code that came with it, where the browser brought both.
    pub(crate) code: Option<&'a Secret>,
    pub(crate) now: UnixSeconds,
}

impl IdTokenRules<'_> {
    /// How far the clocks of issuer and client may differ.
    const SKEW: Duration = Duration::from_secs(300);

    /// Reads `token` and checks it (OIDC Core section 3.1.3.7).
    pub(crate) fn check(&self, token: &Secret) -> Result<IdTokenClaims, IdTokenError> {
        let (header, claims) = parts(token.into())?;
        let algorithm = header.text("alg").ok_or(IdTokenError::Missing("alg"))?;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(IdTokenError::Algorithm);
        }
        let claims = IdTokenClaims(claims);
        let issuer = claims.issuer().ok_or(IdTokenError::Missing("iss"))?;
        self.issuer.check(issuer, claims.tenant_id())?;
        claims.subject().ok_or(IdTokenError::Missing("sub"))?;
        self.check_audience(&claims)?;
        self.check_times(&claims)?;
        self.check_nonce(&claims)?;
        self.check_authentication_time(&claims)?;
        self.check_hashes(algorithm, &claims)?;
        Ok(claims)
    }

    fn check_audience(&self, claims: &IdTokenClaims) -> Result<(), IdTokenError> {
        let audience = claims.0.texts("aud").ok_or(IdTokenError::Missing("aud"))?;
        if !audience.contains(&self.client_id) {
            return Err(IdTokenError::Audience);
        }
        match claims.0.text("azp") {
            Some(party) if party != self.client_id => Err(IdTokenError::AuthorizedParty),
            // With several audiences only `azp` says for which of them the user signed in.
            None if audience.len() > 1 => Err(IdTokenError::AuthorizedParty),
            _ => Ok(()),
        }
    }

    fn check_times(&self, claims: &IdTokenClaims) -> Result<(), IdTokenError> {
        let expires = claims.time("exp").ok_or(IdTokenError::Missing("exp"))?;
        let issued = claims.time("iat").ok_or(IdTokenError::Missing("iat"))?;
        if expires.saturating_add(Self::SKEW) <= self.now {
            return Err(IdTokenError::Expired);
        }
        if issued > self.now.saturating_add(Self::SKEW) {
            return Err(IdTokenError::FromTheFuture);
        }
        Ok(())
    }

    fn check_nonce(&self, claims: &IdTokenClaims) -> Result<(), IdTokenError> {
        let Some(expected) = self.nonce else { return Ok(()) };
        // `Secret` compares in constant time.
        match claims.0.text("nonce") {
            Some(nonce) if Secret::new(nonce) == *expected => Ok(()),
            _ => Err(IdTokenError::Nonce),
        }
    }
}

impl IdTokenRules<'_> {
    fn check_authentication_time(&self, claims: &IdTokenClaims) -> Result<(), IdTokenError> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let signed_in = claims
            .time("auth_time")
            .ok_or(IdTokenError::Missing("auth_time"))?;
        if signed_in.saturating_add(max_age).saturating_add(Self::SKEW) < self.now {
            return Err(IdTokenError::AuthenticationTime);
        }
        Ok(())
    }

    /// The hashes are optional where the token came from the token endpoint; what is there has to be true.
    fn check_hashes(&self, algorithm: &str, claims: &IdTokenClaims) -> Result<(), IdTokenError> {
        let belongs = |claim: &str, value: Option<&Secret>| match (claims.0.text(claim), value) {
            (Some(claimed), Some(value)) => hashes::matches(claimed, algorithm, value),
            _ => true,
        };
        if !belongs("at_hash", self.access_token) {
            return Err(IdTokenError::AccessTokenHash);
        }
        if !belongs("c_hash", self.code) {
            return Err(IdTokenError::CodeHash);
        }
        Ok(())
    }
}

/// A signed token (RFC 7515 section 3.1) of which nothing is known to be true.
pub(crate) struct UnverifiedToken<'a> {
    /// Header and claims, as they were signed.
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    pub(crate) algorithm: String,
    pub(crate) key_id: Option<String>,
}

impl<'a> UnverifiedToken<'a> {
    pub(crate) fn parse(token: &'a Secret) -> Result<Self, IdTokenError> {
        let (header, _) = parts(token.into())?;
        let algorithm = header.text("alg").ok_or(IdTokenError::Missing("alg"))?;
        if !ALGORITHMS.contains(&algorithm) {
            return Err(IdTokenError::Algorithm);
        }
        // Extensions that must be understood, and are not (RFC 7515 section 4.1.11).
        if header.value("crit").is_some() {
            return Err(IdTokenError::Unreadable);
        }
        let (signed, signature) = token.expose().rsplit_once('.').ok_or(IdTokenError::Unreadable)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature.trim_end_matches('='))
            .map_err(|_| IdTokenError::Signature)?;
        Ok(Self {
            signed,
            signature,
            algorithm: algorithm.to_owned(),
            key_id: header.text("kid").map(str::to_owned),
        })
    }
}

/// Header and claims of a signed JWT in compact form (RFC 7515 section 3.1).
fn parts(token: SecretRef<'_>) -> Result<(Fields, Fields), IdTokenError> {
    let mut parts = token.expose().split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(IdTokenError::Unreadable);
    };
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        Fields::parse(&SecretBytes::new(bytes))
    };
    match (object(header), object(claims)) {
        (Some(header), Some(claims)) if !signature.is_empty() || header.text("alg") == Some("none") => {
            Ok((header, claims))
        }
        _ => Err(IdTokenError::Unreadable),
    }
}

/// Why an ID token was refused. Nothing of the reply is kept then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdTokenError {
    /// It is no signed JWT.
    #[error("the ID token cannot be read")]
    Unreadable,
    /// It is unsigned, or signed by an algorithm that is not accepted.
    #[error("the ID token's algorithm is not accepted")]
    Algorithm,
    /// A required claim is missing.
    #[error("the ID token has no `{0}`")]
    Missing(&'static str),
    /// `iss` is not the issuer that was asked.
    #[error("the ID token is from another issuer")]
    Issuer,
    /// `tfp` or `acr` names another policy of the B2C tenant, all of which share one issuer.
    #[error("the ID token is of another policy than the authority's")]
    Policy,
    /// `tid` is no tenant that may sign in here.
    #[error("the ID token is from a tenant that this authority does not stand for")]
    Tenant,
    /// `aud` does not contain the client.
    #[error("the ID token is for another client")]
    Audience,
    /// `azp` names another client, or is missing among several audiences.
    #[error("the ID token was issued at another client's request")]
    AuthorizedParty,
    /// `exp` has passed.
    #[error("the ID token has expired; is this machine's clock right?")]
    Expired,
    /// `iat` lies ahead.
    #[error("the ID token was issued in the future; is this machine's clock right?")]
    FromTheFuture,
    /// `nonce` is not the one that was sent: the token is of another sign-in.
    #[error("the ID token is of another sign-in (nonce)")]
    Nonce,
    /// `auth_time` is longer ago than the request allowed (`max_age`).
    #[error("the user signed in longer ago than was asked for")]
    AuthenticationTime,
    /// `at_hash` is not that of the access token: the two do not belong together.
    #[error("the ID token was issued with another access token (at_hash)")]
    AccessTokenHash,
    /// `c_hash` is not that of the code: the two do not belong together.
    #[error("the ID token was issued with another authorization code (c_hash)")]
    CodeHash,
    /// No key of the issuer made the signature.
    #[error("the ID token's signature is not the issuer's")]
    Signature,
    /// It names a key that the issuer does not publish, and the issuer was asked within the last minutes.
    #[error("the ID token is signed by a key that the issuer does not publish")]
    UnknownKey,
    /// The key that signed it may sign for other issuers only (Entra).
    #[error("the ID token is signed by a key of another issuer")]
    KeyIssuer,
    /// A refresh brought the token of another user (OIDC Core section 12.2).
    #[error("the refreshed ID token is of another user; nothing of the reply was kept")]
    AnotherUser,
}

#[cfg(test)]
mod tests;
