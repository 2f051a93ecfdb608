//! The authorization response: what the browser brings back, which anybody may have made up.

use std::fmt;

use cache_core::secret::Secret;
use url::form_urlencoded;

use crate::authority::{Authority, Metadata};
use crate::error::Error;
use crate::response::by_redirect;

/// A code to redeem, once and soon.
pub struct AuthorizationCode(Secret);

impl AuthorizationCode {
    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for AuthorizationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorizationCode([redacted])")
    }
}

/// Why a response does not belong to the sign-in that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorizationResponseError {
    /// `state` is missing or another: somebody else's response, or a forgery.
    #[error("the response does not belong to this sign-in (state)")]
    State,
    /// `iss` is another issuer, or missing where the authority promises it (RFC 9207): a mix-up attack.
    #[error("the response is from another issuer, or does not say from which")]
    Issuer,
    /// A parameter occurs twice, so that two readers could see different ones (RFC 6749 section 3.1).
    #[error("the response has a parameter twice")]
    Repeated,
    /// There is neither a code nor an error.
    #[error("the response has neither a code nor an error")]
    NoCode,
}

#[derive(Default)]
struct Parameters {
    state: Option<Secret>,
    code: Option<Secret>,
    iss: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl Parameters {
    fn parse(response: &str) -> Result<Self, AuthorizationResponseError> {
        let mut parameters = Self::default();
        for (name, value) in form_urlencoded::parse(query(response).as_bytes()) {
            let value = value.into_owned();
            let repeated = match &*name {
                "state" => parameters.state.replace(Secret::new(value)).is_some(),
                "code" => parameters.code.replace(Secret::new(value)).is_some(),
                "iss" => parameters.iss.replace(value).is_some(),
                "error" => parameters.error.replace(value).is_some(),
                "error_description" => parameters.description.replace(value).is_some(),
                _ => false,
            };
            if repeated {
                return Err(AuthorizationResponseError::Repeated);
            }
        }
        Ok(parameters)
    }
}

/// The query of a URL or of a path, or the text itself where it is a query or a form already.
fn query(response: &str) -> &str {
    let response = response.split_once('#').map_or(response, |(before, _)| before);
    let is_address = response.starts_with('/')
        || response
            .split(['?', '&', '='])
            .next()
            .is_some_and(|text| text.contains("://"));
    match response.split_once('?') {
        Some((before, query)) if is_address || before.is_empty() => query,
        None if is_address => "",
        _ => response,
    }
}

pub(super) fn accept(
    authority: &Authority,
    metadata: &Metadata,
    state: &Secret,
    response: &str,
) -> Result<AuthorizationCode, Error> {
    let parameters = Parameters::parse(response)?;
    // Before anything else, an error included: without the state it is not known whose response this is. The
    // comparison of secrets takes constant time. A web session that lost its state must not match `state=`.
    if state.is_empty() || parameters.state.as_ref() != Some(state) {
        return Err(AuthorizationResponseError::State.into());
    }
    match &parameters.iss {
        Some(iss) if !metadata.issuer.could_be(iss) => return Err(AuthorizationResponseError::Issuer.into()),
        None if metadata.authorization_response_iss => return Err(AuthorizationResponseError::Issuer.into()),
        _ => {}
    }
    if let Some(error) = &parameters.error {
        return Err(by_redirect(authority.kind(), error, parameters.description.as_deref()).into());
    }
    match parameters.code {
        Some(code) if !code.is_empty() => Ok(AuthorizationCode(code)),
        _ => Err(AuthorizationResponseError::NoCode.into()),
    }
}
