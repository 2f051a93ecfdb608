//! Sign-in in a browser (RFC 6749 section 4.1, with PKCE always).
//!
//! [`AuthorizationRequest`] builds the URL and the secrets that bind it; [`PendingAuthorization`] is what has to be
//! kept until the browser comes back, and it judges the answer; [`AuthorizationCode`] is redeemed for tokens.

mod pkce;
mod pushed;
mod response;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::random::{Random, RandomError, random_bytes};
use cache_core::schema::{AuthorityKind, ScopeSet};
use cache_core::secret::Secret;
use cache_core::time::UnixMillis;
use url::Url;
use zeroize::Zeroizing;

use super::{TokenRequest, user_scopes};
use crate::authority::{Authority, Metadata};
use crate::challenge::ClientCapabilities;
use crate::error::{ConfigurationError, DiscoveryError, DiscoveryErrorKind, Error};
use crate::response::Subject;

pub use response::{AuthorizationCode, AuthorizationResponseError};

/// What to ask of the user at the authorization endpoint.
///
/// ```
/// use cache_core::random::OsRandom;
/// use cache_core::schema::ScopeSet;
/// use flows::authority::{Authority, Metadata};
/// use flows::request::authorization_code::{AuthorizationRequest, Prompt};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = Authority::detect("https://login.microsoftonline.com/common")?;
/// let metadata = Metadata::by_convention(&authority).ok_or("needs discovery")?;
/// let pending = AuthorizationRequest::new("my-client", "https://app.example/signed-in", ScopeSet::parse("User.Read"))
///     .login_hint("ada@contoso.com")
///     .prompt(Prompt::SelectAccount)
///     .begin(&authority, &metadata, &OsRandom)?;
/// let browser_goes_to = pending.url();
/// # assert!(browser_goes_to.as_str().contains("code_challenge_method=S256"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it is begun"]
pub struct AuthorizationRequest {
    client_id: String,
    redirect_uri: String,
    scopes: ScopeSet,
    claims: Option<String>,
    capabilities: ClientCapabilities,
    max_age: Option<Duration>,
    /// Optional parameters, in the order in which they were given.
    parameters: Vec<(String, String)>,
    /// Whether the request is handed in first; `None` for as the issuer requires it.
    pushed: Option<bool>,
}

/// Parameters that only [`AuthorizationRequest::begin`] sets: a second one would contradict what is checked later.
const RESERVED: [&str; 13] = [
    "client_id",
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "client_info",
    "claims",
    "max_age",
    "request",
    "request_uri",
];

impl AuthorizationRequest {
    /// A request by the client for `scopes` and an account; the browser comes back to `redirect_uri`, which the
    /// client was registered with.
    pub fn new(client_id: impl Into<String>, redirect_uri: impl Into<String>, scopes: ScopeSet) -> Self {
        Self {
            client_id: client_id.into(),
            redirect_uri: redirect_uri.into(),
            scopes,
            claims: None,
            capabilities: ClientCapabilities::default(),
            max_age: None,
            parameters: Vec::new(),
            pushed: None,
        }
    }

    /// Who is probably signing in, to save typing.
    pub fn login_hint(self, hint: &str) -> Self {
        self.parameter("login_hint", hint)
    }

    /// Which organisation the user belongs to, to skip a choice (Entra).
    pub fn domain_hint(self, hint: &str) -> Self {
        self.parameter("domain_hint", hint)
    }

    /// What the user is asked.
    pub fn prompt(self, prompt: Prompt) -> Self {
        self.parameter("prompt", prompt.as_str())
    }

    /// A claims request, as an authority or a resource demanded it: a JSON object (OIDC Core section 5.5). None where it is
    /// empty.
    pub fn claims(mut self, claims: &str) -> Self {
        self.claims = Some(claims)
            .filter(|claims| !claims.is_empty())
            .map(str::to_owned);
        self
    }

    /// How long ago the user may have signed in (`max_age`, whole seconds); the ID token has to say that it is so.
    pub fn max_age(mut self, limit: Duration) -> Self {
        self.max_age = Some(limit);
        self
    }

    /// What the client can handle, which is sent with the claims.
    pub(crate) fn capabilities(mut self, capabilities: ClientCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// How the response comes: `query` unless set, or `form_post`, which keeps the code out of histories and logs.
    pub fn response_mode(self, mode: ResponseMode) -> Self {
        self.parameter("response_mode", mode.as_str())
    }

    /// Hands the request in at the authority before the browser is sent (RFC 9126), so that nobody can read or
    /// change it on the way. Unless set, this is done where the issuer requires it.
    ///
    /// The clients do it. Who calls [`begin`](Self::begin) gives the result to
    /// [`TokenEndpoint::push_authorization`](crate::TokenEndpoint::push_authorization) if it
    /// [asks for that](PendingAuthorization::is_to_be_pushed).
    pub fn pushed(mut self, pushed: bool) -> Self {
        self.pushed = Some(pushed);
        self
    }

    /// Any other parameter.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Refuses a request that was made for another client.
    pub(crate) fn check_client(&self, client_id: &str) -> Result<(), ConfigurationError> {
        if self.client_id == client_id {
            return Ok(());
        }
        Err(ConfigurationError::new(
            "the authorization request was made for another client",
        ))
    }

    /// Draws the state, the nonce and the code verifier, and builds the URL.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a redirect URI that is no URL and for a parameter that is set here;
    /// [`Error::Discovery`] when the authority has no authorization endpoint or refuses S256; [`Error::Random`].
    pub fn begin(
        self,
        authority: &Authority,
        metadata: &Metadata,
        random: &dyn Random,
    ) -> Result<PendingAuthorization, Error> {
        let refused = |kind| DiscoveryError::new(kind, authority.environment());
        let mut url = metadata
            .authorization_endpoint
            .clone()
            .ok_or_else(|| refused(DiscoveryErrorKind::NotOffered("authorization_endpoint")))?;
        if !metadata.accepts_s256() {
            return Err(refused(DiscoveryErrorKind::NoS256).into());
        }
        Url::parse(&self.redirect_uri)
            .map_err(|error| ConfigurationError::new("the redirect URI is not a URL").with_source(error))?;
        if let Some((name, _)) = self
            .parameters
            .iter()
            .find(|(name, _)| RESERVED.contains(&name.as_str()))
        {
            return Err(ConfigurationError::new(format!("the parameter `{name}` cannot be chosen")).into());
        }
        let claims = self.capabilities.parameter(self.claims.as_deref())?;
        let is_to_be_pushed = self
            .pushed
            .unwrap_or(metadata.require_pushed_authorization_requests);
        // What the endpoint's own address says stays in the address when the request is pushed.
        let own_parameters = url.query_pairs().count();
        let state = random_text(random)?;
        let nonce = random_text(random)?;
        let verifier = pkce::Verifier::random(random)?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", &self.client_id)
                .append_pair("response_type", "code")
                .append_pair("redirect_uri", &self.redirect_uri)
                .append_pair("scope", user_scopes(&self.scopes).as_str())
                .append_pair("state", state.expose())
                .append_pair("nonce", nonce.expose())
                .append_pair("code_challenge", &verifier.challenge())
                .append_pair("code_challenge_method", "S256");
            if authority.kind().honours_client_info() {
                query.append_pair("client_info", "1");
            }
            if let Some(claims) = &claims {
                query.append_pair("claims", claims);
            }
            if let Some(max_age) = self.max_age {
                query.append_pair("max_age", &max_age.as_secs().to_string());
            }
            for (name, value) in &self.parameters {
                query.append_pair(name, value);
            }
        }
        Ok(PendingAuthorization {
            url,
            own_parameters,
            is_to_be_pushed,
            expires_on: None,
            parts: PendingParts {
                state,
                nonce,
                code_verifier: verifier.into_secret(),
                redirect_uri: self.redirect_uri,
                scopes: self.scopes,
                max_age: self.max_age,
            },
        })
    }
}

/// The hints are personal data, so the parameters are named and not shown.
impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("AuthorizationRequest")
            .field("client_id", &self.client_id)
            .field("redirect_uri", &self.redirect_uri)
            .field("scopes", &self.scopes)
            .field("parameters", &names)
            .finish()
    }
}

/// What the user is asked (OIDC Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prompt {
    /// Nothing: an error comes back where anything would have to be asked.
    None,
    /// To sign in, even with a session.
    Login,
    /// To consent.
    Consent,
    /// To choose an account.
    SelectAccount,
    /// To create an account.
    Create,
}

impl Prompt {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
            Self::Create => "create",
        }
    }
}

/// How the browser brings the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseMode {
    /// In the query of a GET.
    Query,
    /// In the body of a POST.
    FormPost,
}

impl ResponseMode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::FormPost => "form_post",
        }
    }
}

/// A sign-in that waits for the browser to come back.
///
/// Keep it where only this user's browser can reach it: in the process, or in the server side of the web
/// session, as its [`parts`](Self::into_parts). Use it once.
pub struct PendingAuthorization {
    url: Url,
    /// How many parameters of the URL belong to the endpoint's address.
    own_parameters: usize,
    is_to_be_pushed: bool,
    expires_on: Option<UnixMillis>,
    parts: PendingParts,
}

/// What a web application stores between the two requests of a sign-in. All three secrets must come back unchanged.
pub struct PendingParts {
    /// Binds the response to the browser that began.
    pub state: Secret,
    /// Binds the ID token to this sign-in.
    pub nonce: Secret,
    /// Binds the code to whoever began (RFC 7636).
    pub code_verifier: Secret,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// What was asked for.
    pub scopes: ScopeSet,
    /// How long ago the user may have signed in, where that was asked for.
    pub max_age: Option<Duration>,
}

impl PendingAuthorization {
    /// Where to send the browser.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What to store until the browser comes back.
    #[must_use]
    pub fn into_parts(self) -> PendingParts {
        self.parts
    }

    /// As [`PendingParts::accept`].
    ///
    /// # Errors
    /// As [`PendingParts::accept`].
    pub fn accept(
        &self,
        authority: &Authority,
        metadata: &Metadata,
        response: &str,
    ) -> Result<AuthorizationCode, Error> {
        self.parts.accept(authority, metadata, response)
    }

    /// As [`PendingParts::token_request`].
    pub fn token_request(&self, authority: &Authority, code: &AuthorizationCode) -> TokenRequest {
        self.parts.token_request(authority, code)
    }
}

impl PendingParts {
    /// Judges the authorization response: the URL that the browser came back to, its query, or the posted form.
    ///
    /// # Errors
    /// [`Error::AuthorizationResponse`] when it does not belong to this sign-in; only then should a listener keep
    /// waiting. [`Error::Authority`] or [`Error::InteractionRequired`] when the authority refused.
    pub fn accept(
        &self,
        authority: &Authority,
        metadata: &Metadata,
        response: &str,
    ) -> Result<AuthorizationCode, Error> {
        response::accept(authority, metadata, &self.state, response)
    }

    /// The request that redeems `code`.
    pub fn token_request(&self, authority: &Authority, code: &AuthorizationCode) -> TokenRequest {
        let subject = Subject::NewUser {
            nonce: Some(self.nonce.clone()),
        };
        let mut request = TokenRequest::new("authorization_code", self.scopes.clone(), subject);
        request.max_age = self.max_age;
        request.form.push_secret("code", code.secret());
        request.form.push("redirect_uri", &self.redirect_uri);
        request.form.push_secret("code_verifier", &self.code_verifier);
        // Elsewhere the scopes were settled at the authorization endpoint, and the parameter is not defined.
        if authority.kind() != AuthorityKind::Oidc {
            request.form.push("scope", user_scopes(&self.scopes).as_str());
        }
        request
    }
}

impl fmt::Debug for PendingAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.fmt(f)
    }
}

impl fmt::Debug for PendingParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingAuthorization")
            .field("redirect_uri", &self.redirect_uri)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// 256 random bits as base64url.
fn random_text(random: &dyn Random) -> Result<Secret, RandomError> {
    let bytes = Zeroizing::new(random_bytes::<32>(random)?);
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

#[cfg(test)]
mod tests;
