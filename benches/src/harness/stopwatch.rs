//! The one place that reads a precise clock.

use std::time::{Duration, Instant};

/// Measures how long something takes, in real time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "measurements are of real time, whatever clock the measured code is given"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// How long `work` takes.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let stopwatch = Stopwatch::start();
    std::hint::black_box(work());
    stopwatch.elapsed()
}
