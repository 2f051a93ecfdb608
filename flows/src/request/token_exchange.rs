//! One token for another (RFC 8693).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::schema::ScopeSet;
use cache_core::secret::Secret;

use super::TokenRequest;
use crate::response::Subject;

/// The grant type (RFC 8693 section 2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What a token that is given in exchange is (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubjectTokenType {
    /// An access token of this issuer.
    AccessToken,
    /// A refresh token of this issuer.
    RefreshToken,
    /// An ID token.
    IdToken,
    /// Any JWT.
    Jwt,
    /// A SAML 1.1 assertion, in base64url.
    Saml1,
    /// A SAML 2.0 assertion, in base64url.
    Saml2,
}

impl SubjectTokenType {
    /// The identifier that is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::RefreshToken => "urn:ietf:params:oauth:token-type:refresh_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::Saml1 => "urn:ietf:params:oauth:token-type:saml1",
            Self::Saml2 => "urn:ietf:params:oauth:token-type:saml2",
        }
    }
}

/// What is asked for in exchange: only what can be presented to a resource is kept in a cache of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestedTokenType {
    /// An access token.
    AccessToken,
    /// A JWT.
    Jwt,
}

impl RequestedTokenType {
    /// The identifier that is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => SubjectTokenType::AccessToken.as_str(),
            Self::Jwt => SubjectTokenType::Jwt.as_str(),
        }
    }
}

/// What is given, and what is asked for.
///
/// ```
/// use cache_core::schema::ScopeSet;
/// use cache_core::secret::Secret;
/// use flows::request::token_exchange::{RequestedTokenType, SubjectTokenType, TokenExchange};
///
/// let exchange = TokenExchange::new(Secret::new("presented"), SubjectTokenType::AccessToken)
///     .actor(Secret::new("mine"), SubjectTokenType::Jwt)
///     .requested_token_type(RequestedTokenType::AccessToken)
///     .audience("billing");
/// let request = exchange.request(ScopeSet::parse("invoices:read"));
/// # let _ = request;
/// ```
#[derive(Clone)]
pub struct TokenExchange {
    subject: (Secret, SubjectTokenType),
    actor: Option<(Secret, SubjectTokenType)>,
    requested: Option<RequestedTokenType>,
    resource: Option<String>,
    audience: Option<String>,
}

impl TokenExchange {
    /// The exchange of `subject_token`, which says for whom the new token is.
    #[must_use]
    pub fn new(subject_token: Secret, subject_token_type: SubjectTokenType) -> Self {
        Self {
            subject: (subject_token, subject_token_type),
            actor: None,
            requested: None,
            resource: None,
            audience: None,
        }
    }

    /// Adds the token of the party that acts for the subject.
    #[must_use]
    pub fn actor(mut self, token: Secret, token_type: SubjectTokenType) -> Self {
        self.actor = Some((token, token_type));
        self
    }

    /// Sets what is asked for; else the issuer decides.
    #[must_use]
    pub fn requested_token_type(mut self, requested: RequestedTokenType) -> Self {
        self.requested = Some(requested);
        self
    }

    /// Sets where the token is to be used: a URI (RFC 8707).
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Sets where the token is to be used: the name that the issuer knows the service by.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    pub(crate) fn asked_resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    pub(crate) fn asked_audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    pub(crate) fn asked_token_type(&self) -> Option<RequestedTokenType> {
        self.requested
    }

    /// A hash of what is given, by which the cache knows it. It never equals that of an on-behalf-of assertion.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let part = |(token, kind): &(Secret, SubjectTokenType)| {
            format!("{} {}", kind.as_str(), URL_SAFE_NO_PAD.encode(token.sha256()))
        };
        let actor = self.actor.as_ref().map(part).unwrap_or_default();
        Secret::new(format!("token-exchange {} {actor}", part(&self.subject))).sha256()
    }

    /// The request for `scopes`. A reply without an ID token names no account, and is taken all the same.
    pub fn request(&self, scopes: ScopeSet) -> TokenRequest {
        let subject = Subject::Exchanged {
            requested: self.requested.map(RequestedTokenType::as_str),
        };
        let mut request = TokenRequest::new(TOKEN_EXCHANGE, scopes, subject);
        let form = &mut request.form;
        form.push_secret("subject_token", &self.subject.0);
        form.push("subject_token_type", self.subject.1.as_str());
        if let Some((token, kind)) = &self.actor {
            form.push_secret("actor_token", token);
            form.push("actor_token_type", kind.as_str());
        }
        if let Some(requested) = self.requested {
            form.push("requested_token_type", requested.as_str());
        }
        form.push_unless_empty("resource", self.resource.as_deref().unwrap_or_default());
        form.push_unless_empty("audience", self.audience.as_deref().unwrap_or_default());
        form.push_unless_empty("scope", request.scopes.as_str());
        request
    }
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenExchange")
            .field("subject_token_type", &self.subject.1)
            .field("actor_token_type", &self.actor.as_ref().map(|actor| actor.1))
            .field("requested", &self.requested)
            .field("resource", &self.resource)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> TokenExchange {
        TokenExchange::new(Secret::new("canary-subject"), SubjectTokenType::AccessToken)
    }

    #[test]
    fn the_form_has_what_was_given_and_nothing_is_printed() {
        let exchange = exchange()
            .actor(Secret::new("canary-actor"), SubjectTokenType::Jwt)
            .requested_token_type(RequestedTokenType::AccessToken)
            .resource("https://api.example/")
            .audience("api");
        let form = exchange.request(ScopeSet::parse("read")).form.into_bytes();
        assert_eq!(
            String::from_utf8(form.expose().to_vec()).unwrap(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=canary-subject\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&actor_token=canary-actor\
             &actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &resource=https%3A%2F%2Fapi.example%2F&audience=api&scope=read"
        );
        assert!(!format!("{exchange:?}").contains("canary"));
    }

    #[test]
    fn the_hash_tells_subjects_actors_and_their_types_apart() {
        let with_actor = |token: &str, kind| exchange().actor(Secret::new(token), kind).hash();
        let hashes = [
            exchange().hash(),
            TokenExchange::new(Secret::new("canary-subject"), SubjectTokenType::Jwt).hash(),
            with_actor("a", SubjectTokenType::Jwt),
            with_actor("b", SubjectTokenType::Jwt),
            with_actor("a", SubjectTokenType::AccessToken),
            Secret::new("canary-subject").sha256(),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(hashes[..index].iter().all(|other| other != hash), "{index}");
        }
    }
}
