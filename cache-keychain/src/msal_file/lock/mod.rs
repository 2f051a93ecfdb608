//! The lock that programs with MSAL's extensions take around their cache: a file beside it, used in three ways:
//! by its existence, by `flock`, and by `fcntl`. Which program does what is in the [module above](super).
//!
//! So whoever takes it here makes the file, or finds it abandoned, and holds `flock` and `fcntl` on it too.
//!
//! # A holder that was killed
//!
//! The kernel ends its `flock` and `fcntl`, and the file stays. It is taken over where nobody has either on it and
//! [`LockLimits`] call it abandoned. That is done in place: the file is never removed to be made anew, because between a look and a
//! removal it may have become somebody else's. Of several who try, `flock` lets one through, and that one checks that the path still
//! leads to the file that it locked.
//!
//! Our own never is without its content: a file that names nobody bars others for longer than one that names the dead.
//!
//! # Within one process
//!
//! The kernel drops all `fcntl` locks that a process has on a file when it closes *any* descriptor of it. So the tasks of one process
//! take turns at a lock file (in the order in which they came), and none touches it out of turn.

mod attempt;
mod guard;
mod holder;
#[cfg(test)]
mod tests;
mod turns;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_core::random::{Random, jitter, random_bytes};
use cache_core::time::{Clock, UnixMillis, with_deadline};

use attempt::{Attempt, Observation};
pub(crate) use guard::Guard;
use turns::Turn;

/// How long to wait for a lock, and when it counts as abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLimits {
    pub(crate) patience: Duration,
    pub(crate) ended_after: Duration,
    pub(crate) abandoned_after: Duration,
}

impl LockLimits {
    /// How long to wait for the lock before the operation fails as
    /// [`Unavailable`](cache_core::store::error::ErrorKind::Unavailable); 15 s by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// After how long without a change a lock file is abandoned whose process does not exist; 1 s by default.
    ///
    /// It is not nothing because the process may exist after all, in another container that shares the file.
    #[must_use]
    pub fn ended_after(mut self, limit: Duration) -> Self {
        self.ended_after = limit;
        self
    }

    /// After how long without a change a lock file is abandoned that names no process, or one that exists; 10 s by default.
    ///
    /// That a process of this number exists need not mean that it is the one which made the file. MSAL programs hold the lock for
    /// milliseconds, and never while they wait for a network or a user.
    #[must_use]
    pub fn abandoned_after(mut self, limit: Duration) -> Self {
        self.abandoned_after = limit;
        self
    }
}

impl Default for LockLimits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(15),
            ended_after: Duration::from_secs(1),
            abandoned_after: Duration::from_secs(10),
        }
    }
}

/// The lock files of one place: one, or two where the place has two names.
#[derive(Clone)]
pub(crate) struct PeerLock {
    /// In an order that everybody has, so that nobody waits for each other.
    paths: Arc<[PathBuf]>,
    limits: LockLimits,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error(
        "{} is held by {}, and was not free within {waited:?}; wait for that program, or end it; \
         if there is none, remove the file",
        path.display(),
        holder.map_or_else(|| "another program".to_owned(), |pid| format!("process {pid}"))
    )]
    Busy {
        path: PathBuf,
        holder: Option<u32>,
        waited: Duration,
    },
    #[error("the lock file {} {why}", path.display())]
    Refused { path: PathBuf, why: &'static str },
    #[error("cannot lock {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the work under the lock {} was not finished", path.display())]
    Aborted {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether a process of this number, other than this one, exists here.
pub(super) fn process_exists(pid: u32) -> bool {
    holder::exists(pid)
}

/// What became of one attempt at all the files.
enum Round<W, T> {
    Done(T),
    /// Not ours yet; the work was not begun.
    Busy {
        work: W,
        path: PathBuf,
        holder: Option<u32>,
    },
}

impl PeerLock {
    /// The lock at `paths`, which are absolute and canonical but for the last component.
    pub(crate) fn new(
        mut paths: Vec<PathBuf>,
        limits: LockLimits,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        paths.sort();
        paths.dedup();
        Self {
            paths: paths.into(),
            limits,
            clock,
            random,
        }
    }

    /// Takes the lock and keeps it until the guard is dropped, which takes some microseconds.
    ///
    /// Cancellation safe: a lock that is taken for a caller who is gone is released at once.
    pub(crate) async fn acquire(&self) -> Result<Guard, LockError> {
        self.with(|guard| guard).await
    }

    /// Takes the lock and does `work` on the thread that took it, so that nothing else delays whoever waits.
    ///
    /// When the future is dropped, `work` may be done or not.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(Guard) -> T + Send + 'static,
    ) -> Result<T, LockError> {
        let started = self.clock.monotonic();
        let turn = with_deadline(&*self.clock, self.limits.patience, Turn::wait(&self.paths)).await;
        let Some(turn) = turn.map(Arc::new) else {
            return Err(self.busy(self.paths[0].clone(), Some(std::process::id())));
        };
        let mut observations = vec![Observation::default(); self.paths.len()];
        let mut work = work;
        let mut slept = Duration::ZERO;
        loop {
            let (paths, limits, turn) = (Arc::clone(&self.paths), self.limits, Arc::clone(&turn));
            let (now, mut seen) = (self.clock.now(), std::mem::take(&mut observations));
            let tag = random_bytes(&*self.random).map_err(|source| LockError::Io {
                path: self.paths[0].clone(),
                source: std::io::Error::other(source),
            })?;
            let tag = u64::from_ne_bytes(tag);
            let attempt = tokio::task::spawn_blocking(move || {
                let round = try_all(&paths, &limits, now, tag, &mut seen, turn, work);
                (round, seen)
            });
            // The runtime ends, or the work panicked, which has been reported.
            let (round, seen) = attempt.await.map_err(|source| LockError::Aborted {
                path: self.paths[0].clone(),
                source: source.into(),
            })?;
            let (path, holder) = match round? {
                Round::Done(outcome) => return Ok(outcome),
                Round::Busy {
                    work: untouched,
                    path,
                    holder,
                } => {
                    work = untouched;
                    (path, holder)
                }
            };
            let waited = self.clock.monotonic().saturating_sub(started);
            // A clock that stands still in a test must not make this endless.
            if waited.max(slept) >= self.limits.patience {
                return Err(self.busy(path, holder));
            }
            let pause = self.pause(slept);
            self.clock.sleep(pause).await;
            slept += pause;
            observations = seen;
            for observation in &mut observations {
                observation.waited(pause);
            }
        }
    }

    /// Short at first, because most hold it for less than a millisecond; random, so that those who wait do not meet again.
    fn pause(&self, slept: Duration) -> Duration {
        let longest = if slept < Duration::from_secs(1) {
            12.0
        } else {
            60.0
        };
        let fraction = jitter(&*self.random).unwrap_or(0.5);
        Duration::from_micros(1_000 + (longest * 1_000.0 * fraction) as u64)
    }

    fn busy(&self, path: PathBuf, holder: Option<u32>) -> LockError {
        LockError::Busy {
            path,
            holder,
            waited: self.limits.patience,
        }
    }
}

impl fmt::Debug for PeerLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLock")
            .field("paths", &self.paths)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Tries each file once, in order. Those that were taken are released where one is not to be had.
fn try_all<T, W: FnOnce(Guard) -> T>(
    paths: &[PathBuf],
    limits: &LockLimits,
    now: UnixMillis,
    tag: u64,
    observations: &mut [Observation],
    turn: Arc<Turn>,
    work: W,
) -> Result<Round<W, T>, LockError> {
    let mut guard = Guard::new(turn);
    for (path, observation) in paths.iter().zip(observations) {
        match attempt::attempt(path, limits, now, tag, observation)? {
            Attempt::Taken(held) => guard.add(held),
            Attempt::Busy(holder) => {
                return Ok(Round::Busy {
                    work,
                    path: path.clone(),
                    holder,
                });
            }
        }
    }
    Ok(Round::Done(work(guard)))
}
