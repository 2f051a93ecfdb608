//! What a successful acquisition hands out.

use std::fmt;
use std::time::Duration;

use cache_core::schema::{Account, ScopeSet, TokenResponse, TokenType};
use cache_core::secret::Secret;
use cache_core::time::UnixSeconds;

use crate::correlation::CorrelationId;
use crate::id_token::IdTokenClaims;

/// An access token, and everything that is known about it.
#[derive(Clone)]
#[non_exhaustive]
pub struct AuthenticationResult {
    /// The access token. It is opaque: whoever reads it is the resource, not the client. Empty where the authority
    /// granted an ID token alone, because no scope of a resource was asked for.
    pub access_token: Secret,
    /// How the access token is presented.
    pub token_type: TokenType,
    /// When the access token expires.
    pub expires_on: UnixSeconds,
    /// Until when it may serve in an outage of the authority.
    pub extended_expires_on: Option<UnixSeconds>,
    /// The scopes that were granted, which may differ from those requested.
    pub scopes: ScopeSet,
    /// The scopes that were asked for and not granted. The token is good for the others: whether that is enough is for the caller to
    /// say. Asking the user again, interactively, is what may grant them.
    pub declined_scopes: ScopeSet,
    /// The tenant that issued it: the guest tenant for a guest. Empty for issuers without tenants.
    pub tenant: String,
    /// The ID token as it was received.
    pub id_token: Option<Secret>,
    /// The claims of the ID token.
    pub id_token_claims: Option<IdTokenClaims>,
    /// The user's identifier in the tenant (`oid`, or `sub`); `None` for the application itself.
    pub unique_id: Option<String>,
    /// The account; `None` for the application itself.
    pub account: Option<Account>,
    /// What names the request in the authority's logs; `None` when no request was made.
    pub correlation_id: Option<CorrelationId>,
    /// Where the token came from and how long it took.
    pub metadata: ResultMetadata,
}

impl AuthenticationResult {
    /// The result of a token reply.
    #[must_use]
    pub fn from_response(
        response: &TokenResponse,
        correlation_id: CorrelationId,
        metadata: ResultMetadata,
    ) -> Self {
        let account = response.account.clone();
        Self {
            access_token: response.access_token.clone().unwrap_or_default(),
            token_type: response.token_type.clone(),
            expires_on: response.expires_on,
            extended_expires_on: response.extended_expires_on,
            scopes: response.scopes.clone(),
            declined_scopes: response
                .access_token_row()
                .map(|row| row.declined_scopes())
                .unwrap_or_default(),
            tenant: response.realm.clone(),
            id_token_claims: response
                .id_token
                .as_ref()
                .and_then(|token| IdTokenClaims::decode(token).ok()),
            id_token: response.id_token.clone(),
            unique_id: account.as_ref().map(|account| account.local_account_id.clone()),
            account,
            correlation_id: Some(correlation_id),
            metadata: ResultMetadata {
                refresh_on: response.refresh_on,
                ..metadata
            },
        }
    }

    /// The value of an `Authorization` header that presents a bearer token.
    #[must_use]
    pub fn authorization_header(&self) -> Secret {
        Secret::new(format!(
            "{} {}",
            self.token_type.as_str(),
            self.access_token.expose()
        ))
    }
}

/// Shows what helps in a log and no personal data.
impl fmt::Debug for AuthenticationResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationResult")
            .field("token_type", &self.token_type)
            .field("expires_on", &self.expires_on)
            .field("scopes", &self.scopes)
            .field("tenant", &self.tenant)
            .field("correlation_id", &self.correlation_id)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// Where a token came from and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultMetadata {
    /// Where the token was found.
    pub source: TokenSource,
    /// Why the authority was asked, if it was.
    pub refresh_reason: Option<RefreshReason>,
    /// Whether the cache's store could not be reached, and its outage policy served the token without it: a sign-out that another
    /// process made lately may not be known here. See [`OutagePolicy`](cache_core::strategy::OutagePolicy).
    pub served_during_outage: bool,
    /// Time spent in the cache itself, its store not counted.
    pub time_in_cache: Duration,
    /// Time spent waiting for the store.
    pub time_in_store: Duration,
    /// Time spent waiting for the authority.
    pub time_in_http: Duration,
    /// From when the token should be replaced although it is still good.
    pub refresh_on: Option<UnixSeconds>,
}

impl ResultMetadata {
    /// Metadata without timings.
    #[must_use]
    pub const fn new(source: TokenSource) -> Self {
        Self {
            source,
            refresh_reason: None,
            served_during_outage: false,
            time_in_cache: Duration::ZERO,
            time_in_store: Duration::ZERO,
            time_in_http: Duration::ZERO,
            refresh_on: None,
        }
    }
}

/// Where a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenSource {
    /// In this process's memory.
    Memory,
    /// In the store.
    Store,
    /// At the authority, just now.
    Authority,
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Authority => "authority",
        })
    }
}

/// Why the authority was asked although there is a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshReason {
    /// The cache had no access token for the request.
    NoCachedToken,
    /// The cached one had expired.
    Expired,
    /// The cached one was due for replacement.
    RefreshAhead,
    /// The caller insisted.
    ForceRefresh,
    /// The resource challenged the cached one with claims.
    Claims,
}

impl fmt::Display for RefreshReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCachedToken => "no cached token",
            Self::Expired => "expired",
            Self::RefreshAhead => "refresh ahead",
            Self::ForceRefresh => "force refresh",
            Self::Claims => "claims challenge",
        })
    }
}
