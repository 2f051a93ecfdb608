//! Lookups that memory answers at once: what they ask, borrowed from whoever asks, and what is kept to answer them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::acquired::{Acquired, TokenSource};
use super::arguments::Arguments;
use super::find::Sighted;
use super::{Inner, TokenCache};
use crate::schema::{
    AccessTokenRef, AuthorityIdentity, AuthorityKind, PartitionKey, SessionKey, TokenContext, TokenRequest,
    TokenType,
};
use crate::strategy::answers::{Answer, Window};
use crate::strategy::table::Entry;
use crate::time::{CoarseTime, UnixMillis, UnixSeconds};

/// A question for [`TokenCache::find`](super::TokenCache::find): the arguments of a [`TokenRequest`], borrowed, so that asking
/// allocates nothing.
///
/// What is in memory for the same arguments, written in the same way, is the answer. Scopes in another order, or an alias of the
/// environment, ask anew.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// Where the token would be.
    pub partition: PartitionRef<'a>,
    /// The kind of authority.
    pub kind: AuthorityKind,
    /// The client that asks.
    pub client_id: &'a str,
    /// The authority's host, with its port, if any.
    pub environment: &'a str,
    /// The tenant; empty where there is none.
    pub realm: &'a str,
    /// The scopes that the token must cover, best each by itself.
    pub scopes: &'a [&'a str],
    /// The token type and its key.
    pub token_type: &'a TokenType,
    /// What else the token must agree with.
    pub context: &'a TokenContext,
}

/// A [`PartitionKey`] that is borrowed in parts.
#[derive(Clone, Copy)]
pub enum PartitionRef<'a> {
    /// [`PartitionKey::User`].
    User {
        /// The authority that knows the account.
        authority: &'a AuthorityIdentity,
        /// The account within it.
        home_account_id: &'a str,
    },
    /// [`PartitionKey::App`].
    App {
        /// The client.
        client_id: &'a str,
        /// The authority.
        authority: &'a AuthorityIdentity,
        /// The tenant; empty for issuers without tenants.
        tenant: &'a str,
        /// The resource, where partitioning is by resource.
        resource: Option<&'a str>,
        /// Extra components that the caller wants in the cache key.
        components: &'a BTreeMap<String, String>,
    },
    /// [`PartitionKey::App`] whose resource is the scopes that are asked for, as
    /// [`Partitioning::AppByResource`](crate::strategy::Partitioning::AppByResource) has it: what is asked for there is found by this alone.
    AppByScopes {
        /// The client.
        client_id: &'a str,
        /// The authority.
        authority: &'a AuthorityIdentity,
        /// The tenant; empty for issuers without tenants.
        tenant: &'a str,
        /// Extra components that the caller wants in the cache key.
        components: &'a BTreeMap<String, String>,
    },
    /// [`PartitionKey::Session`].
    Session {
        /// The client.
        client_id: &'a str,
        /// The authority.
        authority: &'a AuthorityIdentity,
        /// Which session.
        key: &'a SessionKey,
    },
}

impl<'a> PartitionRef<'a> {
    /// The parts of `key`; `None` for the residue, which serves nobody.
    #[must_use]
    pub fn of(key: &'a PartitionKey) -> Option<Self> {
        Some(match key {
            PartitionKey::User {
                authority,
                home_account_id,
            } => Self::User {
                authority,
                home_account_id,
            },
            PartitionKey::App {
                client_id,
                authority,
                tenant,
                resource,
                components,
            } => Self::App {
                client_id,
                authority,
                tenant,
                resource: resource.as_deref(),
                components,
            },
            PartitionKey::Session {
                client_id,
                authority,
                key,
            } => Self::Session {
                client_id,
                authority,
                key,
            },
            PartitionKey::Residue => return None,
        })
    }

    /// The same, for who knows that its resource, if it has one, is the scopes that are asked for.
    #[must_use]
    pub fn by_scopes(self) -> Self {
        match self {
            Self::App {
                client_id,
                authority,
                tenant,
                resource: Some(_),
                components,
            } => Self::AppByScopes {
                client_id,
                authority,
                tenant,
                components,
            },
            other => other,
        }
    }

    pub(super) fn authority(self) -> &'a AuthorityIdentity {
        match self {
            Self::User { authority, .. }
            | Self::App { authority, .. }
            | Self::AppByScopes { authority, .. }
            | Self::Session { authority, .. } => authority,
        }
    }
}

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("kind", &self.kind)
            .field("client_id", &self.client_id)
            .field("environment", &self.environment)
            .field("realm", &self.realm)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PartitionRef<'_> {
    /// The account and the key of a session say whose it is, so only the kind is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User { .. } => "User",
            Self::App { .. } => "App",
            Self::AppByScopes { .. } => "AppByScopes",
            Self::Session { .. } => "Session",
        })
    }
}

impl TokenCache {
    /// The access token for the arguments of `lookup`, if memory has it and nothing else is to be done: a token that serves, needs no
    /// refresh yet, and of a partition that the store need not be asked about. `None` says nothing but that
    /// [`acquire`](Self::acquire), or what else fits the request, is to be asked.
    ///
    /// It never waits and never touches the store, and what it gives is what `acquire` would give with
    /// [`Freshness::Cached`](super::Freshness::Cached). What was answered from memory before is remembered by its arguments, and forgotten
    /// with every change of the partition; so the first lookups after a change go to `acquire`.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use cache_core::cache::{Lookup, PartitionRef, TokenCache};
    /// # use cache_core::schema::{AuthorityIdentity, AuthorityKind, TokenContext, TokenType};
    /// # fn example(cache: &TokenCache, authority: &AuthorityIdentity) {
    /// let found = cache.find(&Lookup {
    ///     partition: PartitionRef::User { authority, home_account_id: "alice" },
    ///     kind: AuthorityKind::Oidc,
    ///     client_id: "mail-reader",
    ///     environment: "id.example.org",
    ///     realm: "",
    ///     scopes: &["mail.read"],
    ///     token_type: &TokenType::Bearer,
    ///     context: &TokenContext::default(),
    /// });
    /// match found {
    ///     Some(acquired) => println!("it expires at {}", acquired.token().expires_on),
    ///     None => println!("acquire it"),
    /// }
    /// # }
    /// ```
    #[must_use]
    #[inline(never)]
    pub fn find(&self, lookup: &Lookup<'_>) -> Option<Acquired> {
        match self.find_as_written(lookup) {
            Some(answer) => Some(hit(answer)),
            None => self.find_split(lookup),
        }
    }

    /// As [`find`](Self::find), where scopes may be texts of several words: what was asked before has them singly.
    #[cold]
    fn find_split(&self, lookup: &Lookup<'_>) -> Option<Acquired> {
        let scopes = Arguments::split(lookup.scopes)?;
        let lookup = Lookup {
            scopes: &scopes,
            ..*lookup
        };
        self.find_as_written(&lookup).map(hit)
    }

    #[inline(always)]
    fn find_as_written(&self, lookup: &Lookup<'_>) -> Option<Arc<Answer>> {
        let clock = || self.inner.clock.coarse();
        self.inner.memory.find(&Arguments::of_lookup(lookup), clock)
    }
}

#[inline]
fn hit(answer: Arc<Answer>) -> Acquired {
    metrics::counter!("tokenkeep_lookups_total", "tier" => "memory").increment(1);
    Acquired::of(answer, TokenSource::Memory)
}

impl Inner {
    /// As [`TokenCache::find`], for a request that is built already.
    #[inline]
    pub(crate) fn answered(&self, request: &TokenRequest) -> Option<Acquired> {
        self.answer(request, self.clock.coarse()).map(hit)
    }

    /// The answer to `request` that holds `now`.
    #[inline]
    pub(crate) fn answer(&self, request: &TokenRequest, now: CoarseTime) -> Option<Arc<Answer>> {
        let arguments = Arguments::of_request(request)?;
        self.memory.answer(&arguments, request.arguments_hash(), now)
    }

    /// Remembers that `acquired`, which was found in `sighted`, answers `request`, if it was in memory.
    pub(crate) fn remember(&self, request: &TokenRequest, sighted: &Sighted, acquired: Acquired) -> Acquired {
        match self.recorded(request, sighted, &acquired) {
            Some(answer) => Acquired { answer, ..acquired },
            None => acquired,
        }
    }

    fn recorded(
        &self,
        request: &TokenRequest,
        sighted: &Sighted,
        acquired: &Acquired,
    ) -> Option<Arc<Answer>> {
        let arguments = Arguments::of_request(request)?;
        let guards: Vec<_> = sighted.guards.iter().flatten().cloned().collect();
        let validated_at = guards.iter().map(|guard| guard.validated_at).min()?;
        let window = self.window(acquired.token(), validated_at, sighted.ends_at)?;
        let (partition, index) = (acquired.partition(), acquired.answer.index);
        let hash = request.arguments_hash();
        let answer = self
            .memory
            .record(&arguments, hash, window, &guards, partition, index)?;
        // What waits to be stored comes first. What begins to wait from here on finds the answer, and ends it.
        if self.written_behind.has(request.partition()) {
            answer.end();
            return None;
        }
        Some(answer)
    }

    /// For how long `token` answers without a second look: until it may not be handed out, is to be refreshed, its session ends, or the
    /// store is to be asked about its partition, of which it last heard at `validated_at`.
    fn window(
        &self,
        token: AccessTokenRef<'_>,
        validated_at: Duration,
        ends_at: Option<UnixMillis>,
    ) -> Option<Window> {
        // Read first: what is coarse may only be too early.
        let now = self.clock.coarse();
        let expires = token
            .expires_on
            .0
            .saturating_sub_unsigned(token.margin().as_secs());
        let due = self.due(token).map_or(i64::MAX, |due| due.0);
        let until = UnixSeconds(expires.min(due)).to_millis();
        let until = ends_at.map_or(until, |ends_at| until.min(ends_at));
        let stale = validated_at.saturating_add(self.strategy.memory_tier.max_staleness);
        let left = stale
            .saturating_sub(self.clock.monotonic())
            .min(until.duration_since(now.wall))
            .checked_sub(CoarseTime::LAG)?;
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Some(Window {
            since: now.wall,
            until: now.wall.saturating_add(left),
            until_monotonic: now.monotonic.saturating_add(left_ms),
        })
    }
}
