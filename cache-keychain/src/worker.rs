//! The one thread that talks to a keychain.
//!
//! Keychain libraries block, hold a mutex that a panic poisons for good, and must not be called on a thread of an async runtime. So one
//! thread of its own makes every call, in order. A thread that does not answer by the deadline is left behind, and the next call has a
//! new one with a new connection: one hung call must not hang the program for ever.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use cache_core::time::Clock;
use tokio::sync::oneshot;

use crate::error::{KeychainError, KeychainErrorKind};

/// How many threads may be left behind at a keychain that hangs. Beyond, calls fail at once until one of them comes back.
const MAX_LEFT_BEHIND: usize = 4;

/// Makes calls on connections of the type `C`.
pub(crate) struct Worker<C> {
    open: Arc<dyn Fn() -> Result<C, KeychainError> + Send + Sync>,
    is_current: fn(&C) -> bool,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<Thread<C>>>,
    left_behind: Arc<AtomicUsize>,
}

struct Thread<C> {
    jobs: mpsc::Sender<Job<C>>,
    fate: Arc<Fate>,
}

/// What becomes of a thread, between it and its callers.
#[derive(Default)]
struct Fate {
    /// Whether it was left behind, which it must know when its call comes back after all.
    left: AtomicBool,
    /// By when the call that it is making must have come back, by the monotonic clock.
    due: Mutex<Option<Duration>>,
}

impl Fate {
    fn set_due(&self, due: Option<Duration>) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }

    /// Whether its call is late. A caller who waits for it leaves the thread then; one who is gone cannot.
    fn is_overdue(&self, now: Duration) -> bool {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.is_some_and(|due| now >= due)
    }
}

/// `C` is taken out where the connection is not to be used again.
type Work<C> = Box<dyn FnOnce(&mut Option<C>) + Send>;

struct Job<C> {
    work: Work<C>,
    turn: Arc<Turn>,
    /// How long the call may take.
    limit: Duration,
}

/// Who has the say over a job: the thread that starts it, or the caller who gave up before that.
#[derive(Default)]
struct Turn(AtomicBool);

impl Turn {
    /// Whether this was the first to take it.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Gives a job up whose caller is gone before it began, so that it is not made behind everybody's back.
struct GiveUp(Arc<Turn>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.take();
    }
}

impl<C: 'static> Worker<C> {
    /// A worker that opens its connection by `open`, on its thread and before the first call; and anew before a call where
    /// `is_current` says that the one it has is not what the call should meet.
    pub(crate) fn new(
        deadline: Duration,
        clock: Arc<dyn Clock>,
        open: impl Fn() -> Result<C, KeychainError> + Send + Sync + 'static,
        is_current: fn(&C) -> bool,
    ) -> Self {
        Self {
            open: Arc::new(open),
            is_current,
            deadline,
            clock,
            current: Mutex::new(None),
            left_behind: Arc::default(),
        }
    }

    /// Makes one call, which has the usual time.
    ///
    /// A call that is dropped before its turn, or while the connection is being opened, is not made; one that is dropped, or has timed
    /// out, after that may be made.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&C) -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        self.run_within(self.deadline, call).await
    }

    /// As [`run`](Self::run), for a call that has another time.
    pub(crate) async fn run_within<T: Send + 'static>(
        &self,
        deadline: Duration,
        call: impl FnOnce(&C) -> Result<T, KeychainError> + Send + 'static,
    ) -> Result<T, KeychainError> {
        let (answer, answered) = oneshot::channel();
        let turn = Arc::new(Turn::default());
        let (open, is_current) = (Arc::clone(&self.open), self.is_current);
        let work: Work<C> = Box::new(move |connection| {
            let opened = connection.take().filter(is_current);
            let result = match opened.map_or_else(|| open(), Ok) {
                // The opening hung: a write would be made long after its caller was told that the keychain does not answer.
                Ok(opened) if answer.is_closed() => {
                    *connection = Some(opened);
                    return;
                }
                Ok(opened) => {
                    let result = call(&opened);
                    // A connection that ended, and one that may be about to, is made anew for the next call.
                    if !result.as_ref().is_err_and(KeychainError::is_unavailable) {
                        *connection = Some(opened);
                    }
                    result
                }
                Err(error) => Err(error),
            };
            let _ = answer.send(result);
        });
        let fate = self.send(Job {
            work,
            turn: Arc::clone(&turn),
            limit: deadline,
        })?;
        let _give_up = GiveUp(Arc::clone(&turn));
        tokio::select! {
            biased;
            answered = answered => answered.unwrap_or_else(|_| {
                Err(KeychainError::new(KeychainErrorKind::Other, "the keychain's library panicked; report it as a bug"))
            }),
            () = self.clock.sleep(deadline) => {
                if turn.take() {
                    return Err(KeychainError::new(
                        KeychainErrorKind::TimedOut,
                        format!("the keychain was busy with other calls for {deadline:?}; nothing was done"),
                    ));
                }
                self.leave_behind(&fate);
                Err(KeychainError::new(
                    KeychainErrorKind::TimedOut,
                    format!(
                        "the keychain did not answer within {deadline:?}; it may be waiting to be unlocked, or hang"
                    ),
                ))
            }
        }
    }

    /// Hands the job to the thread, and says which that is.
    fn send(&self, job: Job<C>) -> Result<Arc<Fate>, KeychainError> {
        let mut current = self.lock();
        let now = self.clock.monotonic();
        if let Some(thread) = current.take_if(|thread| thread.fate.is_overdue(now)) {
            self.count_left(&thread.fate);
        }
        let job = match &*current {
            Some(thread) => match thread.jobs.send(job) {
                Ok(()) => return Ok(Arc::clone(&thread.fate)),
                // It ended, which threads do only when nobody can send to them.
                Err(mpsc::SendError(job)) => job,
            },
            None => job,
        };
        if self.left_behind.load(Ordering::Acquire) >= MAX_LEFT_BEHIND {
            return Err(KeychainError::new(
                KeychainErrorKind::TimedOut,
                "the keychain hangs: earlier calls have not come back yet",
            ));
        }
        let (jobs, queue) = mpsc::channel();
        let fate = Arc::new(Fate::default());
        let (own_fate, left_behind) = (Arc::clone(&fate), Arc::clone(&self.left_behind));
        let clock = Arc::clone(&self.clock);
        let spawned = std::thread::Builder::new()
            .name("keychain".to_owned())
            .spawn(move || {
                work_through(&queue, &own_fate, &*clock);
                if own_fate.left.load(Ordering::Acquire) {
                    left_behind.fetch_sub(1, Ordering::AcqRel);
                }
            });
        spawned.map_err(|error| {
            KeychainError::new(
                KeychainErrorKind::Other,
                "no thread for the keychain can be started",
            )
            .with_source(error)
        })?;
        let _ = jobs.send(job);
        *current = Some(Thread {
            jobs,
            fate: Arc::clone(&fate),
        });
        Ok(fate)
    }
}

impl<C> Worker<C> {
    fn lock(&self) -> MutexGuard<'_, Option<Thread<C>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next call start a thread of its own.
    fn leave_behind(&self, fate: &Arc<Fate>) {
        self.count_left(fate);
        self.lock().take_if(|thread| Arc::ptr_eq(&thread.fate, fate));
    }

    /// Counts a thread that is being left, once. It runs until nobody can send to it, so it cannot have ended before.
    fn count_left(&self, fate: &Fate) {
        // Counted before the thread can know, so that it never takes back what was not added.
        self.left_behind.fetch_add(1, Ordering::AcqRel);
        if fate.left.swap(true, Ordering::AcqRel) {
            self.left_behind.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<C> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Makes the calls until nobody can send another.
fn work_through<C>(queue: &mpsc::Receiver<Job<C>>, fate: &Fate, clock: &dyn Clock) {
    let mut connection = None;
    while let Ok(Job { work, turn, limit }) = queue.recv() {
        if turn.take() {
            fate.set_due(Some(clock.monotonic().saturating_add(limit)));
            // A panic of the library ends one call, not those that wait. The connection was taken out, so the next call has another:
            // in this one the panic may have poisoned a mutex.
            let _ = catch_unwind(AssertUnwindSafe(|| work(&mut connection)));
            fate.set_due(None);
        }
    }
}

#[cfg(test)]
mod tests;
