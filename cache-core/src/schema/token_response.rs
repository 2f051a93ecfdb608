//! A successful reply of a token endpoint, checked and normalised.

use std::fmt;

use super::{AccessToken, Account, ScopeSet, TokenContext, TokenType};
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// What a token endpoint granted (RFC 6749 section 5.1), as the layer above parsed and checked it.
///
/// All times count from when the request was *sent*, so that a slow reply never lengthens a token's life.
#[derive(Clone)]
pub struct TokenResponse {
    /// The client that asked.
    pub client_id: String,
    /// The host (with its port, if any) of the authority that was asked.
    pub environment: String,
    /// The tenant that issued the tokens; empty for issuers without tenants.
    pub realm: String,
    /// The scopes that were granted, as [`ScopeRules::granted`](super::ScopeRules::granted) reads them; those that were requested
    /// where the reply says nothing.
    pub scopes: ScopeSet,
    /// The scopes that were requested.
    pub requested_scopes: ScopeSet,
    /// How the access token is presented.
    pub token_type: TokenType,
    /// The access token; a reply for `openid` alone may have none.
    pub access_token: Option<Secret>,
    /// When the request was sent.
    pub requested_at: UnixSeconds,
    /// When the access token expires.
    pub expires_on: UnixSeconds,
    /// Until when it may serve in an outage.
    pub extended_expires_on: Option<UnixSeconds>,
    /// From when it should be replaced.
    pub refresh_on: Option<UnixSeconds>,
    /// The refresh token.
    pub refresh_token: Option<Secret>,
    /// When the refresh token expires, where the issuer says so.
    pub refresh_token_expires_on: Option<UnixSeconds>,
    /// The family of clients that may redeem the refresh token (`foci`).
    pub family_id: Option<String>,
    /// The ID token, already checked.
    pub id_token: Option<Secret>,
    /// The account; `None` for a token of the application itself.
    pub account: Option<Account>,
    /// What else the request had that sets its tokens apart.
    pub context: TokenContext,
}

impl TokenResponse {
    /// The row for the access token; `None` where the reply has none.
    #[must_use]
    pub fn access_token_row(&self) -> Option<AccessToken> {
        let mut row = AccessToken {
            home_account_id: self.home_account_id().to_owned(),
            environment: self.environment.clone(),
            client_id: self.client_id.clone(),
            realm: self.realm.clone(),
            target: self.scopes.clone(),
            token_type: self.token_type.clone(),
            secret: self.access_token.clone()?,
            cached_at: self.requested_at,
            expires_on: self.expires_on,
            extended_expires_on: self.extended_expires_on,
            refresh_on: self.refresh_on,
            context: self.context.clone(),
            foreign: None,
        };
        row.note_requested(&self.requested_scopes);
        Some(row)
    }

    /// The account's identity; empty for a token of the application itself.
    #[must_use]
    pub fn home_account_id(&self) -> &str {
        self.account
            .as_ref()
            .map_or("", |account| &account.home_account_id)
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("environment", &self.environment)
            .field("client_id", &self.client_id)
            .field("realm", &self.realm)
            .field("scopes", &self.scopes)
            .field("expires_on", &self.expires_on)
            .finish_non_exhaustive()
    }
}
