//! Polling for a device code (RFC 8628 section 3.4).

use super::super::refusal::Refusal;
use super::super::token_endpoint::TokenRequest;
use super::super::tokens::TokenReply;
use super::{known_user, sign_in};

pub(crate) fn device_code(request: TokenRequest<'_>) -> Result<TokenReply, Refusal> {
    let core = request.core;
    // MSAL Node writes `device_code`, version 1 of Entra's protocol `code`.
    let device_code = request
        .request
        .parameters
        .get("device_code")
        .or(request.request.parameters.get("code"));
    let device_code = device_code.ok_or_else(|| Refusal::missing_parameter("device_code"))?;
    let now = core.clock.unix_seconds();
    let mut guard = core.state();
    let state = &mut *guard;
    let approval = state.device_approval.clone();
    let approved = state
        .devices
        .poll(device_code, &request.client.client_id, &approval, now)?;
    let user = known_user(&request, &approved.username)?;
    let scopes = request.scopes_or(&approved.scopes)?;
    sign_in(request, state, user, scopes, None)
}
