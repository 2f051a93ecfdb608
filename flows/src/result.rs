//! What a successful acquisition hands out.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use cache_core::cache::Acquired;
use cache_core::schema::{Account, ScopeSet, TokenResponse, TokenType};
use cache_core::secret::{Secret, SecretRef};
use cache_core::time::UnixSeconds;

use crate::correlation::CorrelationId;
use crate::id_token::IdTokenClaims;

/// An access token, and everything that is known about it.
///
/// It shares what the cache has in memory, so it is small and cheap to clone, and what it tells is read out when it is asked for. The
/// secrets of the account's partition stay in memory while it lives.
#[derive(Clone)]
pub struct AuthenticationResult {
    token: Token,
    claims: OnceLock<Option<Box<IdTokenClaims>>>,
    /// `None` for a token out of memory, of which nothing is to be said that the cache does not say.
    request: Option<Box<Request>>,
}

/// Where the token is.
#[derive(Clone)]
enum Token {
    Cached(Acquired),
    Granted(Box<TokenResponse>),
}

/// How the token was come by.
#[derive(Clone, Copy)]
struct Request {
    correlation_id: Option<CorrelationId>,
    metadata: ResultMetadata,
}

impl AuthenticationResult {
    /// The result of a token reply.
    #[must_use]
    pub fn from_response(
        response: &TokenResponse,
        correlation_id: CorrelationId,
        metadata: ResultMetadata,
    ) -> Self {
        let request = Request {
            correlation_id: Some(correlation_id),
            metadata: ResultMetadata {
                refresh_on: response.refresh_on,
                ..metadata
            },
        };
        Self {
            token: Token::Granted(Box::new(response.clone())),
            claims: OnceLock::new(),
            request: Some(Box::new(request)),
        }
    }

    /// The result of what the cache acquired, without timings.
    pub(crate) fn from_cache(acquired: Acquired) -> Self {
        Self {
            token: Token::Cached(acquired),
            claims: OnceLock::new(),
            request: None,
        }
    }

    /// The same with the ID of the request that brought it and its timings.
    pub(crate) fn of_request(
        mut self,
        correlation_id: Option<CorrelationId>,
        time_in_cache: Duration,
        time_in_http: Duration,
    ) -> Self {
        let metadata = ResultMetadata {
            time_in_cache,
            time_in_http,
            ..self.metadata()
        };
        self.request = Some(Box::new(Request {
            correlation_id,
            metadata,
        }));
        self
    }

    /// The access token. It is opaque: whoever reads it is the resource, not the client. Empty where the authority
    /// granted an ID token alone, because no scope of a resource was asked for.
    #[must_use]
    pub fn access_token(&self) -> SecretRef<'_> {
        match &self.token {
            Token::Cached(acquired) => acquired.token().secret,
            Token::Granted(response) => response
                .access_token
                .as_ref()
                .map(SecretRef::from)
                .unwrap_or_default(),
        }
    }

    /// How the access token is presented.
    #[must_use]
    pub fn token_type(&self) -> TokenType {
        match &self.token {
            Token::Cached(acquired) => acquired.token().token_type.clone(),
            Token::Granted(response) => response.token_type.clone(),
        }
    }

    /// When the access token expires.
    #[must_use]
    pub fn expires_on(&self) -> UnixSeconds {
        match &self.token {
            Token::Cached(acquired) => acquired.token().expires_on,
            Token::Granted(response) => response.expires_on,
        }
    }

    /// Until when it may serve in an outage of the authority.
    #[must_use]
    pub fn extended_expires_on(&self) -> Option<UnixSeconds> {
        match &self.token {
            Token::Cached(acquired) => acquired.token().extended_expires_on,
            Token::Granted(response) => response.extended_expires_on,
        }
    }

    /// The scopes that were granted, which may differ from those requested.
    #[must_use]
    pub fn scopes(&self) -> ScopeSet {
        match &self.token {
            Token::Cached(acquired) => acquired.token().target.to_scope_set(),
            Token::Granted(response) => response.scopes.clone(),
        }
    }

    /// The scopes that were asked for and not granted. The token is good for the others: whether that is enough is for the caller to
    /// say. Asking the user again, interactively, is what may grant them.
    #[must_use]
    pub fn declined_scopes(&self) -> ScopeSet {
        match &self.token {
            Token::Cached(acquired) => acquired.token().declined_scopes(),
            Token::Granted(response) => response
                .access_token_row()
                .map(|row| row.declined_scopes())
                .unwrap_or_default(),
        }
    }

    /// The tenant that issued it: the guest tenant for a guest. Empty for issuers without tenants.
    #[must_use]
    pub fn tenant(&self) -> &str {
        match &self.token {
            Token::Cached(acquired) => self
                .id_token_claims()
                .and_then(IdTokenClaims::tenant_id)
                .unwrap_or(acquired.token().realm),
            Token::Granted(response) => &response.realm,
        }
    }

    /// The ID token as it was received.
    #[must_use]
    pub fn id_token(&self) -> Option<SecretRef<'_>> {
        let id_token = match &self.token {
            Token::Cached(acquired) => acquired.id_token().map(|row| &row.secret),
            Token::Granted(response) => response.id_token.as_ref(),
        };
        id_token.map(SecretRef::from)
    }

    /// The claims of the ID token, decoded when they are first asked for.
    #[must_use]
    pub fn id_token_claims(&self) -> Option<&IdTokenClaims> {
        let decoded = || IdTokenClaims::decode(self.id_token()?).ok().map(Box::new);
        self.claims.get_or_init(decoded).as_deref()
    }

    /// The user's identifier in the tenant (`oid`, or `sub`); `None` for the application itself.
    #[must_use]
    pub fn unique_id(&self) -> Option<&str> {
        let account = self.account();
        let local = account.map(|account| &*account.local_account_id);
        if let Token::Granted(_) = &self.token {
            return local;
        }
        let claims = self.id_token_claims();
        let profile = || {
            let profiles = &account?.tenant_profiles;
            let profile = profiles.iter().find(|profile| profile.tenant_id == self.tenant());
            profile.map(|profile| &*profile.local_account_id)
        };
        claims
            .and_then(|claims| claims.object_id().or_else(|| claims.subject()))
            .or_else(profile)
            .or(local)
    }

    /// The account; `None` for the application itself.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match &self.token {
            Token::Cached(acquired) => acquired.account(),
            Token::Granted(response) => response.account.as_ref(),
        }
    }

    /// What names the request in the authority's logs; `None` when no request was made.
    #[must_use]
    pub fn correlation_id(&self) -> Option<CorrelationId> {
        self.request.as_ref()?.correlation_id
    }

    /// Where the token came from and how long it took.
    #[must_use]
    pub fn metadata(&self) -> ResultMetadata {
        match (&self.request, &self.token) {
            (Some(request), _) => request.metadata,
            (None, Token::Cached(acquired)) => ResultMetadata {
                refresh_reason: acquired.refresh_reason().map(RefreshReason::from),
                served_during_outage: acquired.served_during_outage(),
                time_in_store: acquired.time_in_store(),
                time_in_http: acquired.time_in_authority(),
                refresh_on: acquired.token().refresh_on,
                ..ResultMetadata::new(acquired.source().into())
            },
            (None, Token::Granted(_)) => ResultMetadata::new(TokenSource::Authority),
        }
    }

    /// The value of an `Authorization` header that presents the token: its type and the token.
    #[must_use]
    pub fn authorization_header(&self) -> Secret {
        authorization_header(self.token_type().as_str(), self.access_token().expose())
    }
}

/// In one allocation of the right size: a growing buffer would leave pieces of the token behind.
pub(crate) fn authorization_header(token_type: &str, access_token: &str) -> Secret {
    let mut header = String::with_capacity(token_type.len() + 1 + access_token.len());
    header.push_str(token_type);
    header.push(' ');
    header.push_str(access_token);
    Secret::new(header)
}

/// Shows what helps in a log and no personal data.
impl fmt::Debug for AuthenticationResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationResult")
            .field("token_type", &self.token_type())
            .field("expires_on", &self.expires_on())
            .field("scopes", &self.scopes())
            .field("tenant", &self.tenant())
            .field("correlation_id", &self.correlation_id())
            .field("metadata", &self.metadata())
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
    /// Time spent in the cache itself, its store not counted. Zero for a token that was at hand in memory: to measure it would take as
    /// long as to find the token.
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
