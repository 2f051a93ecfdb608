//! How often, how long and with what outcome a store is used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use metrics::SharedString;

use super::error::{ErrorKind, Operation};
use super::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use crate::time::Clock;

/// Counts operations; labels `store`, `operation`, `outcome`.
pub const OPERATIONS: &str = "tokenkeep_store_operations_total";
/// Histogram of how long operations took, in seconds; labels `store`, `operation`.
pub const DURATION: &str = "tokenkeep_store_operation_duration_seconds";
/// Histogram of the lengths of payloads that were read or written, in bytes; labels `store`, `operation`.
pub const PAYLOAD: &str = "tokenkeep_store_payload_bytes";

/// A store that reports on itself through the `metrics` facade.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | [`tokenkeep_store_operations_total`](OPERATIONS) | counter | `store`, `operation`, `outcome` |
/// | [`tokenkeep_store_operation_duration_seconds`](DURATION) | histogram | `store`, `operation` |
/// | [`tokenkeep_store_payload_bytes`](PAYLOAD) | histogram | `store`, `operation` |
///
/// `store` is the name given here, `operation` one of `get`, `head`, `put`, `delete`, `scan`. `outcome` is `ok`,
/// `missing` (a read that found nothing), `cancelled` (dropped before it ended), or the kind of the error, as
/// `conflict`. **No label holds a key**: keys tell who signed in, and would make a series for every user.
///
/// # Order
/// Outermost to see what the program waits for, innermost to see what the backend does. Both at once are fine
/// under two names.
///
/// ```
/// # use std::sync::Arc;
/// # use cache_core::random::OsRandom;
/// # use cache_core::store::{MemoryStore, RetryPolicy, StoreExt};
/// # use cache_core::time::SystemClock;
/// // Right: each attempt counts as `backend`, each call as `cache`.
/// let store = MemoryStore::new()
///     .with_metrics("backend", Arc::new(SystemClock))
///     .with_retry(RetryPolicy::default(), Arc::new(SystemClock), Arc::new(OsRandom))
///     .with_metrics("cache", Arc::new(SystemClock));
/// // Wrong, although it compiles: every operation is counted twice under one name.
/// let wrong = MemoryStore::new()
///     .with_metrics("backend", Arc::new(SystemClock))
///     .with_metrics("backend", Arc::new(SystemClock));
/// ```
///
/// # Cancellation safety
/// As the inner store. A dropped operation is counted as `cancelled`; a scan that is dropped before its end, too.
#[derive(Clone)]
pub struct MetricsStore<S> {
    inner: S,
    name: SharedString,
    clock: Arc<dyn Clock>,
}

impl<S: Store> MetricsStore<S> {
    /// `inner`, reported as `name`, with durations by `clock`.
    #[must_use]
    pub fn new(inner: S, name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            name: SharedString::from_shared(name.into().into()),
            clock,
        }
    }

    fn begin(&self, operation: Operation) -> Measurement<'_> {
        Measurement {
            name: &self.name,
            clock: &*self.clock,
            operation,
            begun: self.clock.monotonic(),
            outcome: "cancelled",
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for MetricsStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsStore")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for MetricsStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let measurement = self.begin(Operation::Get);
        let result = self.inner.get(key).await;
        if let Ok(Some(record)) = &result {
            measurement.payload(record.payload.len());
        }
        measurement.end_read(&result);
        result
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let measurement = self.begin(Operation::Head);
        let result = self.inner.head(key).await;
        measurement.end_read(&result);
        result
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let measurement = self.begin(Operation::Put);
        measurement.payload(payload.len());
        let result = self.inner.put(key, payload, options).await;
        measurement.end(&result);
        result
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let measurement = self.begin(Operation::Delete);
        let result = self.inner.delete(key, expected).await;
        measurement.end(&result);
        result
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let begun = (self.inner.scan(prefix), self.begin(Operation::Scan));
        stream::unfold(Some(begun), |running| async move {
            let (mut scan, measurement) = running?;
            match scan.next().await {
                Some(Ok(item)) => Some((Ok(item), Some((scan, measurement)))),
                Some(Err(error)) => {
                    let result = Err(error);
                    measurement.end(&result);
                    Some((result, None))
                }
                None => {
                    measurement.end(&Ok(()));
                    None
                }
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

/// An operation that is being measured; reported when it is dropped, however that comes about.
struct Measurement<'a> {
    name: &'a SharedString,
    clock: &'a dyn Clock,
    operation: Operation,
    begun: Duration,
    outcome: &'static str,
}

impl Measurement<'_> {
    fn payload(&self, bytes: usize) {
        metrics::histogram!(PAYLOAD, "store" => self.name.clone(), "operation" => operation_label(self.operation))
            .record(bytes as f64);
    }

    fn end<T>(mut self, result: &Result<T, StoreError>) {
        self.outcome = match result {
            Ok(_) => "ok",
            Err(error) => error_label(error.kind()),
        };
    }

    fn end_read<T>(mut self, result: &Result<Option<T>, StoreError>) {
        self.outcome = match result {
            Ok(Some(_)) => "ok",
            Ok(None) => "missing",
            Err(error) => error_label(error.kind()),
        };
    }
}

impl Drop for Measurement<'_> {
    fn drop(&mut self) {
        let operation = operation_label(self.operation);
        let elapsed = self.clock.monotonic().saturating_sub(self.begun);
        metrics::histogram!(DURATION, "store" => self.name.clone(), "operation" => operation).record(elapsed);
        metrics::counter!(
            OPERATIONS,
            "store" => self.name.clone(), "operation" => operation, "outcome" => self.outcome
        )
        .increment(1);
    }
}

pub(super) fn operation_label(operation: Operation) -> &'static str {
    match operation {
        Operation::Open => "open",
        Operation::Get => "get",
        Operation::Head => "head",
        Operation::Put => "put",
        Operation::Delete => "delete",
        Operation::Scan => "scan",
    }
}

fn error_label(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Conflict => "conflict",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::InvalidArgument => "invalid_argument",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::NewerSchema => "newer_schema",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::Full => "full",
        ErrorKind::ReadOnly => "read_only",
        ErrorKind::Closed => "closed",
        ErrorKind::Other => "other",
    }
}
