//! A store that says something else of what it can do.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use futures_core::stream::BoxStream;

/// Passes everything on, and declares other [`Capabilities`]: to see what a program makes of a store that can do less, or is shared with
/// more.
///
/// Only what is said changes. Where `watch` is denied, [`Store::watch`] gives nothing either.
///
/// ```
/// use std::sync::Arc;
/// use cache_core::store::{CompareAndSwap, MemoryStore, Store};
/// use cache_testkit::declared::DeclaredStore;
///
/// let store = DeclaredStore::new(Arc::new(MemoryStore::new()), |capabilities| {
///     capabilities.compare_and_swap = CompareAndSwap::Cluster;
///     capabilities.watch = false;
/// });
/// assert_eq!(store.capabilities().compare_and_swap, CompareAndSwap::Cluster);
/// assert!(store.watch().is_none());
/// ```
pub struct DeclaredStore {
    inner: Arc<dyn Store>,
    capabilities: Capabilities,
}

impl DeclaredStore {
    /// Over `inner`, whose capabilities `change` changes.
    pub fn new(inner: Arc<dyn Store>, change: impl FnOnce(&mut Capabilities)) -> Self {
        let mut capabilities = inner.capabilities();
        change(&mut capabilities);
        Self { inner, capabilities }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for DeclaredStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.inner.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.inner.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.inner.put(key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.inner.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        self.inner.scan(prefix)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.inner.watch().filter(|_| self.capabilities.watch)
    }
}

impl fmt::Debug for DeclaredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeclaredStore")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
