//! A clock whose seconds are short, so that what waits for minutes can be watched.

use std::time::Duration;

use async_trait::async_trait;
use cache_core::time::{Clock, CoarseTime, SystemClock, UnixMillis};
use serde::{Deserialize, Serialize};

/// Time that runs several times as fast, the same for every process of the machine that has a copy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct HurriedClock {
    factor: u32,
    /// When it began, on the wall clock in milliseconds, and on the monotonic one.
    wall: i64,
    monotonic: Duration,
}

impl HurriedClock {
    /// One that begins now, and runs so many times as fast.
    #[must_use]
    pub fn start(factor: u32) -> Self {
        Self {
            factor,
            wall: SystemClock.now().0,
            monotonic: SystemClock.monotonic(),
        }
    }
}

#[async_trait]
impl Clock for HurriedClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.wall).saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        SystemClock
            .monotonic()
            .saturating_sub(self.monotonic)
            .saturating_mul(self.factor)
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration / self.factor).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_show_the_same_time() {
        let clock = HurriedClock::start(1000);
        let copy = clock;
        let (before, between, after) = (clock.monotonic(), copy.monotonic(), clock.monotonic());
        assert!(before <= between && between <= after);
        assert!(clock.now() >= SystemClock.now());
    }
}
