//! Locks of one process, by record, for caches that no other process uses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::store::StoreKey;

/// A lock for each record that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct LineageLocks {
    locks: Mutex<HashMap<StoreKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl LineageLocks {
    /// Waits for the lock of `key`. Cancellation safe.
    pub(crate) async fn lock(&self, key: StoreKey) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for any more.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(key).or_default())
        };
        lock.lock_owned().await
    }
}
