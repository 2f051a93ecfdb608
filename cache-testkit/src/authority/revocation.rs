//! Revoking a refresh token at its client's request (RFC 7009).

use super::client_authentication::authenticate;
use super::refusal::Refusal;
use super::request::IncomingRequest;
use super::state::Core;

/// Revokes the token's whole family. A token that is unknown is as good as revoked (section 2.2).
pub(super) fn revoke(core: &Core, request: &IncomingRequest) -> Result<(), Refusal> {
    let client = authenticate(core, request)?;
    let token = request.parameters.required("token")?;
    core.state().families.revoke_token(token, client)
}
