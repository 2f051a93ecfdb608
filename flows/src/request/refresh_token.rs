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

/// Redeems a refresh token from elsewhere. Without a `home_account_id` the reply must say whose it is, so an ID token is asked for; with
/// one, a reply for anybody else is refused.
pub fn import(
    authority: &Authority,
    refresh_token: &Secret,
    scopes: ScopeSet,
    home_account_id: Option<&str>,
) -> TokenRequest {
    let sent = match authority.kind() {
        // Where no scope is named, all that were granted are meant, openid too if it was.
        AuthorityKind::Oidc if scopes.as_str().is_empty() => scopes.clone(),
        AuthorityKind::Oidc => ScopeSet::of(["openid", scopes.as_str()]),
        _ => user_scopes(&scopes),
    };
    let subject = match home_account_id {
        Some(id) => Subject::KnownUser(Box::new(KnownUser {
            account: account_of(authority, id),
            id_token: None,
        })),
        None => Subject::NewUser { nonce: None },
    };
    let mut request = TokenRequest::new("refresh_token", scopes, subject);
    request.form.push_secret("refresh_token", refresh_token);
    request.form.push_unless_empty("scope", sent.as_str());
    request
}

/// What is known of an account of which only the identifier is.
fn account_of(authority: &Authority, home_account_id: &str) -> Account {
    let kind = authority.kind();
    // `uid.utid`: at home, the user's object ID is the first part.
    let (local, realm) = match home_account_id.rsplit_once('.') {
        Some(parts) if kind.honours_client_info() => parts,
        _ => (home_account_id, authority.tenant()),
    };
    Account {
        home_account_id: home_account_id.to_owned(),
        environment: authority.environment().to_owned(),
        realm: realm.to_owned(),
        local_account_id: local.to_owned(),
        username: String::new(),
        authority_type: kind.msal_authority_type().to_owned(),
        name: None,
        issuer: (kind == AuthorityKind::Oidc).then(|| authority.url().to_owned()),
        tenant_profiles: Vec::new(),
        foreign: None,
    }
}
