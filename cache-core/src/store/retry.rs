//! Another attempt at what certainly was not applied.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::error::Retry;
use super::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use crate::random::{Random, jitter};
use crate::time::Clock;

/// How often and after what wait an operation is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The largest number of attempts, the first included.
    pub attempts: NonZeroU32,
    /// The longest wait before the second attempt. It doubles with each further one.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
}

impl RetryPolicy {
    /// The wait before attempt number `attempt` (the second is 2), of which `fraction` in `0.0..1.0` is taken.
    ///
    /// "Full jitter": callers that failed together do not come back together.
    fn wait_before(&self, attempt: u32, fraction: f64) -> Duration {
        let doublings = 2_u32.saturating_pow(attempt.saturating_sub(2));
        let longest = self.first_wait.saturating_mul(doublings).min(self.longest_wait);
        Duration::try_from_secs_f64(longest.as_secs_f64() * fraction).unwrap_or(longest)
    }
}

impl Default for RetryPolicy {
    /// Four attempts within at most 0.7 seconds of waiting.
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::MIN.saturating_add(3),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(2),
        }
    }
}

/// A store that tries again what failed with `Retry::Yes`, a bounded number of times.
///
/// What failed with `OutcomeUnknown` is never sent again: a second conditional put could meet the first, report
/// a conflict, and hide that it succeeded. A scan is tried again only until it has given its first item.
///
/// # Order
/// Outside [`TimeoutStore`](super::TimeoutStore), so that each attempt has a time limit of its own, and outside
/// [`LimitStore`](super::LimitStore), so that nobody holds a permit while it waits.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use cache_core::random::OsRandom;
/// # use cache_core::store::{MemoryStore, RetryPolicy, StoreExt};
/// # use cache_core::time::SystemClock;
/// // Right: while it waits for its next attempt, an operation leaves its place to another.
/// let store = MemoryStore::new()
///     .with_limit(8)
///     .with_retry(RetryPolicy::default(), Arc::new(SystemClock), Arc::new(OsRandom));
/// // Wrong, although it compiles: eight operations that wait keep out all others.
/// let wrong = MemoryStore::new()
///     .with_retry(RetryPolicy::default(), Arc::new(SystemClock), Arc::new(OsRandom))
///     .with_limit(8);
/// ```
///
/// # Cancellation safety
/// As the inner store. Dropped while it waits, an operation is not tried again.
#[derive(Clone)]
pub struct RetryStore<S> {
    inner: S,
    policy: RetryPolicy,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl<S: Store> RetryStore<S> {
    /// `inner`, tried again as `policy` says, after waits on `clock` spread by `random`.
    #[must_use]
    pub fn new(inner: S, policy: RetryPolicy, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            inner,
            policy,
            clock,
            random,
        }
    }

    async fn retried<T, F>(&self, operation: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut attempt = 1;
        loop {
            match operation().await {
                Err(error) if self.tries_again(attempt, &error) => {}
                result => return result,
            }
            attempt += 1;
            self.wait_before(attempt).await;
        }
    }

    fn tries_again(&self, attempt: u32, error: &StoreError) -> bool {
        error.retry() == Retry::Yes && attempt < self.policy.attempts.get()
    }

    async fn wait_before(&self, attempt: u32) {
        // Without randomness all wait the longest: slower, and no less right.
        let fraction = jitter(&*self.random).unwrap_or(1.0);
        self.clock.sleep(self.policy.wait_before(attempt, fraction)).await;
    }
}

impl<S: fmt::Debug> fmt::Debug for RetryStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryStore")
            .field("inner", &self.inner)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for RetryStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.retried(|| self.inner.get(key)).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.retried(|| self.inner.head(key)).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.retried(|| self.inner.put(key, payload.clone(), options))
            .await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.retried(|| self.inner.delete(key, expected)).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let begun = async move {
            let mut attempt = 1;
            loop {
                let mut scan = self.inner.scan(prefix).fuse();
                match scan.next().await {
                    Some(Err(error)) if self.tries_again(attempt, &error) => {}
                    first => return stream::iter(first).chain(scan),
                }
                attempt += 1;
                self.wait_before(attempt).await;
            }
        };
        stream::once(begun).flatten().boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.inner.watch()
    }
}
