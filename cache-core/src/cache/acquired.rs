//! What an acquisition gives.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::schema::index::IndexedPartition;
use crate::schema::{AccessTokenRef, Account, IdToken, environment};
use crate::strategy::answers::Answer;
use crate::time::{UnixMillis, UnixSeconds};

/// An access token, where it came from and how long that took.
///
/// It shares the cached partition, so it is cheap to clone and keeps the secrets alive while it lives.
#[derive(Clone)]
pub struct Acquired {
    pub(crate) answer: Arc<Answer>,
    pub(crate) source: TokenSource,
    pub(crate) refresh_reason: Option<RefreshReason>,
    pub(crate) time_in_store: Duration,
    pub(crate) time_in_authority: Duration,
    pub(crate) during_outage: bool,
    pub(crate) described: Description,
}

/// Whom a token acts for, decoded when somebody asks. It is the caller's: in what memory keeps it would be beyond the bound.
#[derive(Clone, Default)]
pub(crate) struct Description(OnceLock<Arc<Described>>);

#[derive(Default)]
pub(crate) struct Described {
    pub(crate) account: Option<Account>,
    pub(crate) id_token: Option<IdToken>,
}

impl Acquired {
    /// The token with this index, which took no time.
    pub(crate) fn new(partition: Arc<IndexedPartition>, index: u32, source: TokenSource) -> Self {
        Self::of(Answer::once(partition, index), source)
    }

    /// The token of `answer`, which took no time.
    #[inline]
    pub(crate) fn of(answer: Arc<Answer>, source: TokenSource) -> Self {
        Self {
            answer,
            source,
            refresh_reason: None,
            time_in_store: Duration::ZERO,
            time_in_authority: Duration::ZERO,
            during_outage: false,
            described: Description::default(),
        }
    }

    /// The access token.
    #[must_use]
    pub fn token(&self) -> AccessTokenRef<'_> {
        self.answer.token()
    }

    /// The account that the token acts for; `None` for the application itself. It is decoded at the first call on each result.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.described.of(&self.answer).account.as_ref()
    }

    /// The ID token of the same client, account and tenant. It is decoded at the first call on each result.
    #[must_use]
    pub fn id_token(&self) -> Option<&IdToken> {
        self.described.of(&self.answer).id_token.as_ref()
    }

    /// Where the token came from.
    #[must_use]
    pub fn source(&self) -> TokenSource {
        self.source
    }

    /// Whether the store could not be reached, and the [outage policy](crate::strategy::OutagePolicy) served this without it: from
    /// memory that should have been compared with the store, from the fallback store, or from the authority without being stored.
    /// A sign-out that another process made lately may not be known here.
    #[must_use]
    pub fn served_during_outage(&self) -> bool {
        self.during_outage
    }

    /// Why the authority was asked, if it was.
    #[must_use]
    pub fn refresh_reason(&self) -> Option<RefreshReason> {
        self.refresh_reason
    }

    /// How long the store was waited for.
    #[must_use]
    pub fn time_in_store(&self) -> Duration {
        self.time_in_store
    }

    /// How long the authority was waited for.
    #[must_use]
    pub fn time_in_authority(&self) -> Duration {
        self.time_in_authority
    }

    pub(crate) fn partition(&self) -> &Arc<IndexedPartition> {
        &self.answer.partition
    }
}

impl Answer {
    /// The access token.
    #[inline]
    pub(crate) fn token(&self) -> AccessTokenRef<'_> {
        self.partition.token(self.index)
    }
}

impl Description {
    pub(crate) fn of(&self, answer: &Answer) -> &Described {
        self.0.get_or_init(|| {
            let (token, rows) = (answer.token(), answer.partition.rows_without_tokens());
            let mut accounts = rows.accounts.into_iter();
            let mut id_tokens = rows.id_tokens.into_iter();
            Arc::new(Described {
                account: accounts.find(|account| {
                    account.home_account_id == token.home_account_id
                        && environment::same(&account.environment, token.environment)
                }),
                id_token: id_tokens.find(|id_token| {
                    id_token.home_account_id == token.home_account_id
                        && id_token.client_id == token.client_id
                        && id_token.realm == token.realm
                        && environment::same(&id_token.environment, token.environment)
                }),
            })
        })
    }
}

impl fmt::Debug for Acquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquired")
            .field("token", &self.token())
            .field("source", &self.source)
            .field("refresh_reason", &self.refresh_reason)
            .field("during_outage", &self.during_outage)
            .finish_non_exhaustive()
    }
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// This process's memory.
    Memory,
    /// The store, or in an outage its fallback.
    Store,
    /// The authority.
    Authority,
}

/// Why the authority was asked (MSAL's `CacheRefreshReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshReason {
    /// No token was cached.
    NoCachedToken,
    /// The cached token had expired.
    Expired,
    /// The authority recommended to replace it.
    RefreshAhead,
    /// The caller forced it.
    Forced,
    /// The caller sent claims, which no cached token is known to satisfy.
    Claims,
}

/// How to acquire a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcquireOptions {
    /// What may be answered from the cache.
    pub freshness: Freshness,
    /// What this issuer allows after an unknown outcome.
    pub unknown_outcome: super::UnknownOutcomePolicy,
    /// Whether a token may serve past its expiry, until its extended expiry, when the authority just failed to answer.
    pub extended_lifetime: bool,
    /// Only the cache: where a request to the authority would be needed, the answer is an error.
    pub cache_only: bool,
}

impl Default for AcquireOptions {
    /// From the cache if it serves; never resend a refresh token; no extended lifetime.
    fn default() -> Self {
        Self {
            freshness: Freshness::Cached,
            unknown_outcome: super::UnknownOutcomePolicy::AskUser,
            extended_lifetime: false,
            cache_only: false,
        }
    }
}

/// What may be answered from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// A cached token that serves.
    Cached,
    /// Not the token with this SHA-256, which was rejected: one that has replaced it already, or that is obtained from now on, by
    /// anybody. Without a hash, only a token that is obtained from now on.
    Forced {
        /// SHA-256 of the access token that the resource rejected, if known.
        rejected: Option<[u8; 32]>,
    },
    /// Only a token that this call obtains: the request carries claims (see [`TokenRequest::claims`](crate::schema::TokenRequest::claims)) that no
    /// cached token is known to satisfy.
    Claims,
}

impl Freshness {
    /// Whether `token`, found on the latest `rows` by a call that began at `began`, makes a request superfluous.
    pub(crate) fn adopts(
        self,
        token: AccessTokenRef<'_>,
        rows: &IndexedPartition,
        began: UnixMillis,
        now: UnixSeconds,
    ) -> bool {
        use crate::schema::index::{is_fresh, is_unexpired};
        let minted_since = token.cached_at >= began.to_seconds() && is_unexpired(token, now);
        match self {
            Self::Cached => is_fresh(token, now) || minted_since,
            // While the rejected token is still there, others beside it may be older than it.
            Self::Forced { rejected: Some(hash) } => {
                let is_rejected = |row: AccessTokenRef<'_>| row.secret.sha256() == hash;
                let was_replaced = || is_fresh(token, now) && !rows.tokens().any(is_rejected);
                !is_rejected(token) && (minted_since || was_replaced())
            }
            // Whole seconds cannot tell a token of this second from the one that the caller already had.
            Self::Forced { rejected: None } => {
                token.cached_at > began.to_seconds() && is_unexpired(token, now)
            }
            Self::Claims => false,
        }
    }
}
