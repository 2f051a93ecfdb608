//! Which client is asking, and whether it proves it: a secret, a signed assertion, or neither.

use subtle::ConstantTimeEq as _;

use super::directory::Client;
use super::refusal::Refusal;
use super::request::IncomingRequest;
use super::signing::Claims;
use super::state::{Core, RegisteredClient};

/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion may live, in seconds.
const LONGEST: u64 = 600;

/// Authenticates the client of a token request.
pub(super) fn authenticate<'a>(core: &'a Core, request: &IncomingRequest) -> Result<&'a Client, Refusal> {
    let parameters = &request.parameters;
    let assertion = parameters.get("client_assertion");
    let client_id = request
        .client_id()
        .ok_or_else(|| Refusal::missing_parameter("client_id"))?;
    let registered = core.directory.client(client_id)?;
    let client = &registered.client;
    let basic = request
        .basic
        .as_ref()
        .map(|(_, secret)| secret.as_str())
        .filter(|secret| !secret.is_empty());
    let secret = parameters.get("client_secret").or(basic);

    match (client.is_confidential(), secret, assertion) {
        (false, None, None) => Ok(client),
        (false, _, _) => {
            let text =
                "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
            Err(Refusal::invalid_client(700_025, text))
        }
        (true, _, Some(assertion)) => {
            if parameters.get("client_assertion_type") != Some(JWT_BEARER) {
                return Err(Refusal::missing_parameter("client_assertion_type"));
            }
            check_assertion(core, request, registered, assertion).map(|()| client)
        }
        (true, Some(secret), None) => {
            let expected = client.secret.as_deref().unwrap_or_default();
            let matches = client.secret.is_some() && bool::from(secret.as_bytes().ct_eq(expected.as_bytes()));
            let text = "Invalid client secret provided.";
            matches
                .then_some(client)
                .ok_or_else(|| Refusal::invalid_client(7_000_215, text))
        }
        (true, None, None) => {
            let text = "The request body must contain the following parameter: 'client_assertion' or \
                        'client_secret'.";
            Err(Refusal::invalid_client(7_000_218, text))
        }
    }
}

/// Checks signature, issuer, subject, audience, times and first use (RFC 7523 section 3).
fn check_assertion(
    core: &Core,
    request: &IncomingRequest,
    registered: &RegisteredClient,
    assertion: &str,
) -> Result<(), Refusal> {
    let refused = |why: &str| {
        let text = format!("Client assertion failed signature or claim validation: {why}.");
        Err(Refusal::invalid_client(700_027, text))
    };
    let verified = registered
        .keys
        .iter()
        .find_map(|key| Some((key, key.verified_claims(assertion)?)));
    let Some((key, claims)) = verified else {
        return refused("no registered key verifies it");
    };

    let client_id = registered.client.client_id.as_str();
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str());
    if text("iss") != Some(client_id) || text("sub") != Some(client_id) {
        return refused("'iss' and 'sub' must be the client ID");
    }
    let addressed = [
        format!("{}{}", core.base_url, request.path),
        format!("{}/{}/v2.0", core.base_url, request.tenant),
    ];
    if !audiences(&claims).any(|audience| addressed.iter().any(|own| own == audience)) {
        return refused("'aud' must be the token endpoint");
    }
    let now = core.clock.unix_seconds();
    // A NumericDate may have a fraction (RFC 7519 section 2); MSAL Python writes one.
    let time = |name: &str| {
        claims
            .get(name)
            .and_then(|value| value.as_f64())
            .map(|time| time as u64)
    };
    if time("exp").is_none_or(|expires_at| expires_at <= now) {
        return refused("it has expired or has no 'exp'");
    }
    // Who finds one in a log should not be able to use it for long.
    if time("exp").is_some_and(|expires_at| expires_at > now + LONGEST) {
        return refused("it lives for longer than ten minutes");
    }
    // Five minutes of skew, as Entra allows.
    if time("nbf").is_some_and(|not_before| not_before > now + 300) {
        return refused("it is not valid yet");
    }
    if key.is_for_one_use() {
        let Some(jti) = text("jti") else {
            return refused("it has no 'jti'");
        };
        let use_of = (client_id.to_owned(), jti.to_owned());
        if !core.state().used_assertions.insert(use_of) {
            return refused("it was used before");
        }
    }
    Ok(())
}

/// The audiences of a token: one string, or an array of them.
pub(super) fn audiences(claims: &Claims) -> impl Iterator<Item = &str> {
    let audience = claims.get("aud");
    let one = audience.and_then(|audience| audience.as_str());
    let many = audience
        .and_then(|audience| audience.as_array())
        .into_iter()
        .flatten();
    one.into_iter()
        .chain(many.filter_map(|audience| audience.as_str()))
}
