//! What a resource says of a bearer token that it refuses (RFC 6750 section 3, and Entra's claims challenge).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{Challenge, ChallengeError};
use crate::display_text::display_text;

/// A resource's refusal of a bearer token.
///
/// ```no_run
/// use cache_core::cache::CachedAccount;
/// use flows::Error;
/// use flows::challenge::BearerChallenge;
/// use flows::client::PublicClient;
///
/// # async fn again(client: PublicClient, account: CachedAccount, headers: Vec<String>) -> Result<(), Error> {
/// // The resource answered 401; `headers` are the values of its WWW-Authenticate headers.
/// if let Some(challenge) = BearerChallenge::find(&headers)? {
///     let result = client.acquire_token_silent(["User.Read"]).account(&account).challenge(&challenge).await?;
///     // … and ask the resource once more, with the new token.
/// #   let _ = result;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BearerChallenge {
    /// Why: `invalid_token`, `insufficient_scope`, `insufficient_claims`.
    pub error: Option<String>,
    /// The same for people, cleaned for display.
    pub error_description: Option<String>,
    /// The scopes that a token needs.
    pub scope: Option<String>,
    /// What is protected.
    pub realm: Option<String>,
    /// Where the resource believes its tokens to be issued. Show it or compare it, but send nothing there: it comes from
    /// whoever answered for the resource.
    pub authorization_uri: Option<String>,
    claims: Option<String>,
}

impl BearerChallenge {
    /// How many bytes of JSON claims may be.
    pub const MOST_CLAIMS: usize = 16 * 1024;

    /// The bearer challenge in the values of a reply's `WWW-Authenticate` headers: the one that asks for claims where there are
    /// several.
    ///
    /// # Errors
    /// [`ChallengeError`] when a header cannot be read, or claims are no JSON object in base64.
    pub fn find<I>(headers: I) -> Result<Option<Self>, ChallengeError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut found: Option<Self> = None;
        for challenge in Challenge::parse(headers)? {
            if !challenge.is("Bearer") {
                continue;
            }
            let read = Self::read(&challenge)?;
            if found
                .as_ref()
                .is_none_or(|first| first.claims.is_none() && read.claims.is_some())
            {
                found = Some(read);
            }
        }
        Ok(found)
    }

    /// The claims that the next token must be asked for with: a JSON object. Only `insufficient_claims` asks for any.
    #[must_use]
    pub fn claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }

    fn read(challenge: &Challenge) -> Result<Self, ChallengeError> {
        let text = |name: &str| challenge.parameter(name).filter(|text| !text.is_empty());
        let error = text("error").map(display_text);
        let claims = match text("claims") {
            Some(encoded) if error.as_deref() == Some("insufficient_claims") => Some(claims(encoded)?),
            _ => None,
        };
        Ok(Self {
            error,
            error_description: text("error_description").map(display_text),
            scope: text("scope").map(display_text),
            realm: text("realm").map(display_text),
            authorization_uri: text("authorization_uri").map(display_text),
            claims,
        })
    }
}

/// Claims may name people and devices, so they are not shown.
impl std::fmt::Debug for BearerChallenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BearerChallenge")
            .field("error", &self.error)
            .field("scope", &self.scope)
            .field("has_claims", &self.claims.is_some())
            .finish_non_exhaustive()
    }
}

/// The JSON in `encoded`: base64 of either alphabet, padded or not. Some resources send the JSON as it is.
fn claims(encoded: &str) -> Result<String, ChallengeError> {
    if encoded.len() > BearerChallenge::MOST_CLAIMS * 4 / 3 + 4 {
        return Err(ChallengeError::TooLong);
    }
    let bare = encoded.trim_end_matches('=');
    let json = if encoded.trim_start().starts_with('{') {
        encoded.to_owned()
    } else {
        let bytes = URL_SAFE_NO_PAD
            .decode(bare)
            .or_else(|_| STANDARD_NO_PAD.decode(bare))
            .map_err(|_| ChallengeError::Claims)?;
        String::from_utf8(bytes).map_err(|_| ChallengeError::Claims)?
    };
    match serde_json::from_str(&json) {
        Ok(Value::Object(_)) => Ok(json),
        _ => Err(ChallengeError::Claims),
    }
}
