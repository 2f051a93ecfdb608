//! A value that one task makes while all others wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex as SyncMutex, PoisonError};

use tokio::sync::Mutex;

use crate::error::Failure;

/// A connection, or what is known of the servers: made on demand, shared, and forgotten when it turns out to be bad.
pub(crate) struct Shared<T> {
    current: SyncMutex<Option<T>>,
    /// How many attempts to make it have ended.
    attempts: AtomicU64,
    /// Held by whoever makes it. Why the last attempt failed.
    making: Mutex<Option<Failure>>,
}

impl<T: Clone> Shared<T> {
    pub(crate) fn new() -> Self {
        Self {
            current: SyncMutex::new(None),
            attempts: AtomicU64::new(0),
            making: Mutex::new(None),
        }
    }

    pub(crate) fn current(&self) -> Option<T> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether there is a value, and `condition` holds for it.
    pub(crate) fn is(&self, condition: impl FnOnce(&T) -> bool) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().is_some_and(condition)
    }

    /// The value, made by `make` if there is none.
    ///
    /// Whoever waited for an attempt that failed gets its failure: a row of callers must not wait one time limit each.
    /// Cancellation safe: the next in the row makes an attempt of its own.
    pub(crate) async fn get_or_make(
        &self,
        make: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let before = self.attempts.load(Ordering::Acquire);
        let mut last_failure = self.making.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if let Some(failure) = &*last_failure
            && self.attempts.load(Ordering::Acquire) != before
        {
            return Err(failure.clone());
        }
        let made = make.await;
        self.attempts.fetch_add(1, Ordering::AcqRel);
        *last_failure = made.as_ref().err().cloned();
        let made = made?;
        self.set(made.clone());
        Ok(made)
    }

    pub(crate) fn set(&self, value: T) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// Forgets the value if `bad` says so of it; another may have replaced it already.
    pub(crate) fn forget(&self, bad: impl FnOnce(&T) -> bool) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(bad) {
            *current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use cache_core::store::error::ErrorKind;
    use futures_util::FutureExt;
    use futures_util::future::{join, pending};
    use tokio::sync::oneshot;

    use super::*;

    fn failure() -> Failure {
        Failure::new(ErrorKind::Unavailable, "test")
    }

    #[tokio::test]
    async fn waiting_callers_share_a_failure_and_later_ones_try_again() {
        let shared = Shared::<u8>::new();
        let (fail, failed) = oneshot::channel::<()>();
        let first = shared.get_or_make(async {
            let _ = failed.await;
            Err(failure())
        });
        let second = async {
            let waiting = shared.get_or_make(async { panic!("the first attempt is for both") });
            tokio::pin!(waiting);
            assert!((&mut waiting).now_or_never().is_none());
            fail.send(()).unwrap();
            waiting.await
        };
        let (first, second) = join(first, second).await;
        assert!(first.is_err() && second.is_err());
        assert_eq!(shared.get_or_make(async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(shared.get_or_make(async { Err(failure()) }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_cancelled_attempt_leaves_the_turn_to_the_next() {
        let shared = Shared::<u8>::new();
        assert!(shared.get_or_make(async { Err(failure()) }).await.is_err());
        {
            let leader = shared.get_or_make(pending());
            tokio::pin!(leader);
            assert!((&mut leader).now_or_never().is_none());
        }
        // Not the failure of long ago.
        assert_eq!(shared.get_or_make(async { Ok(1) }).await.unwrap(), 1);
    }

    #[test]
    fn only_the_bad_value_is_forgotten() {
        let shared = Shared::new();
        shared.set(1);
        shared.forget(|value| *value == 2);
        assert_eq!(shared.current(), Some(1));
        shared.forget(|value| *value == 1);
        assert_eq!(shared.current(), None);
    }
}
