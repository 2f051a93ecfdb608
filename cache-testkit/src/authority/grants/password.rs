//! Resource owner password credentials.

use subtle::ConstantTimeEq as _;

use super::super::refusal::Refusal;
use super::super::token_endpoint::TokenRequest;
use super::super::tokens::TokenReply;
use super::sign_in;

pub(crate) fn password(request: TokenRequest<'_>) -> Result<TokenReply, Refusal> {
    let core = request.core;
    let username = request.parameter("username")?;
    let password = request.parameter("password")?;
    let user = core.directory.user(username).ok_or_else(|| {
        let text = format!("The user account {username} does not exist in the directory.");
        Refusal::invalid_grant(50_034, text)
    })?;
    if !bool::from(user.password.as_bytes().ct_eq(password.as_bytes())) {
        let text = "Error validating credentials due to invalid username or password.";
        return Err(Refusal::invalid_grant(50_126, text));
    }
    request.parameter("scope")?;
    let scopes = request.scopes()?;
    sign_in(request, &mut core.state(), user, scopes, None)
}
