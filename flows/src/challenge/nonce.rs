//! Nonces that a server wants to see in the next proof.

use super::parser::parameters;
use super::{Challenge, ChallengeError};

/// The nonce in a challenge of `scheme`, such as `PoP` or `DPoP`, among the values of a reply's `WWW-Authenticate` headers.
/// (A DPoP server also sends it in a `DPoP-Nonce` header, RFC 9449 section 8, which needs no parser.)
///
/// # Errors
/// [`ChallengeError`] when a header cannot be read.
pub fn nonce<I>(headers: I, scheme: &str) -> Result<Option<String>, ChallengeError>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    Ok(Challenge::parse(headers)?
        .iter()
        .filter(|challenge| challenge.is(scheme))
        .find_map(|challenge| challenge.parameter("nonce"))
        .filter(|nonce| !nonce.is_empty())
        .map(str::to_owned))
}

/// The nonce for the next request, in the value of a reply's `Authentication-Info` header (`nextnonce`, RFC 7615 section 3).
///
/// # Errors
/// [`ChallengeError`] when the header cannot be read.
pub fn next_nonce(authentication_info: &str) -> Result<Option<String>, ChallengeError> {
    Ok(parameters(authentication_info)?
        .into_iter()
        .find(|(name, value)| name == "nextnonce" && !value.is_empty())
        .map(|(_, value)| value))
}
