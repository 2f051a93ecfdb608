//! Time that passes only while everybody waits: tokio's paused clock, as a `Clock`.

use std::time::Duration;

use async_trait::async_trait;
use cache_core::time::{Clock, CoarseTime, UnixMillis};

/// 2026-01-01T00:00:00Z at its start. Use it under `#[tokio::test(start_paused = true)]`.
#[derive(Clone, Copy, Debug)]
pub struct VirtualClock(tokio::time::Instant);

impl VirtualClock {
    #[allow(clippy::disallowed_methods, reason = "tokio's clock is what makes it virtual")]
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[async_trait]
#[allow(clippy::disallowed_methods, reason = "tokio's clock is what makes it virtual")]
impl Clock for VirtualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_767_225_600_000).saturating_add(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn coarse(&self) -> CoarseTime {
        CoarseTime::exact(self)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
