//! A store that shows writes which its replicas do not have yet: what the cache reports as done survives a failover.
#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::cache::{AcquireOptions, CacheError, SignOutScope, TokenCache};
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, SecretKey};
use cache_core::store::error::{ErrorKind, Operation};
use cache_core::store::{
    Capabilities, CompareAndSwap, Durability, Persistence, PutMode, PutOptions, Record, Store, StoreError,
    StoreKey, Version, Versions, Watch,
};
use cache_testkit::clock::ManualClock;
use cache_testkit::fault::{Fault, FaultStore};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use support::*;

type Records = BTreeMap<StoreKey, Record>;

/// A primary and its replica, which has everything as of the last write that it acknowledged.
#[derive(Debug, Default)]
struct Replicated {
    state: Mutex<State>,
    /// The replica is a disk, and the primary the memory of the system in front of it.
    is_disk: bool,
}

#[derive(Debug, Default)]
struct State {
    primary: Records,
    replica: Records,
    /// How many durable writes the replica does not acknowledge from now on.
    unacknowledged: usize,
}

impl Replicated {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn lose_acknowledgements(&self, count: usize) {
        self.lock().unacknowledged = count;
    }

    fn fail_over(&self) {
        let mut state = self.lock();
        state.primary = state.replica.clone();
        state.unacknowledged = 0;
    }
}

impl State {
    fn settle(&mut self, operation: Operation) -> Result<(), StoreError> {
        if self.unacknowledged > 0 {
            self.unacknowledged -= 1;
            return Err(StoreError::new(
                ErrorKind::Timeout,
                operation,
                "0 of 1 replicas have it",
            ));
        }
        self.replica = self.primary.clone();
        Ok(())
    }
}

#[async_trait]
impl Store for Replicated {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        Ok(self.lock().primary.get(key).cloned())
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        Ok(self.get(key).await?.map(|record| record.version))
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let mut state = self.lock();
        let stored = state.primary.get(key).map(|record| record.version);
        let applies = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => stored.is_none(),
            PutMode::Update(expected) => stored == Some(expected),
        };
        if !applies {
            return Err(StoreError::conflict(Operation::Put));
        }
        let version = Version::random(&OsRandom)?;
        let record = Record {
            payload,
            version,
            expires_at: options.expires_at,
        };
        state.primary.insert(key.clone(), record);
        if options.durability == Durability::Durable {
            state.settle(Operation::Put)?;
        }
        Ok(version)
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let mut state = self.lock();
        let stored = state.primary.get(key).map(|record| record.version);
        if expected.is_some() && stored != expected {
            return Err(StoreError::conflict(Operation::Delete));
        }
        state.primary.remove(key);
        state.settle(Operation::Delete)
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let state = self.lock();
        let found = state
            .primary
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix));
        let found: Vec<_> = found
            .map(|(key, record)| Ok((key.clone(), record.version)))
            .collect();
        stream::iter(found).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            compare_and_swap: CompareAndSwap::Cluster,
            versions: Versions::Unique,
            native_expiry: false,
            max_value_bytes: 1 << 20,
            persistence: if self.is_disk {
                Persistence::Disk
            } else {
                Persistence::Replicated
            },
            shows_early: true,
            watch: false,
        }
    }

    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}

struct World {
    clock: ManualClock,
    store: Arc<Replicated>,
    issuer: Arc<Issuer>,
    cache: TokenCache,
}

impl World {
    async fn new() -> Self {
        Self::on(Replicated::default()).await
    }

    async fn on(store: Replicated) -> Self {
        let clock = ManualClock::new();
        let store = Arc::new(store);
        let shared: Arc<dyn Store> = store.clone();
        let cache = open(&shared, &clock).await;
        Self {
            issuer: Issuer::new(&clock),
            clock,
            store,
            cache,
        }
    }

    /// With an account whose access token has expired.
    async fn signed_in() -> Self {
        let world = Self::new().await;
        let response = world.issuer.sign_in("a");
        world.cache.sign_in(&user(), response).await.unwrap();
        world.clock.advance(Duration::from_secs(3600));
        world
    }

    /// Another process, after the replica has taken over.
    async fn after_failover(&self) -> TokenCache {
        self.store.fail_over();
        let shared: Arc<dyn Store> = self.store.clone();
        open(&shared, &self.clock).await
    }

    async fn refresh(&self) -> Result<(), CacheError> {
        let acquired = self
            .cache
            .acquire(request("a"), AcquireOptions::default(), self.issuer.call("a"));
        acquired.await.map(drop)
    }

    async fn sign_out(&self) -> Result<bool, CacheError> {
        self.cache.sign_out(&user(), CLIENT, SignOutScope::Client).await
    }
}

fn is_for_want_of_replicas(error: &CacheError) -> bool {
    matches!(error, CacheError::Store(error) if error.is_outcome_unknown())
}

#[tokio::test]
async fn a_sign_in_that_is_reported_survives_a_failover() {
    let world = World::new().await;
    let _ticking = ticking(&world.clock);
    world.store.lose_acknowledgements(1);
    world
        .cache
        .sign_in(&user(), world.issuer.sign_in("a"))
        .await
        .unwrap();
    let other = world.after_failover().await;
    assert_eq!(other.accounts().await.unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn a_sign_in_that_is_reported_survives_a_power_cut_after_a_failed_sync() {
    let disk = Replicated {
        is_disk: true,
        ..Replicated::default()
    };
    let world = World::on(disk).await;
    let _ticking = ticking(&world.clock);
    world.store.lose_acknowledgements(1);
    let response = world.issuer.sign_in("a");
    world.cache.sign_in(&user(), response).await.unwrap();
    let other = world.after_failover().await;
    assert_eq!(other.accounts().await.unwrap().accounts.len(), 1);

    world.store.lose_acknowledgements(usize::MAX);
    let response = world.issuer.sign_in("a");
    let error = world.cache.sign_in(&user(), response).await.unwrap_err();
    assert!(is_for_want_of_replicas(&error), "{error:?}");
}

#[tokio::test]
async fn a_write_is_made_again_as_often_as_is_stated() {
    for (unacknowledged, is_stored) in [(3, true), (4, false)] {
        let world = World::new().await;
        let _ticking = ticking(&world.clock);
        world.store.lose_acknowledgements(unacknowledged);
        let response = world.issuer.sign_in("a");
        let signed_in = world.cache.sign_in(&user(), response).await;
        assert_eq!(signed_in.is_ok(), is_stored, "{unacknowledged}: {signed_in:?}");
    }
}

/// That somebody was faster says nothing of replicas.
#[tokio::test]
async fn conflicts_are_not_counted_as_writes_that_may_be_lost() {
    let clock = ManualClock::new();
    let _ticking = ticking(&clock);
    let faults = FaultStore::new(Arc::new(Replicated::default()), Arc::new(clock.clone()));
    let store: Arc<dyn Store> = Arc::new(faults.clone());
    let cache = open(&store, &clock).await;
    let conflict = Fault::fail(ErrorKind::Conflict)
        .on(Operation::Put)
        .at_key(is_user);
    faults.inject(conflict.times(6));
    let response = Issuer::new(&clock).sign_in("a");
    cache.sign_in(&user(), response).await.unwrap();
}

#[tokio::test]
async fn a_sign_out_that_is_reported_survives_a_power_cut_after_a_failed_sync() {
    for others_stay in [false, true] {
        let disk = Replicated {
            is_disk: true,
            ..Replicated::default()
        };
        let world = World::on(disk).await;
        let _ticking = ticking(&world.clock);
        let clients = if others_stay {
            &[CLIENT, "other"][..]
        } else {
            &[CLIENT]
        };
        for client in clients {
            let response = world.issuer.sign_in_as(client, "a");
            world.cache.sign_in(&user(), response).await.unwrap();
        }
        world.store.lose_acknowledgements(1);
        // The next attempt finds nothing left to remove.
        assert!(world.sign_out().await.unwrap());
        let other = world.after_failover().await;
        let accounts = other.accounts().await.unwrap().accounts;
        let signed_in = accounts.iter().flat_map(|account| &account.silent_clients);
        assert!(
            !signed_in.into_iter().any(|client| client == CLIENT),
            "others stay: {others_stay}"
        );
        assert_eq!(accounts.len(), usize::from(others_stay));
    }
}

#[tokio::test]
async fn a_sign_out_that_is_reported_survives_a_failover() {
    let world = World::signed_in().await;
    let _ticking = ticking(&world.clock);
    world.store.lose_acknowledgements(1);
    assert!(world.sign_out().await.unwrap());
    let other = world.after_failover().await;
    assert!(other.accounts().await.unwrap().accounts.is_empty());
}

#[tokio::test]
async fn a_sign_out_that_no_replica_has_is_an_error() {
    let world = World::signed_in().await;
    let _ticking = ticking(&world.clock);
    world.store.lose_acknowledgements(usize::MAX);
    let error = world.sign_out().await.unwrap_err();
    assert!(is_for_want_of_replicas(&error), "{error:?}");
}

/// A primary that was replaced and does not know it yet has nothing of what others write meanwhile.
#[tokio::test]
async fn a_sign_out_that_finds_nothing_is_reported_once_replicas_confirm_it() {
    let world = World::new().await;
    let _ticking = ticking(&world.clock);
    let records = world.store.lock().primary.len();
    world.store.lose_acknowledgements(usize::MAX);
    let error = world.sign_out().await.unwrap_err();
    assert!(is_for_want_of_replicas(&error), "{error:?}");
    world.store.fail_over();
    assert!(!world.sign_out().await.unwrap());
    assert_eq!(world.store.lock().primary.len(), records, "it left something");
}

/// The same where the account has tokens of another client, which stay.
#[tokio::test]
async fn a_sign_out_of_a_client_without_tokens_is_reported_once_replicas_confirm_it() {
    let world = World::signed_in().await;
    let _ticking = ticking(&world.clock);
    world.store.lose_acknowledgements(usize::MAX);
    let sign_out = async || {
        let (cache, user) = (&world.cache, user());
        cache
            .sign_out(&user, "another client", SignOutScope::Client)
            .await
    };
    let error = sign_out().await.unwrap_err();
    assert!(is_for_want_of_replicas(&error), "{error:?}");
    world.store.lose_acknowledgements(0);
    assert!(!sign_out().await.unwrap());
    let other = world.after_failover().await;
    assert_eq!(other.accounts().await.unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn no_refresh_token_is_sent_on_a_marker_that_no_replica_has() {
    let world = World::signed_in().await;
    let _ticking = ticking(&world.clock);
    world.store.lose_acknowledgements(usize::MAX);
    let error = world.refresh().await.unwrap_err();
    assert!(is_for_want_of_replicas(&error), "{error:?}");
    assert_eq!(world.issuer.redeemed(), 0);
    assert!(world.issuer.sent().is_empty());
}

#[tokio::test]
async fn a_refresh_that_is_reported_survives_a_failover() {
    // One write is the marker, the next the reply, and each may be the one that is late.
    for late in 1..=2 {
        let world = World::signed_in().await;
        let _ticking = ticking(&world.clock);
        world.store.lose_acknowledgements(late);
        world.refresh().await.unwrap();
        let other = world.after_failover().await;
        let call = world.issuer.call("a");
        other
            .acquire(request("a"), AcquireOptions::default(), call)
            .await
            .unwrap();
        assert_eq!(world.issuer.redeemed(), 1, "the reply was there");
        assert!(!world.issuer.sent_twice());
    }
}

#[tokio::test]
async fn a_key_ring_that_no_replica_has_opens_no_cache() {
    let clock = ManualClock::new();
    let store = Arc::new(Replicated::default());
    store.lose_acknowledgements(usize::MAX);
    let key = Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32])));
    let builder = TokenCache::builder(store.clone()).clock(Arc::new(clock.clone()));
    let opened = builder.open_sealed(Namespace::default(), key.clone()).await;
    assert!(opened.is_err(), "a failover would take its key away");
    store.lose_acknowledgements(0);
    let builder = TokenCache::builder(store.clone()).clock(Arc::new(clock.clone()));
    builder.open_sealed(Namespace::default(), key).await.unwrap();
}
