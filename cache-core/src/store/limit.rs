//! A bound on how many operations run at once.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::{ErrorKind, Operation};
use super::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};

/// A store that works on a bounded number of operations at once; others wait for their turn, in order.
///
/// A scan takes its turn for each item and holds none in between, so that whoever reads records while it scans
/// cannot wait for itself. Clones share the bound. A watch takes no turn.
///
/// # Order
/// Outside [`TimeoutStore`](super::TimeoutStore) and inside [`RetryStore`](super::RetryStore).
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use cache_core::store::{MemoryStore, StoreExt};
/// # use cache_core::time::SystemClock;
/// let second = Duration::from_secs(1);
/// // Right: the second counts from when the operation has its turn.
/// let store = MemoryStore::new().with_timeout(second, Arc::new(SystemClock)).with_limit(8);
/// // Wrong, although it compiles: under load the second passes in the queue, and a put that was never begun is
/// // reported as one whose outcome is unknown.
/// let wrong = MemoryStore::new().with_limit(8).with_timeout(second, Arc::new(SystemClock));
/// ```
///
/// # Cancellation safety
/// As the inner store. Dropped while it waits for its turn, an operation was not applied and gives up its place.
#[derive(Clone, Debug)]
pub struct LimitStore<S> {
    inner: S,
    turns: Arc<Semaphore>,
}

impl<S: Store> LimitStore<S> {
    /// `inner` with at most `limit` operations at once; a limit of 0 is taken as 1.
    #[must_use]
    pub fn new(inner: S, limit: usize) -> Self {
        Self {
            inner,
            turns: Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    async fn turn(&self, operation: Operation) -> Result<SemaphorePermit<'_>, StoreError> {
        // Nothing closes the semaphore; if something did, the store would be closed.
        let closed =
            |source| StoreError::new(ErrorKind::Closed, operation, "no turns are given").with_source(source);
        self.turns.acquire().await.map_err(closed)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for LimitStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let _turn = self.turn(Operation::Get).await?;
        self.inner.get(key).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let _turn = self.turn(Operation::Head).await?;
        self.inner.head(key).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let _turn = self.turn(Operation::Put).await?;
        self.inner.put(key, payload, options).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let _turn = self.turn(Operation::Delete).await?;
        self.inner.delete(key, expected).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        stream::unfold(Some(self.inner.scan(prefix)), move |scan| async move {
            let mut scan = scan?;
            match self.turn(Operation::Scan).await {
                Ok(_turn) => scan.next().await.map(|item| (item, Some(scan))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .fuse()
        .boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.inner.watch()
    }
}
