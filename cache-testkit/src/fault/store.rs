//! The decorator that carries the faults out.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use cache_core::store::{Capabilities, PutOptions, Record, Store, StoreError, StoreKey, Version, Watch};
use cache_core::time::Clock;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::plan::{Effect, Fault, Gate};

/// A store with [`Fault`]s. Clones share them, so that a test keeps one to steer by.
///
/// Faults are tried in the order in which they were injected. Delays and pauses add up; the first that ends
/// the operation ends it. To model a process that starts again after a crash, make a new `FaultStore` over the
/// same inner store.
///
/// # Cancellation safety
/// As the inner store. An operation that is dropped while it is delayed or paused before it was not applied.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    faults: Vec<Fault>,
    counts: HashMap<Operation, usize>,
    crashed: bool,
}

/// What the faults left of an operation that is to be applied.
struct Permit {
    pauses: Vec<Arc<Gate>>,
    fate: Fate,
}

/// What its caller hears of an operation that was applied.
enum Fate {
    Reported,
    ReplyLost,
    Crash,
}

impl FaultStore {
    /// A store that does what `inner` does, with delays on `clock`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            clock,
            shared: Arc::default(),
        }
    }

    /// Adds a fault to those that are tried.
    pub fn inject(&self, fault: Fault) {
        self.shared().faults.push(fault);
    }

    /// Removes all faults; operations that are paused stay paused. A crash is not undone.
    pub fn heal(&self) {
        self.shared().faults.clear();
    }

    /// How many operations of this kind were begun since the start or [`reset_counts`](Self::reset_counts),
    /// those that failed included.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.shared().counts.get(&operation).copied().unwrap_or(0)
    }

    /// How many operations of any kind were begun.
    #[must_use]
    pub fn total(&self) -> usize {
        self.shared().counts.values().sum()
    }

    /// Starts counting again.
    pub fn reset_counts(&self) {
        self.shared().counts.clear();
    }

    /// Whether a fault has crashed the store.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.shared().crashed
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the operation and carries out the faults that strike before it is applied.
    async fn begin(&self, operation: Operation, key: Option<&StoreKey>) -> Result<Permit, StoreError> {
        let effects: Vec<Effect> = {
            let mut shared = self.shared();
            *shared.counts.entry(operation).or_default() += 1;
            if shared.crashed {
                return Err(closed(operation));
            }
            let striking = shared.faults.iter_mut().filter_map(|fault| {
                let effect = fault.effect.clone();
                fault.strikes(operation, key).then_some(effect)
            });
            striking.collect()
        };
        let mut permit = Permit {
            pauses: Vec::new(),
            fate: Fate::Reported,
        };
        for effect in effects {
            match effect {
                Effect::Fail(kind, retry) => return Err(injected(operation, kind, retry)),
                Effect::Delay(duration) => self.clock.sleep(duration).await,
                Effect::PauseBefore(gate) => gate.pass().await,
                Effect::PauseAfter(gate) => permit.pauses.push(gate),
                Effect::LostRequest => return Err(unanswered(operation)),
                Effect::LostReply => permit.fate = Fate::ReplyLost,
                Effect::CrashBefore => return Err(self.crash(operation)),
                Effect::CrashAfter => permit.fate = Fate::Crash,
            }
        }
        // The process may have died while this operation was held.
        if self.shared().crashed {
            return Err(closed(operation));
        }
        Ok(permit)
    }

    /// Carries out the faults that strike after the operation was applied.
    async fn end<T>(
        &self,
        operation: Operation,
        permit: Permit,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for gate in permit.pauses {
            gate.pass().await;
        }
        match permit.fate {
            Fate::Crash => Err(self.crash(operation)),
            _ if self.shared().crashed => Err(closed(operation)),
            Fate::ReplyLost => Err(unanswered(operation)),
            Fate::Reported => result,
        }
    }

    fn crash(&self, operation: Operation) -> StoreError {
        self.shared().crashed = true;
        closed(operation)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared();
        f.debug_struct("FaultStore")
            .field("inner", &self.inner)
            .field("faults", &shared.faults)
            .field("crashed", &shared.crashed)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for FaultStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let permit = self.begin(Operation::Get, Some(key)).await?;
        let result = self.inner.get(key).await;
        self.end(Operation::Get, permit, result).await
    }

    async fn head(&self, key: &StoreKey) -> Result<Option<Version>, StoreError> {
        let permit = self.begin(Operation::Head, Some(key)).await?;
        let result = self.inner.head(key).await;
        self.end(Operation::Head, permit, result).await
    }

    async fn put(&self, key: &StoreKey, payload: Bytes, options: PutOptions) -> Result<Version, StoreError> {
        let permit = self.begin(Operation::Put, Some(key)).await?;
        let result = self.inner.put(key, payload, options).await;
        self.end(Operation::Put, permit, result).await
    }

    async fn delete(&self, key: &StoreKey, expected: Option<Version>) -> Result<(), StoreError> {
        let permit = self.begin(Operation::Delete, Some(key)).await?;
        let result = self.inner.delete(key, expected).await;
        self.end(Operation::Delete, permit, result).await
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<(StoreKey, Version), StoreError>> {
        // Faults strike when the stream is first polled; one that comes "after" strikes at its end.
        let begun = stream::once(self.begin(Operation::Scan, None));
        begun
            .flat_map(move |permit| match permit {
                Err(error) => stream::iter([Err(error)]).boxed(),
                Ok(permit) => {
                    let end = stream::once(self.end(Operation::Scan, permit, Ok(())));
                    let errors = end.filter_map(|result| std::future::ready(result.err().map(Err)));
                    self.inner.scan(prefix).chain(errors).boxed()
                }
            })
            .boxed()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn watch(&self) -> Option<&dyn Watch> {
        self.inner.watch()
    }
}

fn injected(operation: Operation, kind: ErrorKind, retry: Option<Retry>) -> StoreError {
    let error = StoreError::new(kind, operation, "injected by a test");
    match retry {
        Some(retry) => error.with_retry(retry),
        None => error,
    }
}

fn unanswered(operation: Operation) -> StoreError {
    let error = StoreError::new(ErrorKind::Timeout, operation, "a test lost the answer");
    match operation {
        Operation::Put | Operation::Delete => error.with_retry(Retry::OutcomeUnknown),
        _ => error.with_retry(Retry::Yes),
    }
}

fn closed(operation: Operation) -> StoreError {
    StoreError::new(ErrorKind::Closed, operation, "a test crashed this process")
}
