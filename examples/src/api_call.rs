//! A call to the protected API for a user: the token, the call, and the answer to what the API refuses.

use cache_core::cache::CachedAccount;
use flows::client::ConfidentialClient;
use flows::{AuthenticationResult, Error};

use crate::protected_api::{ApiAnswer, ProtectedApi, ProtectedApiError};

/// How a call ended.
#[derive(Debug)]
pub enum Called {
    /// The API answered.
    Answered {
        /// What it said.
        body: String,
        /// The token that it took. It is for the log: where it came from, until when it is good.
        token: Box<AuthenticationResult>,
    },
    /// The API refused with this status, and no other token would change that.
    Refused(u16),
    /// Only the user can help: by a sign-in, with these claims if there are any.
    NeedsUser {
        /// A JSON object for the authorization request.
        claims: Option<String>,
    },
}

/// Why a call did not end.
#[derive(Debug, thiserror::Error)]
pub enum ApiCallError {
    /// There was no token, for a reason that is not the user's to mend.
    #[error("no token could be acquired")]
    Token(#[source] Box<Error>),
    /// The API did not answer.
    #[error(transparent)]
    Api(#[from] ProtectedApiError),
}

/// Calls `api` for the user of `account` with a token for `scopes`, silently.
///
/// The cache serves a token until it expires, and cannot know that the API changed its mind before. So an API may refuse one
/// (401), and gets another, **once**: with the claims that it demands (a claims challenge), or any that is not the
/// refused one. An API that refuses that too would refuse a hundred.
///
/// # Errors
/// [`ApiCallError`].
pub async fn call_api(
    client: &ConfidentialClient,
    account: &CachedAccount,
    scopes: &[String],
    api: &ProtectedApi,
) -> Result<Called, ApiCallError> {
    let silent = || client.acquire_token_silent(scopes).account(account);
    let token = match silent().await {
        Ok(token) => token,
        Err(error) => return needs_user(error),
    };
    let challenge = match api.ask(&token).await? {
        ApiAnswer::Challenged(challenge) => challenge,
        other => return Ok(called(other, token)),
    };
    let again = match &challenge {
        Some(challenge) if challenge.claims().is_some() => silent().challenge(challenge),
        // One that another task or process got meanwhile will do, so a hundred refusals cost one refresh.
        _ => silent().instead_of(token.access_token()),
    };
    let token = match again.await {
        Ok(token) => token,
        Err(error) => {
            // The authority may have demands of its own by now; else the API's are what the user has to meet.
            let asked = challenge.and_then(|challenge| challenge.claims().map(str::to_owned));
            return match needs_user(error)? {
                Called::NeedsUser { claims } => Ok(Called::NeedsUser {
                    claims: claims.or(asked),
                }),
                other => Ok(other),
            };
        }
    };
    Ok(called(api.ask(&token).await?, token))
}

fn called(answer: ApiAnswer, token: AuthenticationResult) -> Called {
    match answer {
        ApiAnswer::Answered(body) => Called::Answered {
            body,
            token: Box::new(token),
        },
        ApiAnswer::Refused(status) => Called::Refused(status),
        // A silent token cannot have what is demanded. One of a new sign-in may.
        ApiAnswer::Challenged(Some(challenge)) if challenge.claims().is_some() => Called::NeedsUser {
            claims: challenge.claims().map(str::to_owned),
        },
        ApiAnswer::Challenged(_) => Called::Refused(401),
    }
}

fn needs_user(error: Error) -> Result<Called, ApiCallError> {
    match error {
        Error::InteractionRequired(required) => Ok(Called::NeedsUser {
            claims: required.claims().map(str::to_owned),
        }),
        error => Err(ApiCallError::Token(Box::new(error))),
    }
}
