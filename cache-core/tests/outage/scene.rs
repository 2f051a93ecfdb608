//! A store that goes down and comes back.

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, Acquired, CacheError, TokenCache};
use cache_core::random::OsRandom;
use cache_core::schema::{AuthorityIdentity, AuthorityKind, PartitionKey, ScopeSet, TokenRequest};
use cache_core::store::error::ErrorKind;
use cache_core::store::{MemoryStore, Store};
use cache_core::strategy::{OutagePolicy, RefreshPolicy, Strategy};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};

use crate::support::*;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// The staleness that the presets in use here allow.
pub(crate) const STALE: Duration = Duration::from_secs(30);

/// A store that all reach, and the way of one of them to it.
pub(crate) struct Scene {
    pub(crate) clock: ManualClock,
    pub(crate) issuer: Arc<Issuer>,
    /// What is never down.
    pub(crate) backend: Arc<dyn Store>,
    pub(crate) faults: FaultStore,
    /// What goes down.
    pub(crate) store: Arc<dyn Store>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        Self::over(
            Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom))),
            clock,
        )
    }

    /// Nobody is told of changes.
    pub(crate) fn quiet() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
        Self::over(quiet(Arc::new(store)), clock)
    }

    fn over(backend: Arc<dyn Store>, clock: ManualClock) -> Self {
        let faults = FaultStore::new(Arc::clone(&backend), Arc::new(clock.clone()));
        Self {
            issuer: Issuer::new(&clock),
            store: Arc::new(faults.clone()),
            backend,
            faults,
            clock,
        }
    }

    /// A cache whose store goes down.
    pub(crate) async fn cache(&self, strategy: Strategy) -> TokenCache {
        open_with(&self.store, &self.clock, strategy).await
    }

    /// The cache of another process, whose store is never down.
    pub(crate) async fn elsewhere(&self) -> TokenCache {
        open_with(&self.backend, &self.clock, Strategy::desktop_tool()).await
    }

    pub(crate) fn down(&self) {
        self.faults.inject(Fault::fail(ErrorKind::Unavailable));
    }

    /// The store is back, and the circuit may be tried again.
    pub(crate) fn up(&self) {
        self.faults.heal();
        self.clock.advance(2 * SECOND);
    }

    pub(crate) async fn sign_in(&self, cache: &TokenCache) -> Acquired {
        let signed_in = cache.sign_in(&user(), self.issuer.sign_in("a")).await.unwrap();
        settle().await;
        signed_in
    }

    pub(crate) async fn token(&self, cache: &TokenCache) -> Result<Acquired, CacheError> {
        self.token_for(cache, AcquireOptions::default()).await
    }

    pub(crate) async fn token_for(
        &self,
        cache: &TokenCache,
        options: AcquireOptions,
    ) -> Result<Acquired, CacheError> {
        cache.acquire(request("a"), options, self.issuer.call("a")).await
    }

    pub(crate) async fn app_token(&self, cache: &TokenCache, scopes: &str) -> Result<Acquired, CacheError> {
        cache
            .acquire_app(
                app_request(scopes),
                AcquireOptions::default(),
                self.issuer.call(scopes),
            )
            .await
    }

    /// The tokens of the application that are stored.
    pub(crate) async fn stored_app_tokens(&self) -> usize {
        let cache = self.elsewhere().await;
        let records = cache.inspect().await.unwrap();
        let contents = records.into_iter().filter_map(|record| record.contents);
        contents
            .map(|contents| contents.unwrap())
            .filter(|contents| contents.accounts == 0)
            .map(|contents| contents.access_tokens)
            .sum()
    }
}

/// A front end that serves from memory for `at_most` longer, and refreshes on demand.
pub(crate) fn from_memory(at_most: Duration) -> Strategy {
    Strategy::web_front_end()
        .refresh(RefreshPolicy::OnDemand)
        .outage(OutagePolicy::ServeFromMemory { at_most })
}

pub(crate) fn app_key() -> PartitionKey {
    PartitionKey::App {
        client_id: CLIENT.into(),
        authority: AuthorityIdentity::of_issuer(ISSUER),
        tenant: String::new(),
        resource: None,
        components: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn app_request(scopes: &str) -> Arc<TokenRequest> {
    Arc::new(TokenRequest::new(
        app_key(),
        AuthorityKind::Oidc,
        CLIENT,
        "issuer.example",
        "",
        ScopeSet::parse(scopes),
    ))
}

pub(crate) fn assert_unavailable(result: Result<Acquired, CacheError>) {
    let error = result.unwrap_err();
    assert!(error.is_store_unavailable(), "{error:?}");
}
