//! A refresh token for new tokens (RFC 6749 section 6).

use cache_core::schema::{Account, AuthorityKind, ScopeSet};
use cache_core::secret::Secret;

use super::{TokenRequest, user_scopes};
use crate::authority::Authority;
use crate::id_token::IdTokenClaims;
use crate::response::{KnownUser, Subject};

/// Asks for new tokens of `account`. A reply for anybody else is refused, by the account and, where it is known, by
/// the account's latest ID token.
///
/// Entra is asked for the user scopes again, else it returns no ID token. Other issuers get `scopes` alone: a scope
/// that was not granted at the sign-in is an error there.
pub fn request(
    authority: &Authority,
    refresh_token: &Secret,
    scopes: ScopeSet,
    account: Account,
    id_token: Option<IdTokenClaims>,
) -> TokenRequest {
    let sent = match authority.kind() {
        AuthorityKind::Oidc => scopes.clone(),
        _ => user_scopes(&scopes),
    };
    let subject = Subject::KnownUser(Box::new(KnownUser { account, id_token }));
    let mut request = TokenRequest::new("refresh_token", scopes, subject);
    request.form.push_secret("refresh_token", refresh_token);
    request.form.push_unless_empty("scope", sent.as_str());
    request
}

/// Redeems a refresh token from elsewhere, of whichever user. The reply must say who that is, so an ID token is asked for.
pub fn import(authority: &Authority, refresh_token: &Secret, scopes: ScopeSet) -> TokenRequest {
    let sent = match authority.kind() {
        // Where no scope is named, all that were granted are meant, openid too if it was.
        AuthorityKind::Oidc if scopes.as_str().is_empty() => scopes.clone(),
        AuthorityKind::Oidc => ScopeSet::of(["openid", scopes.as_str()]),
        _ => user_scopes(&scopes),
    };
    let mut request = TokenRequest::new("refresh_token", scopes, Subject::NewUser { nonce: None });
    request.form.push_secret("refresh_token", refresh_token);
    request.form.push_unless_empty("scope", sent.as_str());
    request
}
