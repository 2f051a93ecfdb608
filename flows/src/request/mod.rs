//! The grants: what each one asks, and what it makes of the answer.
//!
//! One file a grant, and each of them is pure: it builds a form or a URL and judges a reply. Sending is the
//! business of [`TokenEndpoint`](crate::TokenEndpoint), so no file here knows a socket or a clock.

pub mod authorization_code;
mod client_auth;
pub mod client_credentials;
pub mod device_code;
pub mod on_behalf_of;
pub mod password;
pub mod refresh_token;
pub(crate) mod revocation;
pub mod token_exchange;

use std::time::Duration;

use cache_core::schema::{ScopeSet, TokenContext};

use crate::http::Form;
use crate::response::Subject;

pub(crate) use client_auth::Authentication;
pub use client_auth::{
    AssertionRequest, ClientAssertionError, ClientAssertionProvider, ClientCertificate, ClientIdentity,
    FederatedTokenFile, SecretMethod, WorkloadIdentity,
};

/// What makes a reply carry an ID token and a refresh token.
const USER_SCOPES: [&str; 3] = ["openid", "profile", "offline_access"];

/// A request to a token endpoint, complete but for the client's authentication.
///
/// ```
/// use cache_core::schema::ScopeSet;
/// use flows::authority::Authority;
/// use flows::request::{ClientIdentity, client_credentials};
/// # use cache_core::secret::Secret;
///
/// # fn main() -> Result<(), flows::Error> {
/// let authority = Authority::oidc("https://id.example/")?;
/// let client = ClientIdentity::with_secret("my-server", Secret::new("secret"))?;
/// let request = client_credentials::request(&authority, &client, ScopeSet::parse("api:read"))?
///     .parameter("resource", "https://api.example/");
/// # let _ = request; Ok(()) }
/// ```
#[must_use = "it does nothing until it is sent"]
pub struct TokenRequest {
    /// The grant type, by which a request is known in logs and metrics.
    pub(crate) grant: &'static str,
    pub(crate) form: Form,
    /// What the caller asked for: the granted scopes, where the reply names none.
    pub(crate) scopes: ScopeSet,
    pub(crate) subject: Subject,
    pub(crate) context: TokenContext,
    /// The claims that the caller asks for; the client's capabilities are added when it is sent.
    pub(crate) claims: Option<String>,
    /// How long ago the user may have signed in, where the sign-in was begun with `max_age`.
    pub(crate) max_age: Option<Duration>,
}

impl TokenRequest {
    fn new(grant: &'static str, scopes: ScopeSet, subject: Subject) -> Self {
        let mut form = Form::new();
        form.push("grant_type", grant);
        Self {
            grant,
            form,
            scopes,
            subject,
            context: TokenContext::default(),
            claims: None,
            max_age: None,
        }
    }

    /// Sets a claims request, as an authority or a resource demanded it: a JSON object (OIDC Core section 5.5). None where it
    /// is empty.
    pub fn claims(mut self, claims: &str) -> Self {
        self.claims = Some(claims)
            .filter(|claims| !claims.is_empty())
            .map(str::to_owned);
        self
    }

    /// Says what else sets the tokens of this request apart in the cache.
    pub fn context(mut self, context: TokenContext) -> Self {
        self.context = context;
        self
    }

    /// Adds a parameter that the grant does not know, such as `resource` or `audience`. Put what changes the token
    /// into the [`context`](Self::context) too, else a later request may be served the wrong one.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.form.push(name, value);
        self
    }
}

/// `scopes` and `openid`, `profile` and `offline_access`, each once: without them a user's sign-in brings neither an
/// account nor a refresh token. MSAL adds the same.
#[must_use]
pub fn user_scopes(scopes: &ScopeSet) -> ScopeSet {
    let missing = USER_SCOPES
        .iter()
        .copied()
        .filter(|scope| !scopes.contains(scope));
    ScopeSet::of(std::iter::once(scopes.as_str()).chain(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_scopes_are_added_once() {
        let added = user_scopes(&ScopeSet::parse("openid User.Read"));
        assert_eq!(added.as_str(), "openid User.Read profile offline_access");
        assert_eq!(user_scopes(&added), added);
        assert_eq!(
            user_scopes(&ScopeSet::default()).as_str(),
            "openid profile offline_access"
        );
    }
}
