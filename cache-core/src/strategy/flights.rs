//! Flights: simultaneous requests of one process for the same thing, merged into one.
//!
//! The leader is a spawned task, so a caller that goes away neither stops nor restarts the work. A leader that
//! panics or is aborted leaves its waiters with [`Landing::Lost`], never waiting.
//!
//! The cache merges its own requests this way. The same serves whatever else is slow and the same for all who ask:
//!
//! ```
//! use cache_core::strategy::flights::{Flights, Landing};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let flights = Flights::<&str, u32>::new();
//! let slow = || async { 7 };
//! let (one, other) = tokio::join!(flights.join("answer", slow), flights.join("answer", slow));
//! assert_eq!((one, other), (Landing::Done(7), Landing::Done(7)));
//! # }
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

/// How many parts the board has, so that requests for different things seldom meet at one lock. A power of two.
const PARTS: usize = 16;

/// How a flight ended for one of its passengers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing<T> {
    /// The leader's result.
    Done(T),
    /// The leader panicked or was aborted.
    Lost,
}

/// The flights under way.
#[derive(Debug)]
pub struct Flights<K, T> {
    board: Arc<Board<K, T>>,
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// No flights.
    #[must_use]
    pub fn new() -> Self {
        Self {
            board: Arc::new(Board {
                hasher: RandomState::new(),
                parts: std::array::from_fn(|_| Mutex::default()),
            }),
        }
    }

    /// Joins the flight for `key`, or starts one whose leader runs `work`.
    ///
    /// # Panics
    /// Outside a tokio runtime, when it is polled.
    ///
    /// # Cancellation safety
    /// Cancellation safe: the leader goes on.
    pub async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Landing<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.passage(key, work).landing().await
    }

    /// Starts a flight for `key` unless one is under way, and does not wait for it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<F>(&self, key: K, work: impl FnOnce() -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        drop(self.passage(key, work));
    }

    fn passage<F>(&self, key: K, work: impl FnOnce() -> F) -> Arc<Flight<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut part = self.board.part(&key);
        let entry = match part.entry(key) {
            Entry::Occupied(under_way) => return Arc::clone(under_way.get()),
            Entry::Vacant(entry) => entry,
        };
        let flight = Arc::new(Flight {
            landing: OnceLock::new(),
            landed: Notify::new(),
        });
        let leader = Leader {
            board: Arc::clone(&self.board),
            key: entry.key().clone(),
            flight: Arc::clone(&flight),
            landing: Landing::Lost,
        };
        entry.insert(Arc::clone(&flight));
        drop(part);
        let work = work();
        tokio::spawn(async move {
            let mut leader = leader;
            leader.landing = Landing::Done(work.await);
        });
        flight
    }
}

impl<K, T> Default for Flights<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

/// Who is on the way for what, in parts with a lock each.
#[derive(Debug)]
struct Board<K, T> {
    hasher: RandomState,
    parts: [Mutex<HashMap<K, Arc<Flight<T>>>>; PARTS],
}

impl<K: Eq + Hash, T> Board<K, T> {
    fn part(&self, key: &K) -> MutexGuard<'_, HashMap<K, Arc<Flight<T>>>> {
        let hash = self.hasher.hash_one(key);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lowest bits are enough to choose a part"
        )]
        let part = &self.parts[hash as usize % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One flight, which its leader and its passengers share.
#[derive(Debug)]
struct Flight<T> {
    landing: OnceLock<Landing<T>>,
    landed: Notify,
}

impl<T: Clone> Flight<T> {
    async fn landing(&self) -> Landing<T> {
        // Made before the look at the result: it hears of every landing from now on.
        let landed = self.landed.notified();
        if let Some(landing) = self.landing.get() {
            return landing.clone();
        }
        landed.await;
        self.landing.get().cloned().unwrap_or(Landing::Lost)
    }
}

/// Held by the task that leads the flight. When that ends, however it ends, the flight lands.
struct Leader<K: Eq + Hash, T> {
    board: Arc<Board<K, T>>,
    key: K,
    flight: Arc<Flight<T>>,
    landing: Landing<T>,
}

impl<K: Eq + Hash, T> Drop for Leader<K, T> {
    fn drop(&mut self) {
        // Off the board first: who comes after the result was known must not be served it.
        let left = self.board.part(&self.key).remove(&self.key);
        drop(left);
        let landing = std::mem::replace(&mut self.landing, Landing::Lost);
        let _ = self.flight.landing.set(landing);
        self.flight.landed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

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

    #[tokio::test]
    async fn a_leader_that_is_aborted_leaves_nobody_waiting() {
        let flights = Arc::new(Flights::<u8, u8>::new());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        {
            let _entered = runtime.enter();
            flights.start(1, std::future::pending);
        }
        let waiter = {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move { flights.join(1, || async { 7 }).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        // It goes down with the tasks that run on it.
        runtime.shutdown_background();
        assert_eq!(waiter.await.unwrap(), Landing::Lost);
        assert_eq!(flights.join(1, || async { 8 }).await, Landing::Done(8));
    }

    #[tokio::test]
    async fn a_thousand_waiters_are_served_by_one_leader_whose_first_caller_left() {
        let flights = Arc::new(Flights::<u16, usize>::new());
        let count = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Notify::new());
        let join = || {
            let (flights, count, go) = (Arc::clone(&flights), Arc::clone(&count), Arc::clone(&go));
            async move {
                let work = move || async move {
                    go.notified().await;
                    count.fetch_add(1, Ordering::SeqCst)
                };
                flights.join(1, work).await
            }
        };
        let mut first = Box::pin(join());
        assert!(first.as_mut().now_or_never().is_none());
        let waiters: Vec<_> = (0..1000).map(|_| tokio::spawn(join())).collect();
        tokio::task::yield_now().await;
        drop(first);
        go.notify_one();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Landing::Done(0));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_comes_after_the_landing_starts_anew() {
        let flights = Flights::<u8, u8>::new();
        for number in 0..3 {
            assert_eq!(
                flights.join(1, || async move { number }).await,
                Landing::Done(number)
            );
        }
        assert!(
            flights
                .board
                .parts
                .iter()
                .all(|part| part.lock().unwrap().is_empty())
        );
    }
}
