//! A machine with a fallback store.

use std::sync::Arc;

use cache_core::cache::TokenCache;
use cache_core::random::OsRandom;
use cache_core::store::{MemoryStore, Store, StoreExt, StoreKey};
use cache_core::strategy::{MemoryTier, OutagePolicy, RefreshPolicy, Strategy};
use cache_testkit::fault::FaultStore;

use crate::scene::*;
use crate::support::*;

/// A scene with a fallback store on the machine of whoever's store goes down.
pub(crate) struct Machine {
    pub(crate) scene: Scene,
    /// The fallback store, whose faults are the test's.
    pub(crate) local_faults: FaultStore,
    pub(crate) local: Arc<dyn Store>,
}

pub(crate) const AT_MOST: std::time::Duration = MINUTE.saturating_mul(40);

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(Scene::new())
    }

    pub(crate) fn with(scene: Scene) -> Self {
        let clock = Arc::new(scene.clock.clone());
        let inner = MemoryStore::with(clock.clone(), Arc::new(OsRandom));
        let local_faults = FaultStore::new(Arc::new(inner), clock);
        Self {
            local: Arc::new(local_faults.clone()),
            local_faults,
            scene,
        }
    }

    pub(crate) fn strategy(&self) -> Strategy {
        Strategy::web_front_end()
            .refresh(RefreshPolicy::OnDemand)
            .outage(OutagePolicy::Fallback {
                store: Arc::clone(&self.local),
                at_most: AT_MOST,
            })
    }

    /// A process of this machine.
    pub(crate) async fn process(&self) -> TokenCache {
        self.scene.cache(self.strategy()).await
    }

    /// A process that keeps nothing in memory, so that copies are all that it has.
    pub(crate) async fn forgetful(&self) -> TokenCache {
        self.scene
            .cache(self.strategy().memory_tier(MemoryTier::off()))
            .await
    }

    /// The copies of partitions in the fallback store.
    pub(crate) async fn copies(&self) -> Vec<StoreKey> {
        settle().await;
        let keys = self.local.collect_keys("fallback/").await.unwrap();
        keys.into_iter()
            .filter(|key| !key.as_str().contains("keyring"))
            .collect()
    }
}
