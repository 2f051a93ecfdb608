//! One file a grant: each checks what its grant demands and says whose tokens to mint.

mod authorization_code;
mod client_credentials;
mod device_code;
mod on_behalf_of;
mod password;
mod refresh_token;

pub(super) use authorization_code::authorization_code;
pub(super) use client_credentials::client_credentials;
pub(super) use device_code::device_code;
pub(super) use on_behalf_of::on_behalf_of;
pub(super) use password::password;
pub(super) use refresh_token::refresh_token;

use super::directory::User;
use super::refusal::Refusal;
use super::scopes::RequestedScopes;
use super::state::State;
use super::token_endpoint::TokenRequest;
use super::tokens::{TokenReply, UserTokens};

/// Mints the tokens of a new sign-in, which begins a refresh-token family.
fn sign_in(
    request: TokenRequest<'_>,
    state: &mut State,
    user: &User,
    scopes: RequestedScopes,
    nonce: Option<String>,
) -> Result<TokenReply, Refusal> {
    let subject = request.tenant.subject(user)?;
    let client_info = request.client_info();
    let family = state
        .families
        .begin(&user.username, request.client, &scopes.all());
    let TokenRequest {
        core, client, claims, ..
    } = request;
    UserTokens {
        client,
        subject,
        scopes,
        family,
        nonce,
        claims,
        client_info,
    }
    .mint(core, state)
}

/// A user whom an earlier step named: the directory never changes, so absence is the authority's own fault.
fn known_user<'a>(request: &TokenRequest<'a>, username: &str) -> Result<&'a User, Refusal> {
    let user = request.core.directory.user(username);
    user.ok_or_else(|| Refusal::internal(&format!("the user {username} does not exist")))
}
