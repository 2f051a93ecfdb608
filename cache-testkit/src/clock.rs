//! A clock that moves only when the test says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cache_core::time::{Clock, CoarseTime, UnixMillis};
use tokio::sync::{oneshot, watch};

/// A [`Clock`] whose time stands still until the test moves it. Clones share one time.
///
/// A sleeper wakes when [`advance`](Self::advance) reaches its deadline, and never before. A test that must
/// not run ahead of the code that it drives waits for the sleeper first:
///
/// ```
/// use std::time::Duration;
/// use cache_core::time::Clock;
/// use cache_testkit::clock::ManualClock;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let clock = ManualClock::new();
/// let sleeper = tokio::spawn({
///     let clock = clock.clone();
///     async move { clock.sleep(Duration::from_secs(60)).await }
/// });
/// clock.wait_for_sleepers(1).await;
/// clock.advance(Duration::from_secs(60));
/// sleeper.await?;
/// # Ok::<(), tokio::task::JoinError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// How many tasks sleep, for those who wait for it.
    asleep: watch::Sender<usize>,
}

struct State {
    wall: UnixMillis,
    monotonic: Duration,
    auto_advance: bool,
    next_id: u64,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// Where [`new`](Self::new) starts: 2026-01-01T00:00:00Z.
    pub const START: UnixMillis = UnixMillis(1_767_225_600_000);

    /// A clock that stands at [`START`](Self::START).
    #[must_use]
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock that stands at `wall`.
    ///
    /// A backend whose server expires records by its own clock needs one that starts at the present.
    #[must_use]
    pub fn at(wall: UnixMillis) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    wall,
                    monotonic: Duration::ZERO,
                    auto_advance: false,
                    next_id: 0,
                    sleepers: BTreeMap::new(),
                }),
                asleep: watch::Sender::new(0),
            }),
        }
    }

    /// Moves both the wall clock and the monotonic time forward and wakes whoever's deadline is reached.
    ///
    /// A task that sleeps again after it woke counts from the new time: to let a loop tick ten times, advance
    /// ten times.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state();
        state.advance(duration);
        self.shared.asleep.send_replace(state.sleepers.len());
    }

    /// Jumps the wall clock alone, in either direction, as an administrator or a time server does. Sleepers
    /// and the monotonic time do not notice.
    pub fn set(&self, wall: UnixMillis) {
        self.state().wall = wall;
    }

    /// While on, each sleep moves the clock to its own deadline at once instead of waiting.
    ///
    /// For code that only backs off. Not for code with deadlines: any operation that is not ready at once
    /// would run into its time limit.
    pub fn auto_advance(&self, on: bool) {
        self.state().auto_advance = on;
    }

    /// How many tasks sleep now.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    /// Waits until at least `count` tasks sleep.
    ///
    /// Cancellation safe.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut asleep = self.shared.asleep.subscribe();
        // The sender lives in `self`, so the channel cannot close.
        let _ = asleep.wait_for(|asleep| *asleep >= count).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self, duration: Duration) {
        self.wall = self.wall.saturating_add(duration);
        self.monotonic = self.monotonic.saturating_add(duration);
        while let Some(sleeper) = self.sleepers.first_entry() {
            if sleeper.key().0 > self.monotonic {
                return;
            }
            // An error only says that the sleeper was dropped meanwhile.
            let _ = sleeper.remove().send(());
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ManualClock")
            .field("wall", &state.wall)
            .field("monotonic", &state.monotonic)
            .field("sleepers", &state.sleepers.len())
            .finish()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        self.state().wall
    }

    fn monotonic(&self) -> Duration {
        self.state().monotonic
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, duration: Duration) {
        if duration.is_zero() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        let auto_advanced = {
            let mut state = self.state();
            if state.auto_advance {
                state.advance(duration);
            }
            state.auto_advance
        };
        if auto_advanced {
            // Others must get their turn, as they would during a real wait.
            tokio::task::yield_now().await;
            return;
        }
        let _sleeper = Sleeper::start(self, duration, wake);
        let _ = woken.await;
    }
}

/// A task's place among the sleepers; dropping it (the sleep was cancelled) gives it up.
struct Sleeper<'a> {
    clock: &'a ManualClock,
    place: (Duration, u64),
}

impl<'a> Sleeper<'a> {
    fn start(clock: &'a ManualClock, duration: Duration, wake: oneshot::Sender<()>) -> Self {
        let mut state = clock.state();
        let place = (state.monotonic.saturating_add(duration), state.next_id);
        state.next_id += 1;
        state.sleepers.insert(place, wake);
        clock.shared.asleep.send_replace(state.sleepers.len());
        Self { clock, place }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut state = self.clock.state();
        state.sleepers.remove(&self.place);
        self.clock.shared.asleep.send_replace(state.sleepers.len());
    }
}
