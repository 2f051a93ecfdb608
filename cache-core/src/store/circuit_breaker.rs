//! A store that is left alone while it does not answer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use metrics::SharedString;

use super::circuit::{Circuit, CircuitBreaker, CircuitState, Report};
use super::error::{ErrorKind, Operation, Retry};
use super::metrics::operation_label;
use super::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use crate::random::{Random, jitter};
use crate::time::Clock;

/// Gauge of the state: 0 closed, 1 half-open, 2 open; label `store`.
pub const STATE: &str = "tokenkeep_store_circuit_state";
/// Counts changes of the state; labels `store`, `to`: `closed`, `half_open`, `open`.
pub const TRANSITIONS: &str = "tokenkeep_store_circuit_transitions_total";
/// Counts operations that were refused without being sent; labels `store`, `operation`.
pub const REJECTED: &str = "tokenkeep_store_circuit_rejected_total";

/// A store whose operations are refused at once while it does not answer, instead of each waiting for a time limit.
///
/// After [`CircuitBreaker::failures`] operations in a row that ended with `Unavailable` or `Timeout` the circuit is *open*: operations
/// fail with `Unavailable` and `Retry::Yes`, as nothing was sent, and [`StoreError::is_circuit_open`] says why. After
/// [`CircuitBreaker::open_for`] it is *half-open*: one operation goes through. If it is answered the circuit is *closed* again, else
/// open for another while. Any answer closes it, also a refusal such as `Conflict` or `Full`: the store is there.
///
/// Nothing but operations moves it: no task, no timer. Clones share one circuit. A watch is passed on as it is.
///
/// [`Strategy::circuit_breaker`](crate::strategy::Strategy::circuit_breaker) puts one around the store of a cache.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | [`tokenkeep_store_circuit_state`](STATE) | gauge | `store` |
/// | [`tokenkeep_store_circuit_transitions_total`](TRANSITIONS) | counter | `store`, `to` |
/// | [`tokenkeep_store_circuit_rejected_total`](REJECTED) | counter | `store`, `operation` |
///
/// # Order
/// Outside [`TimeoutStore`](super::TimeoutStore), which makes a failure of an answer that never comes, and outside
/// [`RetryStore`](super::RetryStore), so that nobody waits for attempts that are going to be refused.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use cache_core::random::OsRandom;
/// # use cache_core::store::{CircuitBreaker, MemoryStore, RetryPolicy, StoreExt};
/// # use cache_core::time::SystemClock;
/// # let (second, retries, breaker) = (Duration::from_secs(1), RetryPolicy::default(), CircuitBreaker::default());
/// # let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
/// // Right: an operation that was tried four times in vain is one failure, and an open circuit answers at once.
/// let store = MemoryStore::new()
///     .with_timeout(second, clock.clone())
///     .with_retry(retries, clock.clone(), random.clone())
///     .with_circuit_breaker("main", breaker, clock.clone(), random.clone());
/// // Wrong, although it compiles: a store that hangs is never seen to fail, and refusals are tried again.
/// let wrong = MemoryStore::new()
///     .with_circuit_breaker("main", breaker, clock.clone(), random.clone())
///     .with_timeout(second, clock.clone())
///     .with_retry(retries, clock, random);
/// ```
///
/// # Cancellation safety
/// As the inner store. An operation that is dropped counts neither as a failure nor as an answer; if it was the probe, the next is.
#[derive(Clone)]
pub struct CircuitBreakerStore<S> {
    inner: S,
    name: SharedString,
    policy: CircuitBreaker,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    circuit: Arc<Mutex<Circuit>>,
}

impl<S: Store> CircuitBreakerStore<S> {
    /// `inner`, left alone as `policy` says and reported as `name`, with times by `clock` and their spread by `random`.
    #[must_use]
    pub fn new(
        inner: S,
        name: impl Into<String>,
        policy: CircuitBreaker,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let store = Self {
            inner,
            name: SharedString::from_shared(name.into().into()),
            policy,
            clock,
            random,
            circuit: Arc::new(Mutex::new(Circuit::new())),
        };
        metrics::gauge!(STATE, "store" => store.name.clone()).set(CircuitState::Closed.value());
        store
    }

    /// Whether operations reach the store. An open circuit is half-open only once somebody asks the store again.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.circuit().state()
    }

    fn admit(&self, operation: Operation) -> Result<Permit<'_, S>, StoreError> {
        let now = self.clock.monotonic();
        let admitted = self.transition(|circuit| circuit.admit(now, || self.pause()));
        let refused = |cause| {
            metrics::counter!(REJECTED, "store" => self.name.clone(), "operation" => operation_label(operation))
                .increment(1);
            StoreError::new(
                ErrorKind::Unavailable,
                operation,
                "it did not answer lately and was not asked; try again in a moment",
            )
            .with_retry(Retry::Yes)
            .with_source(cause)
        };
        Ok(Permit {
            store: self,
            epoch: admitted.map_err(refused)?,
            is_reported: false,
        })
    }

    async fn guarded<T>(
        &self,
        operation: Operation,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut permit = self.admit(operation)?;
        let result = work.await;
        permit.report(&result);
        result
    }

    /// Without randomness it stays open the longest: slower, and no less right.
    fn pause(&self) -> std::time::Duration {
        self.policy.pause(jitter(&*self.random).unwrap_or(1.0))
    }

    fn transition<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.circuit();
        let before = circuit.state();
        let value = change(&mut circuit);
        let after = circuit.state();
        if before != after {
            // Under the lock, so that the gauge ends with the latest.
            metrics::gauge!(STATE, "store" => self.name.clone()).set(after.value());
            metrics::counter!(TRANSITIONS, "store" => self.name.clone(), "to" => after.as_str()).increment(1);
        }
        drop(circuit);
        match (before, after) {
            (CircuitState::Closed, CircuitState::Open) => {
                tracing::warn!(store = %self.name, "the store does not answer; it is left alone for a moment");
            }
            (CircuitState::HalfOpen, CircuitState::Closed) => {
                tracing::info!(store = %self.name, "the store answers again");
            }
            _ => {}
        }
        value
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: fmt::Debug> fmt::Debug for CircuitBreakerStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerStore")
            .field("inner", &self.inner)
            .field("name", &self.name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// An operation that was let through.
struct Permit<'a, S: Store> {
    store: &'a CircuitBreakerStore<S>,
    epoch: u64,
    is_reported: bool,
}

impl<S: Store> Permit<'_, S> {
    fn report<T>(&mut self, result: &Result<T, StoreError>) {
        let report = match result {
            Err(error) if error.is_unavailable() => Report::Failed,
            _ => Report::Answered,
        };
        self.end(report);
    }

    fn end(&mut self, report: Report) {
        self.is_reported = true;
        let store = self.store;
        let now = store.clock.monotonic();
        store.transition(|circuit| {
            circuit.report(self.epoch, report, &store.policy, now, || store.pause());
        });
    }
}

impl<S: Store> Drop for Permit<'_, S> {
    fn drop(&mut self) {
        if !self.is_reported {
            self.end(Report::Dropped);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for CircuitBreakerStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.guarded(Operation::Get, self.inner.get(key)).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        self.guarded(Operation::Head, self.inner.head(key)).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        self.guarded(Operation::Put, self.inner.put(key, payload, options))
            .await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        self.guarded(Operation::Delete, self.inner.delete(key, expected))
            .await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        let begun = async move {
            let mut permit = match self.admit(Operation::Scan) {
                Ok(permit) => permit,
                Err(refused) => return stream::iter([Err(refused)]).boxed(),
            };
            // Every item is an answer, and so is the end of an empty scan.
            let mut scan = self.inner.scan(prefix).fuse();
            let first = scan.next().await;
            match &first {
                Some(item) => permit.report(item),
                None => permit.end(Report::Answered),
            }
            let rest = scan.inspect(move |item| permit.report(item));
            stream::iter(first).chain(rest).boxed()
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
