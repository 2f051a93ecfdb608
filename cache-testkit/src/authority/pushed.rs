//! Pushed authorization requests (RFC 9126).

use serde_json::{Value, json};

use super::client_authentication::authenticate;
use super::config::PushedRequests;
use super::refusal::Refusal;
use super::request::{IncomingRequest, Parameters};
use super::state::Core;

/// How long a pushed request can be used, in seconds.
const LIFETIME: u64 = 60;

/// What was pushed, until the browser comes for it.
pub(super) struct PushedRequest {
    client_id: String,
    parameters: Parameters,
    expires_at: u64,
}

/// `/{tenant}/oauth2/v2.0/par`.
pub(super) fn push(core: &Core, request: &IncomingRequest) -> Result<Value, Refusal> {
    if core.pushed_requests == PushedRequests::Off {
        let text = "This authority takes no pushed authorization requests.";
        return Err(Refusal {
            status: 404,
            ..Refusal::invalid_request(90_000, text)
        });
    }
    let client = authenticate(core, request)?;
    // Section 2.1: a reference to another request makes no sense here.
    if request.parameters.get("request_uri").is_some() {
        return Err(Refusal::invalid_request(
            90_001,
            "The parameter 'request_uri' must not be pushed.",
        ));
    }
    let redirect_uri = request.parameters.required("redirect_uri")?;
    if !client.allows_redirect(redirect_uri) {
        return Err(Refusal::invalid_request(
            50_011,
            "The redirect URI is not registered.",
        ));
    }
    let mut state = core.state();
    let request_uri = state.opaque.secret("urn:ietf:params:oauth:request_uri:");
    let pushed = PushedRequest {
        client_id: client.client_id.clone(),
        parameters: request.parameters.without_credentials(),
        expires_at: core.clock.unix_seconds() + LIFETIME,
    };
    state.pushed.insert(request_uri.clone(), pushed);
    Ok(json!({ "request_uri": request_uri, "expires_in": LIFETIME }))
}

/// The pushed request that a browser's one refers to, and which is used up; none if it speaks for itself.
pub(super) fn resolve(core: &Core, request: &IncomingRequest) -> Result<Option<IncomingRequest>, Refusal> {
    let Some(request_uri) = request.parameters.get("request_uri") else {
        if core.pushed_requests == PushedRequests::Required {
            let text = "This authority takes pushed authorization requests only.";
            return Err(Refusal::invalid_request(90_002, text));
        }
        return Ok(None);
    };
    let pushed = core.state().pushed.remove(request_uri);
    let unknown = || Refusal::invalid_request(90_003, "The 'request_uri' is unknown, used or expired.");
    let pushed = pushed.ok_or_else(unknown)?;
    let is_his = request.client_id() == Some(pushed.client_id.as_str());
    if !is_his || pushed.expires_at <= core.clock.unix_seconds() {
        return Err(unknown());
    }
    // Section 4: what stands beside the reference does not count.
    Ok(Some(request.with_parameters(pushed.parameters)))
}
