//! Time as an injected dependency.
//!
//! Token rows carry whole [`UnixSeconds`], as every MSAL cache does; store expiry and refresh
//! deadlines need [`UnixMillis`]. Nothing in this crate reads the operating system's clock except
//! [`SystemClock`], so a test that hands in its own [`Clock`] controls every expiry and every wait.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;

/// A moment in whole seconds since 1970-01-01T00:00:00Z, the unit of every time in a token row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

impl UnixSeconds {
    /// This moment plus `duration` (fractions of a second are dropped), saturating at the end of time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)),
        )
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same moment in milliseconds, saturating.
    #[must_use]
    pub fn to_millis(self) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(1000))
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment in milliseconds since 1970-01-01T00:00:00Z, the unit of store expiry and of deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This moment plus `duration`, saturating at the end of time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The whole second that this moment lies in (rounded down).
    #[must_use]
    pub fn to_seconds(self) -> UnixSeconds {
        UnixSeconds(self.0.div_euclid(1000))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What [`Clock::coarse`] reads: a wall clock and a monotonic one that are a few milliseconds behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoarseTime {
    /// The wall-clock time, in milliseconds. It may jump in either direction.
    pub wall: UnixMillis,
    /// Milliseconds since an arbitrary start, which need not be that of [`Clock::monotonic`]. It never goes back, and may stand still
    /// while the machine is suspended.
    pub monotonic: u64,
}

impl CoarseTime {
    /// How far behind the exact clocks a coarse time may be: a tick of the slowest timer in use (100 Hz).
    pub const LAG: Duration = Duration::from_millis(10);

    /// The exact times of `clock`, for clocks that have nothing cheaper.
    #[must_use]
    pub fn exact(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Where the time comes from and how to wait.
///
/// Production code uses [`SystemClock`]; tests use the manual clock of `cache-testkit`.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall-clock time. It may jump in either direction.
    fn now(&self) -> UnixMillis;

    /// Time since an arbitrary start that never goes back and keeps counting while the machine is suspended.
    fn monotonic(&self) -> Duration;

    /// Both clocks at once, cheaply, for a lookup that costs no more than reading the exact ones would.
    ///
    /// Neither may be ahead of its exact clock, and each should be at most [`CoarseTime::LAG`] behind it: whoever sets a deadline by
    /// them sets it so much earlier. The monotonic one has a start of its own, and need not count while the machine is suspended; the
    /// wall clock does count that, and can be set back. So a deadline that must hold in either case is kept on both.
    fn coarse(&self) -> CoarseTime;

    /// Waits for `duration`.
    ///
    /// Cancellation safe: dropping the future abandons the wait and has no other effect.
    async fn sleep(&self, duration: Duration);
}

/// The operating system's clock, with sleeps on the current tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> UnixMillis {
        use std::time::{SystemTime, UNIX_EPOCH};
        UnixMillis(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn monotonic(&self) -> Duration {
        // CLOCK_MONOTONIC stops during suspend: a laptop that slept an hour would still trust its memory tier.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(now.tv_sec).unwrap_or(0),
            u32::try_from(now.tv_nsec).unwrap_or(0),
        )
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    fn monotonic(&self) -> Duration {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    /// The kernel's coarse clocks: what they were at its last tick, 1 to 10 milliseconds ago, at a tenth of the price.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn coarse(&self) -> CoarseTime {
        use std::cell::Cell;

        use rustix::time::{ClockId, Timespec, clock_gettime};
        thread_local! {
            static LAST: Cell<(Timespec, CoarseTime)> = const {
                Cell::new((Timespec { tv_sec: 0, tv_nsec: 0 }, CoarseTime { wall: UnixMillis(0), monotonic: 0 }))
            };
        }
        // There is no coarse clock that counts suspend and cannot be set back, so there are two. They tick together: while the one shows
        // the same nanosecond, so does the other.
        let wall = clock_gettime(ClockId::RealtimeCoarse);
        let (last, coarse) = LAST.get();
        if wall == last {
            return coarse;
        }
        let monotonic = clock_gettime(ClockId::MonotonicCoarse);
        let millis = |time: Timespec| {
            time.tv_sec
                .saturating_mul(1000)
                .saturating_add(time.tv_nsec / 1_000_000)
        };
        let coarse = CoarseTime {
            wall: UnixMillis(millis(wall)),
            monotonic: u64::try_from(millis(monotonic)).unwrap_or(0),
        };
        LAST.set((wall, coarse));
        coarse
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Runs `future` for at most `limit`; `None` when the time ran out, in which case the future was dropped.
///
/// Cancellation safe exactly when `future` is.
pub async fn with_deadline<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    // What is ready at once needs no timer.
    let mut sleep = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let sleep = sleep.get_or_insert_with(|| clock.sleep(limit));
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}
