//! Flights: simultaneous requests of one process for the same thing, merged into one.
//!
//! The leader is a spawned task, so a caller that goes away neither stops nor restarts the work. A leader that
//! panics or is aborted leaves its waiters with [`Landing::Lost`], never waiting.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How a flight ended for one of its passengers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landing<T> {
    /// The leader's result.
    Done(T),
    /// The leader panicked or was aborted.
    Lost,
}

/// The flights under way.
#[derive(Debug)]
pub(crate) struct Flights<K, T> {
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// No flights.
    pub(crate) fn new() -> Self {
        Self {
            under_way: Arc::default(),
        }
    }

    /// Joins the flight for `key`, or starts one whose leader runs `work`.
    ///
    /// Cancellation safe: the leader goes on.
    pub(crate) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut receiver = self.board(key, work);
        match receiver.wait_for(Option::is_some).await {
            Ok(result) => result.clone().map_or(Landing::Lost, Landing::Done),
            Err(_) => Landing::Lost,
        }
    }

    /// Starts a flight for `key` unless one is under way, and does not wait for it.
    pub(crate) fn start<F>(&self, key: K, work: impl FnOnce() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        drop(self.board(key, work));
    }

    fn board<F>(&self, key: K, work: impl FnOnce() -> F) -> watch::Receiver<Option<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        if let Some(receiver) = under_way.get(&key) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        under_way.insert(key.clone(), receiver.clone());
        drop(under_way);
        let landed = Landed {
            under_way: Arc::clone(&self.under_way),
            key,
        };
        let work = work();
        tokio::spawn(async move {
            let landed = landed;
            let result = work.await;
            // Off the board first: who comes after the result was known must not be served it.
            drop(landed);
            sender.send_replace(Some(result));
        });
        receiver
    }
}

/// Takes the flight off the board when the leader ends, however it ends.
struct Landed<K: Eq + Hash, T> {
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Landed<K, T> {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn simultaneous_requests_share_one_leader() {
        let flights = Flights::<u8, usize>::new();
        let count = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Notify::new());
        let join = || {
            let (count, go) = (Arc::clone(&count), Arc::clone(&go));
            flights.join(1, move || async move {
                go.notified().await;
                count.fetch_add(1, Ordering::SeqCst)
            })
        };
        let release = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (a, b, ()) = tokio::join!(join(), join(), release);
        assert_eq!((a, b), (Landing::Done(0), Landing::Done(0)));
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_stop_the_leader() {
        let flights = Flights::<u8, u8>::new();
        let go = Arc::new(Notify::new());
        let first = {
            let go = Arc::clone(&go);
            let mut first = Box::pin(flights.join(1, move || async move {
                go.notified().await;
                7
            }));
            assert!(first.as_mut().now_or_never().is_none());
            first
        };
        drop(first);
        let second = flights.join(1, || async { unreachable!("the first leader still runs") });
        go.notify_one();
        assert_eq!(second.await, Landing::Done(7));
    }

    #[tokio::test]
    async fn a_leader_that_panics_is_lost_and_the_next_call_starts_anew() {
        let flights = Flights::<u8, u8>::new();
        let lost = flights.join(1, || async { panic!("expected by the test") }).await;
        assert_eq!(lost, Landing::Lost);
        assert_eq!(flights.join(1, || async { 8 }).await, Landing::Done(8));
    }
}
