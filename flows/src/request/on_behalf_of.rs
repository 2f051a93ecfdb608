//! A token for the next service, for the token that a user presented to this one (Entra's on-behalf-of; RFC 7523 section 2.1,
//! RFC 7522 section 2.1).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;

use super::{TokenRequest, user_scopes};
use crate::response::Subject;

/// The grant type of a JWT.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The grant type of a SAML 2.0 assertion.
pub const SAML2_BEARER: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

/// What proves that the user is at the door: the token that they presented to this service.
///
/// It was checked before it comes here: the cache knows it by its hash alone, and would serve a forged one as little as any other that
/// nobody presented before; but the request for a token that is not cached hands it on as it is.
///
/// ```
/// use cache_core::secret::Secret;
/// use flows::request::on_behalf_of::UserAssertion;
///
/// # let authorization = "Bearer e30.e30.e30";
/// // The token that the caller presented, after it was checked.
/// let presented = authorization.strip_prefix("Bearer ").unwrap_or_default();
/// let assertion = UserAssertion::jwt(Secret::new(presented));
/// # let _ = assertion;
/// ```
#[derive(Clone)]
pub struct UserAssertion {
    assertion: Secret,
    grant: &'static str,
}

impl UserAssertion {
    /// An access token for this service, without `Bearer`. An ID token is none, and Entra refuses it.
    #[must_use]
    pub fn jwt(assertion: Secret) -> Self {
        Self {
            assertion,
            grant: JWT_BEARER,
        }
    }

    /// A SAML 2.0 assertion: the XML element as the user's identity provider signed it, not encoded.
    #[must_use]
    pub fn saml2(assertion: Secret) -> Self {
        Self {
            assertion,
            grant: SAML2_BEARER,
        }
    }

    /// Its SHA-256, by which the cache knows it (MSAL's suggested cache key).
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.assertion.sha256()
    }
}

impl fmt::Debug for UserAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAssertion")
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// Whether a refresh token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// No: the assertion is presented again when the token has expired.
    Assertion,
    /// Yes: the session goes on without the user.
    LongRunning,
}

/// Asks for a token on behalf of the user of `assertion`. The reply names the account.
pub fn request(assertion: &UserAssertion, scopes: ScopeSet, lifetime: Lifetime) -> TokenRequest {
    let mut sent = user_scopes(&scopes);
    // A refresh token that nobody will spend is a secret too many.
    if lifetime == Lifetime::Assertion && !scopes.contains("offline_access") {
        sent = ScopeSet::of(
            sent.as_str()
                .split(' ')
                .filter(|scope| *scope != "offline_access"),
        );
    }
    let mut request = TokenRequest::new(assertion.grant, scopes, Subject::NewUser { nonce: None });
    request.form.push("requested_token_use", "on_behalf_of");
    if assertion.grant == SAML2_BEARER {
        let encoded = URL_SAFE_NO_PAD.encode(assertion.assertion.expose());
        request.form.push_secret("assertion", &Secret::new(encoded));
    } else {
        request.form.push_secret("assertion", &assertion.assertion);
    }
    request.form.push("scope", sent.as_str());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(assertion: &UserAssertion, lifetime: Lifetime) -> String {
        let request = request(assertion, ScopeSet::parse("api://next/read"), lifetime);
        String::from_utf8(request.form.into_bytes().expose().to_vec()).unwrap()
    }

    #[test]
    fn a_jwt_goes_as_it_is_and_a_saml_assertion_in_base64url() {
        let jwt = UserAssertion::jwt(Secret::new("a.b.c"));
        assert_eq!(
            form(&jwt, Lifetime::Assertion),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&requested_token_use=on_behalf_of\
             &assertion=a.b.c&scope=api%3A%2F%2Fnext%2Fread+openid+profile"
        );
        let saml = UserAssertion::saml2(Secret::new("<a>?</a>"));
        assert_eq!(
            form(&saml, Lifetime::LongRunning),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Asaml2-bearer&requested_token_use=on_behalf_of\
             &assertion=PGE-PzwvYT4&scope=api%3A%2F%2Fnext%2Fread+openid+profile+offline_access"
        );
    }

    #[test]
    fn an_assertion_is_not_printed() {
        let assertion = UserAssertion::jwt(Secret::new("canary"));
        assert!(!format!("{assertion:?}").contains("canary"));
    }
}
