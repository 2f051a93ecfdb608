//! Refreshing, with the rotation that the authority is set to.

use super::super::refusal::Refusal;
use super::super::token_endpoint::TokenRequest;
use super::super::tokens::{TokenReply, UserTokens};
use super::known_user;

pub(crate) fn refresh_token(request: TokenRequest<'_>) -> Result<TokenReply, Refusal> {
    let core = request.core;
    let refresh_token = request.parameter("refresh_token")?;
    // Everything that can be refused without the token is refused first, so that no mistake spends it.
    if request.request.parameters.get("scope").is_some() {
        request.scopes()?;
    }
    let now = core.clock.unix_seconds();
    let mut guard = core.state();
    let state = &mut *guard;
    let rotation = state.rotation;
    let entitlement = state
        .families
        .examine(refresh_token, request.client, rotation, now)?;
    let user = known_user(&request, &entitlement.username)?;
    let mut scopes = request.scopes_or(&entitlement.scopes)?;
    // A rotated token is always replaced, whatever scopes this request names.
    scopes.offline_access = true;
    let subject = request.tenant.subject(user)?;
    // A user unknown in this tenant was refused above, with the token unharmed.
    state.families.spend(refresh_token);
    let client_info = request.client_info();
    let (client, claims, family) = (request.client, request.claims.clone(), entitlement.family);
    let tokens = UserTokens {
        client,
        subject,
        scopes,
        family,
        nonce: None,
        claims,
        client_info,
    };
    tokens.mint(core, state)
}
