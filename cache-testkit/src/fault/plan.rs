//! What goes wrong, and when.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_core::store::StoreKey;
use cache_core::store::error::{ErrorKind, Operation, Retry};
use tokio::sync::watch;

/// Something that goes wrong, and in which operations.
///
/// A fault applies to every operation until it is narrowed: [`on`](Self::on) an operation,
/// [`at_key`](Self::at_key), [`after`](Self::after) some that go well, [`times`](Self::times) or
/// [`once`](Self::once). The conditions add up, and only operations that meet those on operation and key count
/// towards `after` and `times`.
#[derive(Clone)]
pub struct Fault {
    pub(super) effect: Effect,
    operation: Option<Operation>,
    key: Option<Arc<KeyPredicate>>,
    passes: usize,
    remaining: Option<usize>,
}

type KeyPredicate = dyn Fn(&StoreKey) -> bool + Send + Sync;

/// What a fault does to the operation that it strikes.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Fail(ErrorKind, Option<Retry>),
    Delay(Duration),
    LostRequest,
    LostReply,
    CrashBefore,
    CrashAfter,
    PauseBefore(Arc<Gate>),
    PauseAfter(Arc<Gate>),
}

impl Fault {
    /// The operation fails with `kind` and its usual retry class, and is not applied.
    #[must_use]
    pub fn fail(kind: ErrorKind) -> Self {
        Self::with(Effect::Fail(kind, None))
    }

    /// The operation fails with `kind` and `retry`, and is not applied.
    #[must_use]
    pub fn fail_as(kind: ErrorKind, retry: Retry) -> Self {
        Self::with(Effect::Fail(kind, Some(retry)))
    }

    /// The operation begins only after `duration` of the store's clock.
    #[must_use]
    pub fn delay(duration: Duration) -> Self {
        Self::with(Effect::Delay(duration))
    }

    /// The operation is applied, but reports `Timeout` with `OutcomeUnknown`. (A read reports that it may be
    /// sent again.)
    #[must_use]
    pub fn lost_reply() -> Self {
        Self::with(Effect::LostReply)
    }

    /// The operation is not applied and reports just what [`lost_reply`](Self::lost_reply) does: its caller
    /// cannot tell the two apart.
    #[must_use]
    pub fn lost_request() -> Self {
        Self::with(Effect::LostRequest)
    }

    /// The process dies before the operation: it is not applied, and it and every later one fails with `Closed`.
    #[must_use]
    pub fn crash_before() -> Self {
        Self::with(Effect::CrashBefore)
    }

    /// The process dies after the operation: it is applied, and it and every later one fails with `Closed`.
    #[must_use]
    pub fn crash_after() -> Self {
        Self::with(Effect::CrashAfter)
    }

    /// The operation is held before it is applied, until the test releases it.
    #[must_use]
    pub fn pause_before() -> (Self, PausePoint) {
        let gate = Arc::new(Gate::new());
        (
            Self::with(Effect::PauseBefore(Arc::clone(&gate))),
            PausePoint { gate },
        )
    }

    /// The operation is applied, and its answer held until the test releases it.
    #[must_use]
    pub fn pause_after() -> (Self, PausePoint) {
        let gate = Arc::new(Gate::new());
        (
            Self::with(Effect::PauseAfter(Arc::clone(&gate))),
            PausePoint { gate },
        )
    }

    /// Strikes only this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Strikes only operations on a key that `matches`; so never a scan, which has none.
    #[must_use]
    pub fn at_key(mut self, matches: impl Fn(&StoreKey) -> bool + Send + Sync + 'static) -> Self {
        self.key = Some(Arc::new(matches));
        self
    }

    /// Lets the first `count` operations pass: `after(2)` strikes from the third on.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.passes = count;
        self
    }

    /// Strikes `count` operations and no more.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.remaining = Some(count);
        self
    }

    /// Strikes one operation and no more.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn with(effect: Effect) -> Self {
        Self {
            effect,
            operation: None,
            key: None,
            passes: 0,
            remaining: None,
        }
    }

    /// Counts the operation, and says whether it is struck.
    pub(super) fn strikes(&mut self, operation: Operation, key: Option<&StoreKey>) -> bool {
        if self.operation.is_some_and(|only| only != operation) {
            return false;
        }
        if let Some(matches) = &self.key
            && !key.is_some_and(|key| matches(key))
        {
            return false;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return false;
        }
        match &mut self.remaining {
            Some(0) => false,
            Some(remaining) => {
                *remaining -= 1;
                true
            }
            None => true,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("effect", &self.effect)
            .field("operation", &self.operation)
            .field("some_keys", &self.key.is_some())
            .field("passes", &self.passes)
            .field("remaining", &self.remaining)
            .finish()
    }
}

/// The test's end of a pause: where it waits for operations to arrive, and lets them go on.
///
/// Dropping it lets them go on as well, so that a test that fails does not hang.
#[derive(Debug)]
pub struct PausePoint {
    gate: Arc<Gate>,
}

impl PausePoint {
    /// Waits until an operation has arrived.
    ///
    /// Cancellation safe.
    pub async fn reached(&self) {
        self.reached_by(1).await;
    }

    /// Waits until `count` operations have arrived, counting those that left again.
    ///
    /// Cancellation safe.
    pub async fn reached_by(&self, count: usize) {
        // The sender lives in the gate, so the channel cannot close.
        let _ = self
            .gate
            .arrived
            .subscribe()
            .wait_for(|arrived| *arrived >= count)
            .await;
    }

    /// Lets the operations that are held, and any that arrive later, go on.
    pub fn release(&self) {
        self.gate.open.send_replace(true);
    }
}

impl Drop for PausePoint {
    fn drop(&mut self) {
        self.release();
    }
}

/// Where paused operations wait.
#[derive(Debug)]
pub(super) struct Gate {
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    fn new() -> Self {
        Self {
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(false),
        }
    }

    pub(super) async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        // The sender lives in `self`, so the channel cannot close.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}
