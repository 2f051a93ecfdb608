//! What every store can do besides, made from what it must do.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::error::Operation;
use super::{
    CircuitBreaker, CircuitBreakerStore, InvalidStoreKey, LimitStore, MetricsStore, PrefixStore, PutOptions,
    Record, RetryPolicy, RetryStore, Store, StoreError, StoreKey, TimeoutStore, Version,
};
use crate::random::Random;
use crate::time::{Clock, UnixMillis};

/// Conveniences for callers of a [`Store`]. Every store has them, `dyn Store` included; none can override them.
///
/// The `with_…` methods wrap a store. From the inside out, the usual order is
/// [`with_timeout`](Self::with_timeout), [`with_limit`](Self::with_limit), [`with_retry`](Self::with_retry),
/// [`with_circuit_breaker`](Self::with_circuit_breaker), [`with_metrics`](Self::with_metrics), [`with_prefix`](Self::with_prefix); each decorator's documentation says
/// why.
pub trait StoreExt: Store {
    /// Whether there is a record under `key`. Cancellation safe.
    ///
    /// # Errors
    /// As [`Store::head`].
    fn exists(&self, key: &StoreKey) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { Ok(self.head(key).await?.is_some()) }
    }

    /// Writes a new, durable record that expires at `expires_at`; `None`, when there is one already.
    ///
    /// *Not* cancellation safe, as [`Store::put`].
    ///
    /// # Errors
    /// As [`Store::put`], conflicts aside.
    fn try_create(
        &self,
        key: &StoreKey,
        payload: Bytes,
        expires_at: Option<UnixMillis>,
    ) -> impl Future<Output = Result<Option<Version>, StoreError>> + Send {
        async move {
            let options = PutOptions::create().expires_at(expires_at);
            match self.put(key, payload, options).await {
                Ok(version) => Ok(Some(version)),
                Err(error) if error.is_conflict() => Ok(None),
                Err(error) => Err(error),
            }
        }
    }

    /// Reads the record under `key`, lets `edit` decide, and writes on the condition that the record has not
    /// changed meanwhile; if it has, begins anew, `attempts` times in all.
    ///
    /// Returns the version that is stored afterwards. `edit` may be called several times and should have no
    /// effect but its answer. *Not* cancellation safe, as [`Store::put`].
    ///
    /// # Errors
    /// `Conflict` when the last attempt met one. Any other error of the store ends it at once; one that
    /// [is of unknown outcome](StoreError::is_outcome_unknown) as well.
    fn update_with<F>(
        &self,
        key: &StoreKey,
        attempts: NonZeroU32,
        mut edit: F,
    ) -> impl Future<Output = Result<Option<Version>, StoreError>> + Send
    where
        F: FnMut(Option<&Record>) -> Edit + Send,
    {
        async move {
            let mut conflict = None;
            for _ in 0..attempts.get() {
                let current = self.get(key).await?;
                let version = current.as_ref().map(|record| record.version);
                let written = match (edit(current.as_ref()), version) {
                    (Edit::Keep, _) => return Ok(version),
                    (Edit::Write { payload, expires_at }, _) => {
                        let options = version.map_or(PutOptions::create(), PutOptions::update);
                        self.put(key, payload, options.expires_at(expires_at))
                            .await
                            .map(Some)
                    }
                    (Edit::Delete, None) => return Ok(None),
                    (Edit::Delete, Some(_)) => self.delete(key, version).await.map(|()| None),
                };
                match written {
                    Err(error) if error.is_conflict() => conflict = Some(error),
                    result => return result,
                }
            }
            Err(conflict.unwrap_or_else(|| StoreError::conflict(Operation::Put)))
        }
    }

    /// The keys of all live records under `prefix`, in order. Cancellation safe.
    ///
    /// # Errors
    /// The first error of the [scan](Store::scan).
    fn collect_keys(&self, prefix: &str) -> impl Future<Output = Result<Vec<StoreKey>, StoreError>> + Send {
        async move {
            let mut scan = self.scan(prefix);
            let mut keys = Vec::new();
            while let Some(item) = scan.next().await {
                keys.push(item?.0);
            }
            keys.sort_unstable();
            Ok(keys)
        }
    }

    /// The part of this store under `prefix`: see [`PrefixStore`].
    ///
    /// # Errors
    /// [`InvalidStoreKey`] when the prefix could not be the beginning of a key.
    fn with_prefix(self, prefix: impl AsRef<str>) -> Result<PrefixStore<Self>, InvalidStoreKey>
    where
        Self: Sized,
    {
        PrefixStore::new(self, prefix)
    }

    /// This store with a time limit on each operation: see [`TimeoutStore`].
    #[must_use]
    fn with_timeout(self, limit: Duration, clock: Arc<dyn Clock>) -> TimeoutStore<Self>
    where
        Self: Sized,
    {
        TimeoutStore::new(self, limit, clock)
    }

    /// This store, trying again what certainly was not applied: see [`RetryStore`].
    #[must_use]
    fn with_retry(
        self,
        policy: RetryPolicy,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> RetryStore<Self>
    where
        Self: Sized,
    {
        RetryStore::new(self, policy, clock, random)
    }

    /// This store, left alone while it does not answer, and reported as `name`: see [`CircuitBreakerStore`].
    #[must_use]
    fn with_circuit_breaker(
        self,
        name: impl Into<String>,
        policy: CircuitBreaker,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> CircuitBreakerStore<Self>
    where
        Self: Sized,
    {
        CircuitBreakerStore::new(self, name, policy, clock, random)
    }

    /// This store, reporting on itself as `name`: see [`MetricsStore`].
    #[must_use]
    fn with_metrics(self, name: impl Into<String>, clock: Arc<dyn Clock>) -> MetricsStore<Self>
    where
        Self: Sized,
    {
        MetricsStore::new(self, name, clock)
    }

    /// This store with at most `limit` operations at once: see [`LimitStore`].
    #[must_use]
    fn with_limit(self, limit: usize) -> LimitStore<Self>
    where
        Self: Sized,
    {
        LimitStore::new(self, limit)
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

/// What to do with a record that [`StoreExt::update_with`] has read.
#[derive(Clone, PartialEq, Eq)]
pub enum Edit {
    /// Leave what is there.
    Keep,
    /// Write, durably.
    Write {
        /// The new payload.
        payload: Bytes,
        /// When the record ceases to exist; `None` for never.
        expires_at: Option<UnixMillis>,
    },
    /// Remove the record, if there is one.
    Delete,
}
