//! A time limit on each operation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::error::{ErrorKind, Operation, Retry};
use super::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use crate::time::{Clock, with_deadline};

/// A store whose operations end within a time limit.
///
/// One that runs out fails with `Timeout`. A read may then be sent again (`Retry::Yes`); a put or a delete may
/// have been applied (`Retry::OutcomeUnknown`). In a scan the limit is on each wait for the next item, since a
/// whole scan has no natural length. A watch has none.
///
/// # Order
/// Inside [`RetryStore`](super::RetryStore), so that the limit is on each attempt, and inside
/// [`LimitStore`](super::LimitStore), so that waiting for its turn does not make a write's outcome unknown.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use cache_core::random::OsRandom;
/// # use cache_core::store::{MemoryStore, RetryPolicy, StoreExt};
/// # use cache_core::time::SystemClock;
/// let limit = Duration::from_secs(2);
/// // Right: each attempt has two seconds, and a read that ran out is tried again.
/// let store = MemoryStore::new()
///     .with_timeout(limit, Arc::new(SystemClock))
///     .with_retry(RetryPolicy::default(), Arc::new(SystemClock), Arc::new(OsRandom));
/// // Wrong, although it compiles: the limit cuts the attempts short, and a put that was only waiting for its
/// // next attempt (so was certainly not applied) is reported as one whose outcome is unknown.
/// let wrong = MemoryStore::new()
///     .with_retry(RetryPolicy::default(), Arc::new(SystemClock), Arc::new(OsRandom))
///     .with_timeout(limit, Arc::new(SystemClock));
/// ```
///
/// # Cancellation safety
/// As the inner store. When the time runs out, the inner operation is dropped.
#[derive(Clone)]
pub struct TimeoutStore<S> {
    inner: S,
    limit: Duration,
    clock: Arc<dyn Clock>,
}

impl<S: Store> TimeoutStore<S> {
    /// `inner` with `limit` on each operation, measured by `clock`.
    #[must_use]
    pub fn new(inner: S, limit: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { inner, limit, clock }
    }

    async fn limited<T>(
        &self,
        operation: Operation,
        future: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        with_deadline(&*self.clock, self.limit, future)
            .await
            .unwrap_or_else(|| Err(self.ran_out(operation)))
    }

    fn ran_out(&self, operation: Operation) -> StoreError {
        let retry = match operation {
            Operation::Put | Operation::Delete => Retry::OutcomeUnknown,
            Operation::Open | Operation::Get | Operation::Head | Operation::Scan => Retry::Yes,
        };
        let context = format!("no answer within {:?}", self.limit);
        StoreError::new(ErrorKind::Timeout, operation, context).with_retry(retry)
    }
}

impl<S: fmt::Debug> fmt::Debug for TimeoutStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutStore")
            .field("inner", &self.inner)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for TimeoutStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.limited(Operation::Get, self.inner.get(key)).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.limited(Operation::Head, self.inner.head(key)).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.limited(Operation::Put, self.inner.put(key, payload, options))
            .await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.limited(Operation::Delete, self.inner.delete(key, expected))
            .await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        stream::unfold(Some(self.inner.scan(prefix)), move |scan| async move {
            let mut scan = scan?;
            match with_deadline(&*self.clock, self.limit, scan.next()).await {
                Some(Some(Ok(item))) => Some((Ok(item), Some(scan))),
                Some(Some(Err(error))) => Some((Err(error), None)),
                Some(None) => None,
                None => Some((Err(self.ran_out(Operation::Scan)), None)),
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
