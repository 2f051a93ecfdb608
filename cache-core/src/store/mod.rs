//! The storage contract: untrusted bytes under a key, with compare-and-swap.
//!
//! A [`Store`] is all that a backend has to implement. It knows nothing of tokens, of encryption or of
//! clients: above it the cache seals every payload and merges every change, so a store may be remote,
//! shared, or in the hands of somebody who should not read it.
//!
//! # The rules
//!
//! `cache-testkit` holds each of these rules as a test that any backend can run.
//!
//! 1. **A version never recurs.** Each successful [`Store::put`] gives the record a [`Version`] that this key
//!    never had before, not even before a delete. A foreign layout that can only hash the content says
//!    [`Versions::ContentHash`] in its [`Capabilities`].
//! 2. **A conditional write that does not apply is a conflict**, also when the key is missing: `Update` and
//!    a conditional delete of a missing key answer [`ErrorKind::Conflict`](error::ErrorKind::Conflict).
//! 3. **An expired record is absent** in every operation and every mode, from the first moment at which the
//!    injected clock is at or past [`PutOptions::expires_at`].
//! 4. **An argument that cannot be honoured is refused**, never ignored.
//! 5. **`Durable` means as durable as [`Capabilities::persistence`] says** when `put` returns.
//! 6. **An outcome that is not known is said to be unknown.** A conditional put that timed out may have been
//!    applied: its error carries [`Retry::OutcomeUnknown`](error::Retry::OutcomeUnknown), and nothing resends it.
//! 7. **Watch messages are hints.** They may repeat and may be late; what may not happen is that one is
//!    dropped without a [`WatchEvent::Lost`] in its place.
//!
//! # Around a store
//!
//! Callers have the conveniences of [`StoreExt`]; implementers write none. Decorators add one concern each and
//! keep all rules: [`TimeoutStore`], [`LimitStore`], [`RetryStore`], [`CircuitBreakerStore`], [`MetricsStore`] and
//! [`PrefixStore`], from the inside out in their usual order.
//!
//! # Example
//!
//! ```
//! use cache_core::store::{MemoryStore, PutOptions, Store, StoreKey};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = MemoryStore::new();
//! let key = StoreKey::new("tokenkeep/user/1")?;
//! let first = store.put(&key, "one".into(), PutOptions::create()).await?;
//! let second = store.put(&key, "two".into(), PutOptions::update(first)).await?;
//! assert_ne!(first, second);
//! // The first version is gone: whoever still holds it must read again.
//! assert!(store.put(&key, "three".into(), PutOptions::update(first)).await.unwrap_err().is_conflict());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod capabilities;
mod circuit;
pub mod circuit_breaker;
pub mod error;
mod ext;
mod key;
mod limit;
mod memory;
pub mod metrics;
mod names;
mod options;
mod prefix;
mod retry;
mod system;
mod timeout;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

pub use capabilities::{Capabilities, CompareAndSwap, Persistence, Versions};
pub use circuit::{CircuitBreaker, CircuitOpen, CircuitState};
pub use circuit_breaker::CircuitBreakerStore;
pub use error::StoreError;
pub use ext::{Edit, StoreExt};
pub use key::{InvalidStoreKey, StoreKey, Version};
pub use limit::LimitStore;
pub use memory::{MemoryStore, broadcast_events};
pub use metrics::MetricsStore;
pub use names::sync_names;
pub use options::{Durability, PutMode, PutOptions};
pub use prefix::PrefixStore;
pub use retry::{RetryPolicy, RetryStore};
pub use system::{classify_file_error, describe_file_error};
pub use timeout::TimeoutStore;

use crate::time::UnixMillis;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes as they were put.
    pub payload: Bytes,
    /// Which write this record comes from.
    pub version: Version,
    /// When the record ceases to exist; `None` for never.
    pub expires_at: Option<UnixMillis>,
}

/// A backend: see the [module documentation](self) for its rules.
///
/// No method has a default, and every decorator in this crate denies
/// `clippy::missing_trait_methods`, so that a new method can never be silently dropped on the way down.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads the record under `key`; `None` when it is missing or expired.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// [`StoreError`] when the backend cannot answer; a failed read is never reported as a missing record.
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError>;

    /// Reads only the version under `key`, to learn cheaply whether a cached copy is still good.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError>;

    /// Writes `payload` under `key` as `options` say and returns the new version.
    ///
    /// *Not* cancellation safe: when the future is dropped the write may or may not have been applied. The
    /// caller must read again before it decides anything.
    ///
    /// # Errors
    /// `Conflict` when the mode's condition does not hold (the stored record is untouched); `TooLarge` and
    /// `Unsupported` for arguments beyond [`capabilities`](Self::capabilities); others when the backend fails.
    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError>;

    /// Removes the record under `key`, as durably as the backend can.
    ///
    /// With `expected: None` a missing key is success. With a version, `Conflict` unless exactly that version is
    /// stored. *Not* cancellation safe, as [`put`](Self::put).
    ///
    /// # Errors
    /// `Conflict`, or that the backend failed.
    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError>;

    /// Lists the live records whose key starts with `prefix` (the empty prefix lists all), in no particular order.
    ///
    /// A record that exists during the whole scan is listed once; one that is written or removed meanwhile may
    /// or may not be. The stream ends after the first error. Dropping it is safe.
    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>>;

    /// What this store can do, as data. It does not change during the life of the store.
    fn capabilities(&self) -> Capabilities;

    /// Notification of changes, if the backend has it. A decorator must decide what it does with it.
    fn watch(&self) -> Option<&dyn Watch>;
}

/// Notification of changes that others (and this instance) make.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Starts listening. Every change committed after this call is reported, at least once, or covered by
    /// [`WatchEvent::Lost`]. The stream never ends while the store lives.
    fn subscribe(&self) -> BoxStream<'static, WatchEvent>;
}

/// A hint that something changed. Hints are never authority: read the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The record under the key changed to the version; `None` when it was removed, or the version is not known.
    Changed(StoreKey, Option<Version>),
    /// Changes may have been missed: everything read before now must be revalidated.
    Lost,
}

macro_rules! forward_store {
    ($pointer:ty) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: Store + ?Sized> Store for $pointer {
            async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
                (**self).get(key).await
            }

            async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
                (**self).head(key).await
            }

            async fn put(
                &self,
                key: &StoreKey,
                payload: Bytes,
                options: PutOptions,
            ) -> Result<Version, StoreError> {
                (**self).put(key, payload, options).await
            }

            async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
                (**self).delete(key, expected).await
            }

            fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
                (**self).scan(prefix)
            }

            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            fn watch(&self) -> Option<&dyn Watch> {
                (**self).watch()
            }
        }
    };
}

forward_store!(Arc<S>);
forward_store!(Box<S>);
