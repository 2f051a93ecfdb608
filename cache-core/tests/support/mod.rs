//! What tests of the cache share.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test uses its part; a failure here is a failed test"
)]

use std::sync::Arc;
use std::time::Duration;

use cache_core::cache::{AcquireOptions, TokenCache, UnknownOutcomePolicy};
use cache_core::random::OsRandom;
use cache_core::seal::{FixedKeySource, Namespace, RecordKind, SecretKey};
use cache_core::store::{MemoryStore, Store, StoreKey};
use cache_core::strategy::Strategy;
use cache_testkit::clock::ManualClock;
use cache_testkit::declared::DeclaredStore;
use cache_testkit::fault::FaultStore;

#[allow(unused_imports, reason = "each test uses its part")]
pub use cache_testkit::issuer::*;

/// A clock, and an empty store that goes by it.
pub fn parts() -> (ManualClock, Arc<dyn Store>) {
    let clock = ManualClock::new();
    let store = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    (clock, Arc::new(store))
}

/// As [`parts`], with a store that fails on demand.
pub fn faulty() -> (ManualClock, FaultStore, Arc<dyn Store>) {
    let clock = ManualClock::new();
    let inner = MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom));
    let faults = FaultStore::new(Arc::new(inner), Arc::new(clock.clone()));
    let store: Arc<dyn Store> = Arc::new(faults.clone());
    (clock, faults, store)
}

/// A store, and beside it the way to it that fails on demand, which another process goes.
pub fn beside_faults(clock: &ManualClock) -> (FaultStore, Arc<dyn Store>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with(Arc::new(clock.clone()), Arc::new(OsRandom)));
    let faults = FaultStore::new(Arc::clone(&store), Arc::new(clock.clone()));
    (faults, store)
}

pub fn is_user(key: &StoreKey) -> bool {
    RecordKind::of(&Namespace::default(), key) == Some(RecordKind::User)
}

pub async fn open(store: &Arc<dyn Store>, clock: &ManualClock) -> TokenCache {
    open_with(store, clock, Strategy::desktop_tool()).await
}

pub async fn open_with(store: &Arc<dyn Store>, clock: &ManualClock, strategy: Strategy) -> TokenCache {
    TokenCache::builder(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .strategy(strategy)
        .open_sealed(
            Namespace::default(),
            Arc::new(FixedKeySource::new(SecretKey::from_bytes(&[7; 32]))),
        )
        .await
        .unwrap()
}

pub fn retry_once() -> AcquireOptions {
    AcquireOptions {
        unknown_outcome: UnknownOutcomePolicy::RetryOnce,
        ..AcquireOptions::default()
    }
}

/// Moves the clock on whenever somebody sleeps, so that pauses end and deadlines come.
pub fn ticking(clock: &ManualClock) -> AbortOnDrop {
    let clock = clock.clone();
    AbortOnDrop(tokio::spawn(async move {
        loop {
            if clock.sleepers() > 0 {
                clock.advance(Duration::from_millis(20));
            }
            tokio::task::yield_now().await;
        }
    }))
}

pub struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lets other tasks run until they have nothing to do.
pub async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// A store that tells nobody of changes.
pub fn quiet(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(DeclaredStore::new(store, |capabilities| {
        capabilities.watch = false
    }))
}

/// As [`quiet`], with room for records of so many bytes.
pub fn quiet_and_small(store: Arc<dyn Store>, max_value_bytes: usize) -> Arc<dyn Store> {
    Arc::new(DeclaredStore::new(store, |capabilities| {
        capabilities.watch = false;
        capabilities.max_value_bytes = max_value_bytes;
    }))
}
